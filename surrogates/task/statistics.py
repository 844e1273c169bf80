"""Statistics of training data: normalisers, mean fields and the time step. The data are read in blocks."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.domains import AbstractDomain
from ...datasets.dataset import Dataset
from ...datasets.source import FieldSpec
from ..parameter_range import ParameterRange
from .checks import finite
from .normalization import Moments, Normalizer


def time_step(times: np.ndarray | None) -> float | None:
    """The distance of successive instants; None if there are fewer than two or if they are unevenly spaced."""
    if times is None or len(times) < 2:
        return None
    steps = np.diff(np.asarray(times, np.float64))
    return float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-4, atol=0) else None


def real_points(mask, values: np.ndarray, spec: FieldSpec) -> np.ndarray | None:
    """Which points of a field `(sample, [time], n, [component])` are real, without the component axis; None if all are.

    `mask` `(sample, n)` is that of its domain.
    """
    if mask is None or np.ndim(mask) < 2:
        return None
    mask = np.asarray(mask)
    return np.broadcast_to(mask[:, None], (*values.shape[:2], mask.shape[1])) if spec.time else mask


def statistics(
    train: Dataset,
    specs: Mapping[str, FieldSpec],
    domains: Mapping[str, AbstractDomain],
    increments: tuple[str, ...],
    averaged: tuple[str, ...],
) -> tuple[dict[str, Normalizer], dict[str, Array], dict[str, np.ndarray], ParameterRange]:
    """Normalisers, mean fields, origins and ranges of training data, in one pass over the data. Padded points do not count.

    **Arguments:**

    - `specs`: the fields and parameters that get a normaliser.
    - `domains`: the domains of these fields by name.
    - `increments`: fields `name` whose differences of successive frames get a normaliser too, under the name `"Δname"`.
    - `averaged`: fields whose mean over the samples is computed.

    **Returns:** normalisers and mean fields by name, both of the values minus their origin; the points of clouds and meshes have
    a normaliser too, under the name of their array, which maps the box of all training points into [0, 1]; and origins `(c,)`
    by name, for those fields and parameters whose mean is much larger than their deviations (`Moments.origin`); and the range
    of the parameters.

    **Raises:** `ValueError` for values that are not finite.
    """
    moments = {name: Moments(len(spec.components) and spec.channels) for name, spec in specs.items()}
    moments |= {f"Δ{name}": Moments(moments[name].components) for name in increments}
    sums = dict.fromkeys(averaged, np.zeros(()))
    ranges: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    ends_of: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    geometry = tuple(array for domain in domains.values() for array in domain.arrays)
    for positions, block in train.blocks((*specs, *geometry)):
        masks = {name: domain.sites(block).mask for name, domain in domains.items()}
        for name, spec in specs.items():
            valid = real_points(masks[spec.domain], block[name], spec) if spec.role == "field" else None
            values = finite(name, block[name], positions, valid)
            moments[name].add(values, valid)
            if spec.role == "parameter":
                for ends, extreme in zip(ranges, (np.minimum, np.maximum), strict=True):
                    here = extreme.reduce(values, axis=0)
                    ends[name] = extreme(ends[name], here) if name in ends else here
            if name in increments:
                # Differences of unsigned integers would wrap around.
                steps = np.diff(values.astype(np.result_type(values, np.float32), copy=False), axis=1)
                moments[f"Δ{name}"].add(steps, None if valid is None else valid[:, 1:])
            if name in sums:
                sums[name] = sums[name] + values.sum(0, np.float64)
        for name, domain in domains.items():
            if domain.arrays and (ends := _ends(domain, block, ends_of.get(name))) is not None:
                ends_of[name] = ends
    normalizers = {label: m.normalizer() for label, m in moments.items()}
    normalizers |= {domains[name].arrays[0]: _box_scaling(*ends) for name, ends in ends_of.items()}
    origins = {name: moments[name].origin for name in specs if moments[name].origin.any()}
    means = {
        name: jnp.asarray(
            total / len(train) - origins.get(name, np.zeros(1))[() if specs[name].components else 0], jnp.float32
        )
        for name, total in sums.items()
    }
    return normalizers, means, origins, ParameterRange(*ranges)


def _ends(
    domain: AbstractDomain, block: Mapping[str, Any], before: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper end of the box of the real points of a block and of those `before`."""
    sites = domain.sites(block)
    points = np.asarray(sites.points, np.float64)
    rows = points.reshape(-1, points.shape[-1]) if sites.mask is None else points[np.asarray(sites.mask)]
    if not len(rows):
        return before
    parts = [rows] if before is None else [rows, *(end[None] for end in before)]
    every = np.concatenate(parts)
    return every.min(0), every.max(0)


def _box_scaling(low: np.ndarray, high: np.ndarray) -> Normalizer:
    """One scale for all axes, so that shapes stay as they are: the longest side of the box has length 1."""
    extent = float((high - low).max()) or 1.0
    return Normalizer(jnp.asarray(low, jnp.float32), jnp.full(len(low), extent, jnp.float32))
