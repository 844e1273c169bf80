"""The dataset interface: named fields over a domain with per-sample parameters, read from any `Source`."""

import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import jax
import numpy as np

from ..core.domains import AbstractDomain, Grid, PointCloud
from ..solvers.pde.declaration import Problem
from .source import FieldSpec, MemorySource, Source
from .systems import Systems


@dataclass(frozen=True, eq=False)
class Dataset:
    """A view of some samples of a source. Nothing is read until values are asked for.

    - `len(ds)`; `ds[3]` one sample, a dict of arrays without sample axis (so any Dataset is a grain source);
      `ds[10:20]`, `ds[[1, 5]]` those samples as a Dataset in memory, read at once; `ds["u"]` one field of all samples.
    - A field is `(sample, [time], *space, [component])`, a parameter `(sample, [component])`.

    **Arguments:**

    - `source`: what to read from.
    - `indices`: which samples of it, in which order; they are the samples' ids.
    - `space`, `time`: stride of the view in space (per axis) and slice of the time axis.
    - `problem`: the PDE it was generated from, if known.
    """

    source: Source
    indices: np.ndarray
    space: tuple[int, ...] = ()
    time: slice = field(default_factory=lambda: slice(None))
    problem: Problem | None = None

    @classmethod
    def of(cls, source: Source, problem: Problem | None = None) -> "Dataset":
        return cls(source, np.arange(len(source)), problem=problem)

    # What it holds ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.source.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        """The domains of the fields by name, `""` being the main one."""
        return {**self.source.domains, "": self.domain}

    @property
    def domain(self) -> AbstractDomain:
        """Where the values of the fields live: a grid, or the layout of clouds or meshes that differ by sample."""
        domain = self.source.domains[""]
        return domain.as_grid("subsample").subsample(self.space) if self.space else domain

    @property
    def grid(self) -> Grid:
        """The grid of every sample. **Raises:** `ValueError` for data on point clouds or meshes."""
        return self.domain.as_grid("`Dataset.grid`")

    @property
    def times(self) -> np.ndarray | None:
        times = self.source.times
        return None if times is None else times[self.time]

    @property
    def instants(self) -> int:
        """Length of the time axis, 0 without one."""
        return 0 if self.times is None else len(self.times)

    @property
    def attributes(self) -> Mapping:
        return self.source.attributes

    def spec(self, name: str) -> FieldSpec:
        if name not in self.fields:
            raise KeyError(f"no field {name!r} in this dataset; it has {sorted(self.fields)}")
        return self.fields[name]

    @overload
    def __getitem__(self, item: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, item: int) -> dict[str, np.ndarray]: ...

    @overload
    def __getitem__(self, item: slice | Sequence[int] | np.ndarray) -> "Dataset": ...

    def __getitem__(self, item):
        if isinstance(item, str):
            return self.read([item])[item]
        if isinstance(item, int | np.integer):
            try:
                index = range(len(self))[operator.index(item)]
            except IndexError:
                raise IndexError(f"sample {item} of a dataset of {len(self)}") from None
            return {name: values[0] for name, values in self.read(None, [index]).items()}
        return self.select(item).in_memory()

    def read(self, names=None, positions=None, *, frames: range | None = None) -> dict[str, np.ndarray]:
        """The named fields (all by default) of the samples at `positions` (all by default), one read per field; of timed
        ones the instants `frames` (all by default)."""
        indices = self.indices if positions is None else self.indices[np.asarray(positions)]
        names = list(self.fields) if names is None else names
        time = self.time
        if frames is not None:
            stored = range(0 if self.source.times is None else len(self.source.times))[time]
            stored = stored[frames.start : frames.stop : frames.step]
            time = slice(stored.start, stored.stop, stored.step)
        return {name: self.source.read(name, indices, self._window(self.spec(name), time)) for name in names}

    def blocks(self, names=None, nbytes: int = 2**26) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Positions and named fields of all samples in order, as many at a time as fit into `nbytes`."""
        one = sum(values.nbytes for values in self.read(names, [0]).values())
        size = max(1, nbytes // max(one, 1))
        for start in range(0, len(self), size):
            positions = np.arange(start, min(start + size, len(self)))
            yield positions, self.read(names, positions)

    def _window(self, spec: FieldSpec, instants: slice) -> tuple[slice, ...]:
        time = (instants,) if spec.time else ()
        here = spec.role == "field" and not spec.domain
        return time + tuple(slice(None, None, step) for step in self.space if here)

    def clouds(self, positions=None) -> PointCloud:
        """The points, weights and masks of the samples, batched. **Raises:** `ValueError` for data on a grid."""
        if not self.domain.arrays:
            raise ValueError("clouds: this dataset lives on a grid, see `.grid`")
        sites = self.domain.sites(self.read(list(self.domain.arrays), positions))
        return PointCloud(sites.points, sites.weights, sites.mask)

    # Views -----------------------------------------------------------------------------------------------------------

    def select(self, samples) -> "Dataset":
        """The samples given by a slice, positions or a boolean array, not read yet."""
        return replace(self, indices=np.atleast_1d(self.indices[samples]))

    def split(self, key: jax.Array | None = None, **sizes: int) -> tuple["Dataset", ...]:
        """Disjoint parts of the given sizes, `train, val = ds.split(train=900, val=100, key=key)`.

        Whole samples (so whole trajectories) go to one part. Without `key` the parts are consecutive, in file order.
        """
        if not sizes:
            raise ValueError("split needs named sizes, for example split(train=900, val=100)")
        if sum(sizes.values()) > len(self) or min(sizes.values()) < 0:
            raise ValueError(f"split into {sizes} asks for {sum(sizes.values())} samples; the dataset has {len(self)}")
        order = np.arange(len(self)) if key is None else np.asarray(jax.random.permutation(key, len(self)))
        edges = np.cumsum([0, *sizes.values()])
        return tuple(self.select(order[a:b]) for a, b in itertools.pairwise(edges))

    def subsample(self, space: int | tuple[int, ...] = 1, time: int = 1) -> "Dataset":
        """Every `space`-th grid point (nested grids only) and every `time`-th instant."""
        if time != 1 and self.times is None:
            raise ValueError("subsample(time=…) needs a time axis; this dataset is steady")
        steps = self.space
        if space != 1:
            grid = self.domain.as_grid("subsample(space=…)")
            more = (space,) * grid.ndim if isinstance(space, int) else tuple(space)
            grid.subsample(more)
            steps = tuple(a * b for a, b in zip(self.space or (1,) * grid.ndim, more, strict=True))
        start, stop, step = self.time.start, self.time.stop, self.time.step
        return replace(self, space=steps, time=slice(start, stop, (step or 1) * time))

    def in_memory(self) -> "Dataset":
        """The same samples read into memory."""
        arrays = self.read()
        specs = {k: replace(spec, dtype=str(arrays[k].dtype)) for k, spec in self.fields.items()}
        source = MemorySource(arrays, specs, self.domains, self.times, {**self.attributes, "ids": self.ids.tolist()})
        return Dataset.of(source, self.problem)

    def with_fields(self, fields: Mapping[str, np.ndarray], times: np.ndarray | None = None) -> "Dataset":
        """Other values of some fields at the same points, in memory: `(sample, [time], *space, [component])` by name; with
        `times` they have a time axis of these instants."""
        geometry = self.read([name for name, spec in self.fields.items() if spec.role == "domain"])
        arrays = {**geometry, **{name: np.asarray(values) for name, values in fields.items()}}
        specs = {
            name: replace(self.spec(name), time=times is not None and name in fields, dtype=str(values.dtype))
            for name, values in arrays.items()
        }
        source = MemorySource(arrays, specs, self.domains, times, {"ids": self.ids.tolist()})
        return Dataset.of(source, self.problem)

    @property
    def ids(self) -> np.ndarray:
        """Number of every sample in the data it first came from; kept by views and by `ds[indices]`."""
        origin = self.attributes.get("ids")
        return self.indices if origin is None else np.asarray(origin)[self.indices]

    # Consumers -------------------------------------------------------------------------------------------------------

    def snapshots(self, name: str, block: int = 256) -> Iterator[np.ndarray]:
        """Row blocks `(rows, points · components)` of all snapshots of a field, samples outermost, times inside."""
        spec = self.spec(name)
        if spec.role != "field":
            raise ValueError(f"snapshots({name!r}): needs a field, this is a {spec.role}")
        if not self.domains[spec.domain].fixed:
            raise ValueError(f"snapshots({name!r}): needs a field at the same points in all samples, such as a grid's")
        for start in range(0, len(self), block):
            values = self.read([name], np.arange(start, min(start + block, len(self))))[name]
            rows = len(values) * (values.shape[1] if spec.time else 1)
            yield values.reshape(rows, -1)

    def systems(self, context: str | Sequence[str] | None = None) -> Systems:
        """The linear system of every sample by the problem's `operator`, as a sequence to scan or vmap over.

        **Arguments:** `context`: name or names of the parameters that are known before a solve; by default all that are one
        number per sample.
        """
        if self.problem is None:
            raise ValueError("systems: this dataset does not know its problem; it must come from generate(problem, …)")
        return Systems.of(self.problem, self.grid, self.read(list(self.problem.laws)), context)

    def describe(self, samples: int = 64) -> str:
        """What it holds: named axes, shapes, types, range of values of up to `samples` samples, anything suspicious."""
        lines = [f"{len(self)} samples on {self.domain!r}"]
        if self.times is not None:
            lines.append(f"{len(self.times)} instants, t = {self.times[0]:g} … {self.times[-1]:g}")
        positions = np.linspace(0, len(self) - 1, min(samples, len(self))).astype(int)
        for name, spec in self.fields.items():
            values = self.read([name], positions)[name]
            shape = ", ".join(map(str, values.shape[1:]))
            line = f"  {name:<12} {spec.role:<9} ({shape}) {values.dtype}"
            if values.size and spec.role != "domain":
                numbers = values[np.isfinite(values)].astype(np.float64)
                if numbers.size:
                    line += f"  min {numbers.min():.4g}  mean {numbers.mean():.4g}  max {numbers.max():.4g}"
                    line += "  (constant)" if np.ptp(numbers) == 0 else ""
                bad = values.size - numbers.size
                line += f"  !! {bad} values are not finite" if bad else ""
            lines.append(line)
        shown = {k: v for k, v in self.attributes.items() if k != "ids"}
        lines += [f"  {key}: {value}" for key, value in shown.items()]
        return "\n".join(lines)

    def to_xarray(self):
        """An `xarray.Dataset` with named axes (needs xarray)."""
        import xarray

        grid = self.domain.as_grid("to_xarray")
        coordinates = {"sample": self.ids, **dict(zip(grid.names, grid.coordinates, strict=True))}
        if self.times is not None:
            coordinates["time"] = self.times
        variables = {}
        for name, values in self.read().items():
            spec = self.spec(name)
            axes = ["sample"] + (["time"] if spec.time else []) + (list(grid.names) if spec.role == "field" else [])
            variables[name] = (axes + [f"{name}_component"] * len(spec.components), values)
        return xarray.Dataset(variables, coordinates, attrs=dict(self.attributes))

    def plot(self, *names: str, n: int = 3):
        """A matplotlib figure of `n` samples, a row per sample and a column per field; see `datasets.plots`."""
        from .plots import plot_samples

        return plot_samples(self, names, n)

    def __repr__(self) -> str:
        return f"Dataset({self.describe(samples=0)})"
