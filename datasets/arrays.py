"""Datasets from arrays in memory."""

from collections.abc import Mapping

import numpy as np

from ..core.domains import AbstractDomain, Grid, Mesh, PointCloud
from .dataset import Dataset
from .source import FieldSpec, MemorySource


def from_arrays(
    inputs: Mapping[str, np.ndarray] | None = None,
    targets: Mapping[str, np.ndarray] | None = None,
    *,
    grid: Grid | None = None,
    points: PointCloud | Mesh | None = None,
    parameters: Mapping[str, np.ndarray] | None = None,
    times: np.ndarray | None = None,
    elsewhere: Mapping[str, Grid | PointCloud | Mesh] | None = None,
) -> Dataset:
    """A dataset from arrays; `inputs` and `targets` are treated alike, a `Task` decides the roles.

    **Arguments:**

    - `inputs`, `targets`: fields by name, `(sample, *space)` or `(sample, *space, component)`; with `times` also
      `(sample, time, *space[, component])`.
    - `grid` or `points`: where the values live; `points` is a `PointCloud` or a `Mesh`, one for all samples or batched, and
      then `space` is its one point axis.
    - `parameters`: numbers per sample, `(sample,)` or `(sample, component)`.
    - `times`: the instants of the time axis.
    - `elsewhere`: where single fields live if not there, for example `{"p": sensors}`.

    **Raises:** `ValueError` for shapes that do not fit, naming the field and what was expected.
    """
    if (grid is None) == (points is None):
        raise ValueError("from_arrays needs exactly one of grid=… and points=…")
    fields = {**(inputs or {}), **(targets or {})}
    main, places = grid if grid is not None else points, dict(elsewhere or {})
    if unknown := sorted(places.keys() - fields.keys()):
        raise ValueError(f"from_arrays: elsewhere names {unknown}, which are no fields; there are {sorted(fields)}")
    times = None if times is None else np.asarray(times)
    arrays, specs = {}, {}
    domains: dict[str, AbstractDomain] = {"": main.layout("")}
    held = {"": main}
    for name, values in fields.items():
        # Fields at the same object share one domain, named after the first of them.
        domain = next((d for d, place in held.items() if place is places.get(name, main)), name)
        if domain not in domains:
            domains[domain], held[domain] = places[name].layout(domain), places[name]
        arrays[name] = np.asarray(values)
        specs[name] = _field_spec(name, arrays[name], domains[domain].shape, times, domain)
    for name, values in (parameters or {}).items():
        values = np.asarray(values)
        if values.ndim not in (1, 2):
            raise ValueError(f"parameter {name!r} has shape {values.shape}; expected (sample,) or (sample, component)")
        arrays[name], specs[name] = values, FieldSpec("parameter", values.shape[1:], dtype=str(values.dtype))
    samples = max((len(values) for values in arrays.values()), default=0)
    for domain, place in held.items():
        for name, values in place.stored(domain, samples).items():
            arrays[name] = values
            specs[name] = FieldSpec("domain", values.shape[2:], dtype=str(values.dtype))
    if not arrays:
        raise ValueError("from_arrays got no arrays")
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"the arrays hold different numbers of samples: {counts}")
    return Dataset.of(MemorySource(arrays, specs, domains, times, {}))


def _field_spec(
    name: str, values: np.ndarray, space: tuple[int, ...], times: np.ndarray | None, domain: str
) -> FieldSpec:
    shape = values.shape[1:]
    timed = times is not None and shape[:1] == (len(times),) and shape[1 : 1 + len(space)] == space
    rest = shape[1:] if timed else shape
    components = rest[len(space) :]
    if rest[: len(space)] != space or len(components) > 1:
        time = "" if times is None else f"time={len(times)}, "
        raise ValueError(
            f"field {name!r} has shape {values.shape}; expected (sample, {time}{', '.join(map(str, space))}) with or "
            "without a component axis; numbers per sample go into parameters="
        )
    return FieldSpec("field", components, timed, str(values.dtype), domain)
