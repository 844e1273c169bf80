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
    """Make a dataset from arrays in memory.

    `inputs` and `targets` are treated alike; a `Task` decides later which fields are inputs and which are targets.

    **Arguments:**

    - `inputs`, `targets`: fields by name, `(sample, *space)` or `(sample, *space, component)`; with `times` also
      `(sample, time, *space)` or `(sample, time, *space, component)`. `*space` is one axis per dimension of a grid, or the one
      point axis of a cloud or mesh.
    - `grid` or `points` (exactly one of them): the points at which the fields have values. `points` is a `PointCloud` or a
      `Mesh`: a single one that all samples share, or a batch with one per sample.
    - `parameters`: numbers per sample, `(sample,)` or `(sample, component)`.
    - `times`: the instants of the time axis, `(time,)`.
    - `elsewhere`: the domains of the fields that have values at other points, for example `{"p": sensors}`.

    **Raises:** `ValueError` for a field whose shape does not fit (naming the field and the expected shape), for different
    numbers of samples, and for `elsewhere` naming an unknown field.
    """
    if (grid is None) == (points is None):
        raise ValueError("from_arrays needs exactly one of grid=… and points=…")
    groups = [list(group or ()) for group in (inputs, targets, parameters)]
    names = [name for group in groups for name in group]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"from_arrays: {twice} are given twice among inputs, targets and parameters; every array needs a name of its own, "
            'such as "u_now" and "u_next"'
        )
    fields = {**(inputs or {}), **(targets or {})}
    main, places = grid if grid is not None else points, dict(elsewhere or {})
    if unknown := sorted(places.keys() - fields.keys()):
        raise ValueError(f"from_arrays: elsewhere names {unknown}, which are no fields; there are {sorted(fields)}")
    times = None if times is None else np.asarray(times)
    arrays, specs = {}, {}
    domains: dict[str, AbstractDomain] = {"": main.layout("")}
    held = {"": main}
    for name, values in fields.items():
        # Fields given the same domain object share one domain, which is named after the first of them.
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
