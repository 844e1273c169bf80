"""Datasets from arrays in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.arguments import kind
from ..core.arrays import AnyArray
from ..core.domains import AbstractDomain, Grid, Mesh, PointCloud
from .checked_arrays import instants, real_numbers
from .dataset import Dataset
from .source import FieldSpec, MemorySource


def from_arrays(
    inputs: Mapping[str, Any] | None = None,
    targets: Mapping[str, Any] | None = None,
    *,
    grid: Grid | None = None,
    points: PointCloud | Mesh | AnyArray | None = None,
    parameters: Mapping[str, Any] | None = None,
    times: Any = None,
    elsewhere: Mapping[str, Grid | PointCloud | Mesh | AnyArray] | None = None,
) -> Dataset:
    """Make a dataset from arrays in memory: lists, NumPy, JAX or PyTorch arrays, not copied where they need no conversion.

    `inputs` and `targets` are treated alike; a `Task` decides later which fields are inputs and which are targets. Whole numbers
    and booleans become floats.

    **Arguments:**

    - `inputs`, `targets`: fields by name, `(sample, *space)` or `(sample, *space, component)`; with `times` also
      `(sample, time, *space)` or `(sample, time, *space, component)`. `*space` is one axis per dimension of a grid, or the one
      point axis of a cloud or mesh.
    - `grid` or `points` (exactly one of them): the points at which the fields have values. `points` is a `PointCloud` or a
      `Mesh`: a single one that all samples share, or a batch with one per sample. An array of coordinates `(n, d)` or
      `(sample, n, d)` stands for the cloud with equal weights.
    - `parameters`: numbers per sample, `(sample,)` or `(sample, component)`.
    - `times`: the instants of the time axis, `(time,)`, increasing.
    - `elsewhere`: the domains of the fields that have values at other points, for example `{"p": sensors}`. Fields whose domains
      are equal share one, which is named after the first of them.

    **Raises:** `ValueError` for a field whose shape does not fit (naming the field and the expected shape), for different
    numbers of samples, for `elsewhere` naming an unknown field, for `times` that do not increase or that no field has, and for
    masked values; `TypeError` for anything but real numbers (complex numbers, strings, dates).

    **Example:**

        >>> data = sx.from_arrays({"a": np.ones((5, 8, 8))}, {"u": np.zeros((5, 8, 8))}, grid=sx.Grid.unit_square(8))
        >>> len(data), data.grid.shape, sorted(data.fields)
        (5, (8, 8), ['a', 'u'])
    """
    groups = {"inputs": inputs, "targets": targets, "parameters": parameters}
    return Dataset.of(memory_source(groups, grid=grid, points=points, times=times, elsewhere=elsewhere))


def memory_source(
    groups: Mapping[str, Any],
    *,
    grid: Any = None,
    points: Any = None,
    times: Any = None,
    elsewhere: Mapping[str, Any] | None = None,
) -> MemorySource:
    """The source of `from_arrays`; `groups` are its "inputs", "targets" and "parameters", each of which may be missing."""
    if (grid is None) == (points is None):
        raise ValueError("from_arrays needs exactly one of grid=… and points=…")
    groups = {name: {} if groups.get(name) is None else groups[name] for name in ("inputs", "targets", "parameters")}
    _check_names(groups)
    kind("from_arrays", "elsewhere", elsewhere, (Mapping, type(None)), "pass a dict of domains by field")
    fields = {**groups["inputs"], **groups["targets"]}
    main, places = _main_domain(grid, points), {name: _place(place) for name, place in (elsewhere or {}).items()}
    if unknown := sorted(places.keys() - fields.keys()):
        raise ValueError(f"from_arrays: elsewhere names {unknown}, which are no fields; there are {sorted(fields)}")
    times = None if times is None else instants(times)
    arrays, specs = {}, {}
    domains: dict[str, AbstractDomain] = {"": main.layout("")}
    held = {"": main}
    for name, values in fields.items():
        place = places.get(name, main)
        domain = next((d for d, other in held.items() if other is place or bool(other == place)), name)
        if domain not in domains:
            domains[domain], held[domain] = place.layout(domain), place
        arrays[name] = real_numbers(values, f"field {name!r}")
        specs[name] = _field_spec(name, arrays[name], domains[domain].shape, times, domain)
    for name, values in groups["parameters"].items():
        values = real_numbers(values, f"parameter {name!r}")
        if values.ndim not in (1, 2):
            raise ValueError(f"parameter {name!r} has shape {values.shape}; expected (sample,) or (sample, component)")
        arrays[name], specs[name] = values, FieldSpec("parameter", values.shape[1:], dtype=str(values.dtype))
    if times is not None:
        _check_time(specs, times)
    samples = max((len(values) for values in arrays.values()), default=0)
    for domain, place in held.items():
        stored = place.stored(domain, samples)
        if taken := sorted(stored.keys() & arrays.keys()):
            raise ValueError(
                f"from_arrays: {taken} are names of the arrays that describe the points; rename the fields"
            )
        for name, values in stored.items():
            arrays[name] = values
            specs[name] = FieldSpec("domain", values.shape[2:], dtype=str(values.dtype))
    if not arrays:
        raise ValueError("from_arrays got no arrays")
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"the arrays hold different numbers of samples: {counts}")
    return MemorySource(arrays, specs, domains, times, {})


def _check_names(groups: Mapping[str, Any]) -> None:
    for group, arrays in groups.items():
        if not isinstance(arrays, Mapping):
            raise TypeError(
                f'from_arrays: {group} is a {type(arrays).__name__}, expected a dict of arrays by name, such as {{"u": u}}'
            )
    names = [name for arrays in groups.values() for name in arrays]
    if wrong := [name for name in names if not (isinstance(name, str) and name)]:
        raise TypeError(f"from_arrays: {wrong[0]!r} is no name of an array, expected text such as 'u'")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"from_arrays: {twice} are given twice among inputs, targets and parameters; every array needs a name of its own, "
            'such as "u_now" and "u_next"'
        )


def _main_domain(grid: Any, points: Any) -> AbstractDomain:
    if grid is None:
        return _place(points)
    if not isinstance(grid, AbstractDomain):
        raise TypeError(
            f"from_arrays: grid={grid!r} does not tell the box; give a Grid, such as Grid.unit_square(64) or "
            "Box(x=(0, 2)).grid(64)"
        )
    return grid.as_grid("from_arrays: grid=…")


def _place(points: Any) -> AbstractDomain:
    """The domain itself, or the cloud of an array of coordinates."""
    return points if isinstance(points, AbstractDomain) else PointCloud(real_numbers(points, "points"))


def _field_spec(
    name: str, values: np.ndarray, space: tuple[int, ...], times: np.ndarray | None, domain: str
) -> FieldSpec:
    shape = values.shape[1:]
    timed = times is not None and shape[:1] == (len(times),) and shape[1 : 1 + len(space)] == space
    rest = shape[1:] if timed else shape
    components = rest[len(space) :]
    if not values.ndim or rest[: len(space)] != space or len(components) > 1:
        time = "" if times is None else f"time={len(times)}, "
        raise ValueError(
            f"field {name!r} has shape {values.shape}; expected (sample, {time}{', '.join(map(str, space))}) with or "
            "without a component axis; numbers per sample go into parameters="
        )
    return FieldSpec("field", components, timed, str(values.dtype), domain)


def _check_time(specs: Mapping[str, FieldSpec], times: np.ndarray) -> None:
    """Refuse instants that no field has, and fields that have them last.

    A vector that is constant in time may have as many components as there are instants, if these are few.
    """
    fields = {name: spec for name, spec in specs.items() if spec.role == "field"}
    timed = any(spec.time for spec in fields.values())
    last = [name for name, spec in fields.items() if not spec.time and spec.components == (len(times),)]
    if last and not (timed and len(times) <= 3):
        raise ValueError(
            f"field {last[0]!r} has the {len(times)} instants of times= on its last axis; time is expected second, "
            "(sample, time, *space): np.moveaxis(values, -1, 1)"
        )
    if not timed:
        raise ValueError(
            f"times= has {len(times)} instants, but no field has a time axis, (sample, time, *space); leave times= out"
        )
