"""`Dataset`: named fields over a domain and parameters per sample, read from any `Source`."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import jax
import numpy as np

from ..core.arguments import checked, count, kind, random_key
from ..core.arrays import AnyArray
from ..core.domains import AbstractDomain, Grid, PointCloud
from ..core.domains.grid import per_axis
from ..solvers.pde.declaration import Problem
from .description import described
from .frame_source import FrameSource
from .masking import masked_source
from .parameter_conditions import meets, values_of
from .source import FieldSpec, MemorySource, Source, sample_positions
from .spectral_restriction import SpectralSource, restriction_matrix
from .systems import Systems
from .verification import Verification, verified
from .view_source import ViewSource
from .windows import read_windows


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of a simulation or measurement: named fields over a domain, and parameters per sample.

    A dataset comes from `surrogax.open`, `surrogax.generate` or `surrogax.from_arrays`. It is a view of some samples of a
    source; values are read when they are asked for.

    - `len(ds)` is the number of samples.
    - `ds["u"]` is one field of all samples, `(sample, [time], *space, [component])`, or one parameter, `(sample, [component])`.
      Axes in brackets exist for some fields only; `*space` is one axis per dimension of a grid, or one point axis.
    - `ds[3]` is one sample, a dict of arrays without sample axis.
    - `ds[10:20]` and `ds[[1, 5]]` are Datasets of these samples, read into memory at once. `select` does the same lazily.

    **Arguments:**

    - `source`: where the samples are read from.
    - `indices` `(sample,)`: the numbers of the samples in the source, in the order of this dataset.
    - `space`: stride per space axis; `()` reads every point.
    - `time`: slice of the source's time axis.
    - `problem`: the PDE that the samples solve, if known.

    **Example:**

        >>> train, test = ds.split(train=8, test=4)
        >>> len(train), train["u"].shape, train.subsample(2).grid.shape
        (8, (8, 16), (8,))
    """

    source: Source
    indices: np.ndarray
    space: tuple[int, ...] = ()
    time: slice = field(default_factory=lambda: slice(None))
    problem: Problem | None = None

    @classmethod
    def of(cls, source: Source, problem: Problem | None = None) -> "Dataset":
        """All samples of a source in order."""
        return cls(source, np.arange(len(source)), problem=problem)

    # What it holds ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """The form of every array by name: fields, parameters, and arrays that describe domains."""
        return self.source.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        """The domains of the fields by name; the main domain has the name ""."""
        return {**self.source.domains, "": self.domain}

    @property
    def domain(self) -> AbstractDomain:
        """The main domain, at whose points the fields have values: a grid, or the layout of point clouds or meshes."""
        domain = self.source.domains[""]
        return domain.as_grid("subsample").subsample(self.space) if self.space else domain

    @property
    def grid(self) -> Grid:
        """The grid that all samples share. **Raises:** `ValueError` for data on point clouds or meshes."""
        return self.domain.as_grid("`Dataset.grid`")

    @property
    def times(self) -> np.ndarray | None:
        """The instants of the time axis, or None for steady data."""
        times = self.source.times
        return None if times is None else times[self.time]

    @property
    def instants(self) -> int:
        """Length of the time axis; 0 for steady data."""
        return 0 if self.times is None else len(self.times)

    @property
    def attributes(self) -> Mapping:
        """Metadata of the source, for example "label_error" of generated data."""
        return self.source.attributes

    def spec(self, name: str) -> FieldSpec:
        """The form of one array. **Raises:** `KeyError` for an unknown name."""
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
        if isinstance(item, int | np.integer) and not isinstance(item, bool):
            return {name: values[0] for name, values in self.read(None, [item]).items()}
        if not isinstance(item, slice | list | np.ndarray | jax.Array | range):
            raise TypeError(
                f"a dataset has no item {item!r:.60}: ask for a field by its name, one sample by its number, samples by a slice, "
                "positions or a boolean per sample, and several fields by read([…])"
            )
        return self.select(item).in_memory()

    @checked
    def read(
        self, names: str | Iterable[str] | None = None, positions: Any = None, *, frames: range | None = None
    ) -> dict[str, np.ndarray]:
        """Read arrays by name, each with a leading sample axis. The source is read once per name.

        **Arguments:**

        - `names`: the arrays to read, all by default.
        - `positions`: positions of the samples in this dataset, all by default.
        - `frames`: which instants of time-dependent fields to read, all by default.

        **Raises:** `KeyError` for an unknown name; `IndexError` for a position outside the dataset.
        """
        indices = self.indices if positions is None else self.indices[sample_positions(positions, len(self))]
        names = list(self.fields) if names is None else [names] if isinstance(names, str) else list(names)
        if wrong := [name for name in names if not isinstance(name, str)]:
            raise TypeError(f"read: {wrong[0]!r:.60} is no name of a field; there are {sorted(self.fields)}")
        time = self.time
        if frames is not None:
            stored = range(0 if self.source.times is None else len(self.source.times))[time]
            stored = stored[frames.start : frames.stop : frames.step]
            time = slice(stored.start, stored.stop, stored.step)
        return {name: self.source.read(name, indices, self._window(self.spec(name), time)) for name in names}

    @checked
    def windows(self, name: str, positions: Any, starts: Any, frames: int, step: int = 1) -> np.ndarray:
        """Windows of trajectories: `frames` instants of the time-dependent array `name`, `step` apart, of every sample in
        `positions`, from its instant in `starts` on: `(window, frames, *space, [component])`.

        Windows of a contiguous HDF5 file are read one by one by the operating system, ahead and in the order of the file, which
        is far faster than one `read` per window.

        **Raises:** `ValueError` for an array without time axis, and for positions and starts of different numbers; `IndexError`
        for a window that is not inside of the trajectory.
        """
        frames, step = count("windows", "frames", frames), count("windows", "step", step)
        if not self.spec(name).time:
            raise ValueError(f"windows({name!r}): has no time axis; use read")
        rows, first = sample_positions(positions, len(self)), np.atleast_1d(np.asarray(starts))
        if first.shape != rows.shape or (first.size and first.dtype.kind not in "iu"):
            raise ValueError(
                f"windows({name!r}): {len(rows)} positions need as many whole numbers as starts, got {first.dtype}"
                f"{list(first.shape)}"
            )
        if first.size and not (first.min() >= 0 and int(first.max()) + step * (frames - 1) < self.instants):
            raise IndexError(
                f"windows({name!r}): {frames} instants, {step} apart, from {first.min()} to {first.max()} on do not fit into "
                f"{self.instants}"
            )
        stored = range(len(np.asarray(self.source.times)))[self.time]
        space = self._window(self.spec(name), slice(None))[1:]
        starts = stored.start + first.astype(int) * stored.step
        return read_windows(self.source, name, self.indices[rows], starts, frames, step * stored.step, space)

    @checked
    def blocks(
        self, names: str | Iterable[str] | None = None, nbytes: int = 2**25
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Yield `(positions, arrays)` for consecutive blocks of samples.

        `names` are the arrays to read, all by default. A block has at most `nbytes` bytes (32 MiB by default), or one sample.
        """
        if not len(self):
            return
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
        """The points, weights and masks of the samples at `positions` (all by default), as one batched `PointCloud`.

        **Raises:** `ValueError` for data on a grid.
        """
        if not self.domain.arrays:
            raise ValueError("clouds: this dataset lives on a grid, see `.grid`")
        sites = self.domain.sites(self.read(list(self.domain.arrays), positions))
        return PointCloud(sites.points, sites.weights, sites.mask)

    # Views -----------------------------------------------------------------------------------------------------------

    def select(self, samples) -> "Dataset":
        """A view of the samples given by a slice, positions or a boolean per sample. Nothing is read.

        **Raises:** `IndexError` for a position outside the dataset and a boolean array of another length; `TypeError` for
        anything else, such as names or fractions.
        """
        return replace(self, indices=self.indices[sample_positions(samples, len(self))])

    def by_ids(self, ids: Any) -> "Dataset":
        """A view of the samples with these ids, in their order: a split that was stored as `train.ids.tolist()`.

        **Raises:** `KeyError` for an id that this dataset does not have; `ValueError` if it has one twice.
        """
        wanted, own = np.atleast_1d(np.asarray(ids)), self.ids
        if wanted.size and (wanted.dtype.kind not in "iu" or wanted.ndim > 1):
            raise TypeError(f"by_ids({ids!r:.60}): expected whole numbers")
        order = np.argsort(own, kind="stable")
        if len(np.unique(own)) < len(own):
            raise ValueError("by_ids: this dataset has samples with equal ids")
        place = np.minimum(np.searchsorted(own, wanted, sorter=order), max(len(own) - 1, 0))
        if wanted.size and (not len(own) or (own[order[place]] != wanted).any()):
            missing = sorted(set(wanted.tolist()) - set(own.tolist()))
            raise KeyError(f"by_ids: this dataset has no samples with the ids {missing[:5]}")
        return self.select(order[place] if wanted.size else [])

    @checked
    def split(self, key: AnyArray | None = None, **sizes: int) -> tuple["Dataset", ...]:
        """Split into disjoint parts of the given sizes: `train, val = ds.split(train=900, val=100, key=key)`.

        A sample, and so a whole trajectory, belongs to one part. With `key` the samples are shuffled first; without it the parts
        are consecutive, in file order.

        **Raises:** `ValueError` without sizes, for negative ones, or if they ask for more samples than there are; `TypeError` for
        sizes that are no whole numbers, such as fractions.
        """
        if not sizes:
            raise ValueError("split needs named sizes, for example split(train=900, val=100)")
        sizes = {name: count("split", name, size, 0) for name, size in sizes.items()}
        if sum(sizes.values()) > len(self):
            raise ValueError(f"split into {sizes} asks for {sum(sizes.values())} samples; the dataset has {len(self)}")
        order = np.arange(len(self))
        if key is not None:
            order = np.asarray(jax.random.permutation(random_key("split", key), len(self)))
        edges = np.cumsum([0, *sizes.values()])
        return tuple(self.select(order[a:b]) for a, b in itertools.pairwise(edges))

    def subsample(self, space: int | tuple[int, ...] = 1, time: int = 1) -> "Dataset":
        """A view of every `space`-th grid point (one stride, or one per axis) and every `time`-th instant.

        **Raises:** `ValueError` if the coarse points are no grid on the same box (see `Grid.subsample`), for data that are not on
        a grid, for `time` of steady data, and for strides below 1; `TypeError` for strides that are no whole numbers.
        """
        time = count("subsample", "time", time)
        if time != 1 and self.times is None:
            raise ValueError("subsample(time=…) needs a time axis; this dataset is steady")
        steps = self.space
        if not isinstance(space, int) or isinstance(space, bool) or space != 1:
            grid = self.domain.as_grid("subsample(space=…)")
            more = per_axis(space, grid.ndim, "subsample(space=…)")
            grid.subsample(more)
            steps = tuple(a * b for a, b in zip(self.space or (1,) * grid.ndim, more, strict=True))
        start, stop, step = self.time.start, self.time.stop, self.time.step
        return replace(self, space=steps, time=slice(start, stop, (step or 1) * time))

    @checked
    def coarsen(self, shape: int | tuple[int, ...]) -> "Dataset":
        """A view on a coarser grid of `shape` points (one number, or one per axis) that keeps the frequencies this grid can hold.

        Unlike a stride it folds no high frequencies onto low ones. It is for periodic axes and axes of cells; read values are
        computed from all points of the fine grid.

        **Raises:** `ValueError` for axes with nodes, for more points than there are, and for data that are not on a grid.
        """
        fine = self.domain.as_grid("coarsen")
        wanted = per_axis(shape, fine.ndim, "coarsen")
        if len(wanted) != fine.ndim or not all(1 <= m <= n for m, n in zip(wanted, fine.shape, strict=True)):
            raise ValueError(f"coarsen({wanted}): expected 1 to {fine.shape} points along the axes {fine.names}")
        source = SpectralSource(ViewSource(self), fine.at_shape(wanted))
        for n, m, layout in zip(fine.shape, wanted, fine.layouts, strict=True):
            restriction_matrix(n, m, layout)
        return Dataset.of(source, self.problem)

    @checked
    def restrict(self, trajectories: int, key: AnyArray | None = None) -> "Dataset":
        """A view of exactly `trajectories` samples, for curves of error over data: the first ones, or with `key` random ones.

        Windows are cut from the trajectories later, so that all windows of these trajectories remain and no others.

        **Raises:** `ValueError` for more than there are, or none.
        """
        if not 1 <= trajectories <= len(self):
            raise ValueError(f"restrict(trajectories={trajectories}): the dataset has {len(self)}")
        return self.split(key, kept=trajectories)[0]

    @checked
    def where(self, **conditions: Any) -> "Dataset":
        """A view of the samples whose parameters meet all conditions, such as `data.where(nu=0.01)` or `data.where(nu=(0.01,
        0.1))`.

        A condition is a number (met to a relative 1e-6), a pair of ends, both included, or a function that takes the values
        `(sample, [component])` and returns a boolean per sample.

        **Raises:** `KeyError` for an unknown name; `ValueError` for one that is no parameter, and if no sample is left.
        """
        kept = np.ones(len(self), bool)
        for name, condition in conditions.items():
            if self.spec(name).role != "parameter":
                raise ValueError(f"where({name}=…): {name} is a {self.spec(name).role}, expected a parameter")
            kept &= meets(name, self.read([name])[name], condition)
        if conditions and not kept.any():
            held = "; ".join(f"{name}: {values_of(self.read([name])[name])}" for name in conditions)
            raise ValueError(f"where({', '.join(conditions)}): no sample meets the conditions; {held}")
        return self.select(kept)

    @checked
    def frame(self, index: int) -> "Dataset":
        """A steady view of one instant: every time-dependent array without its time axis. `index` is the number of the instant,
        −1 for the last.

        With it, generated trajectories become the task "from the initial field to the solution at the end":
        `Task.fit(data.frame(-1), "u0", "u")`.

        **Raises:** `ValueError` for steady data; `IndexError` for an instant that does not exist.
        """
        if self.times is None:
            raise ValueError("frame: this dataset is steady, its fields have no time axis")
        if not -self.instants <= index < self.instants:
            raise IndexError(f"frame {index} of {self.instants} instants")
        stored = range(len(np.asarray(self.source.times)))[self.time][index]
        return replace(self, source=FrameSource(self.source, stored), time=slice(None))

    @checked
    def masked(self, name: str) -> "Dataset":
        """A view whose fields are 0 where the field `name` is zero or not finite, such as the fluid round a body that moves.

        The mask may change from sample to sample and in time, and becomes 0 and 1 itself, so that it can be an input of the
        task. What lies outside of it, NaN included, does not matter any more. Losses and metrics see zeros there.

        **Raises:** `KeyError` for an unknown name; `ValueError` for one that is no field with one number per point.
        """
        self.spec(name)
        return Dataset.of(masked_source(ViewSource(self), name), self.problem)

    def in_memory(self) -> "Dataset":
        """The same samples, read into memory at once."""
        arrays = self.read()
        specs = {k: replace(spec, dtype=str(arrays[k].dtype)) for k, spec in self.fields.items()}
        source = MemorySource(arrays, specs, self.domains, self.times, {**self.attributes, "ids": self.ids.tolist()})
        return Dataset.of(source, self.problem)

    @checked
    def with_fields(self, fields: Mapping[str, np.ndarray], times: np.ndarray | None = None) -> "Dataset":
        """A dataset in memory with the given values of some fields, at the same points as here.

        `fields` are arrays `(sample, [time], *space, [component])` by name, in the form of the fields of that name here. With
        `times` they have a time axis of these instants.
        """
        if not fields:
            raise ValueError("with_fields: got no fields")
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
        """Number of every sample in the original data, `(sample,)`. Views and `ds[indices]` keep it."""
        origin = self.attributes.get("ids")
        return self.indices if origin is None else np.asarray(origin)[self.indices]

    # Consumers -------------------------------------------------------------------------------------------------------

    @checked
    def snapshots(self, name: str, block: int = 256) -> Iterator[np.ndarray]:
        """Yield the snapshots of a field as rows of blocks `(rows, points · components)`, for the bases of `surrogax.reduced`.

        A row is one sample, or one instant of one sample; the instants of a sample are consecutive. A block holds `block`
        samples.

        **Raises:** `ValueError` for a parameter, and for a field whose points differ from sample to sample.
        """
        spec = self.spec(name)
        if spec.role != "field":
            raise ValueError(f"snapshots({name!r}): needs a field, this is a {spec.role}")
        if not self.domains[spec.domain].fixed:
            raise ValueError(f"snapshots({name!r}): needs a field at the same points in all samples, such as a grid's")
        for start in range(0, len(self), count("snapshots", "block", block)):
            values = self.read([name], np.arange(start, min(start + block, len(self))))[name]
            rows = len(values) * (values.shape[1] if spec.time else 1)
            yield values.reshape(rows, -1)

    def systems(self, context: str | Sequence[str] | None = None) -> Systems:
        """The linear system A x = b of every sample, from the problem's `operator`, as a sequence for `lax.scan` or `vmap`.

        **Arguments:** `context`: name or names of the parameters that a policy of `linear.TunedSolver` sees before a solve; by
        default all parameters that are one number per sample.

        **Raises:** `ValueError` for data whose problem is unknown or declares no `operator`.
        """
        if self.problem is None:
            raise ValueError("systems: this dataset does not know its problem; it must come from generate(problem, …)")
        return Systems.of(self.problem, self.grid, self.read(list(self.problem.laws)), context)

    @checked
    def describe(self, samples: int = 64) -> str:
        """A text that lists the domain, the instants and, per field, role, shape, dtype, unit, range of values and what is
        suspicious: values that are not finite, constant fields, samples that are all zero or constant. It ends with what the
        reader of the file assumed, and a call of `Task.fit` that may suit. Ranges are found from up to `samples` samples."""
        return str(described(self, count("describe", "samples", samples, 0)))

    @checked
    def verify(self, samples: int = 8) -> Verification:
        """Look for contradictions in up to `samples` samples, and return the findings; `.ok` tells whether there are none.

        - Values that are not finite, samples that are zero everywhere.
        - Instants and coordinates, what the reader of the file assumed, a periodic axis that holds its end twice.
        - A stored advection speed (`beta`, `c`, `speed`, …) against the speed of mode 1, from its phase; a stored diffusivity
          (`nu`, `Nu`, …) against the decay of the lowest mode. Both are compared only where two modes obey that equation.
        - Published statistics that lack a field.
        """
        return verified(self, count("verify", "samples", samples))

    @checked
    def save(self, path: str | os.PathLike) -> None:
        """Write the samples to one HDF5 file, which `surrogax.open` reads with the same values, bit for bit.

        Data on one grid are written in The Well's layout, all others in a layout of this library. Ids and attributes are kept,
        the problem is not. An existing file is replaced when the new one is complete. `path` may be an address such as
        `s3://bucket/file`; the file is then made on this machine and sent there.

        **Raises:** `ValueError` for names of fields that the file cannot hold; `FileNotFoundError` for a missing folder.
        """
        from .formats.saving import save_dataset

        save_dataset(path, self)

    def to_xarray(self):
        """An `xarray.Dataset` with named axes. It needs xarray, and data on a grid."""
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
        """A matplotlib figure of the first `n` samples: a row per sample, a column per field (by default all) and component.

        A time-dependent field gets three columns, its first, middle and last frame, whose titles say the time. On grids, 1D
        fields are lines and 2D fields images; a 3D field is shown by its middle slice in z. On clouds and meshes the points are
        coloured dots, seen along z in 3D, over the edges of a mesh.

        **Raises:** `KeyError` for an unknown name; `ValueError` for a parameter and for a dataset without samples or fields.
        """
        from .plots import plot_samples

        for name in names:
            kind("plot", "name", name, str, "pass the name of a field")
        n = count("plot", "n", n)
        return plot_samples(self, names, n)

    def animate(
        self, path: str | os.PathLike, *names: str, beside: "Dataset | None" = None, n: int = 2, fps: int = 10
    ) -> Path:
        """Write a moving picture of the first `n` samples as `.gif` (or `.mp4` where the program ffmpeg is installed), and return
        its path.

        A row is a sample, a column a field that varies in time (`names`, by default all) and component, as in `plot`. `beside` is
        another dataset with these instants, such as the truth of a rollout, which gets columns of its own; both share their
        scale. `fps` are frames per second.

        **Raises:** `ValueError` for other endings, fields without time, and data that are not on a grid.
        """
        from .animation import animate_samples

        for name in names:
            kind("animate", "name", name, str, "pass the name of a field")
        kind("animate", "beside", beside, (Dataset, type(None)), "pass a dataset")
        return animate_samples(self, path, names, beside, count("animate", "n", n), count("animate", "fps", fps))

    def __repr__(self) -> str:
        return f"Dataset({described(self, 0)})"
