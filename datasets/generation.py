"""`generate`: data from a problem's own solver, in chunks, cached on disk, resumable, with an estimate of their error."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.arguments import count, kind, random_key
from ..core.domains import Grid
from ..core.files import write_json
from ..core.precision import in_double
from ..core.progress import track
from ..solvers.kernels.exponential import Instants
from ..solvers.kernels.norms import relative_l2
from ..solvers.linear.linear_solve import status_message
from ..solvers.linear.solution import Status
from ..solvers.pde.declaration import Problem
from .checked_arrays import instants
from .concatenation import ConcatSource
from .dataset import Dataset
from .source import FieldSpec, MemorySource, Source

_CHUNK = 50  # samples per file: an interruption loses only seconds of work, and there are not too many files
_VERSION = 1  # part of the recipe: increase it when the generated numbers change


def generate(
    problem: Problem,
    n: int,
    grid: int | tuple[int, ...] | Grid,
    key: jax.Array | np.ndarray,
    *,
    refine: int = 1,
    times: Instants | None = None,
    label_samples: int = 4,
    cache: str | os.PathLike | bool = True,
    progress: bool = True,
) -> Dataset:
    """Draw `n` random inputs of a problem, solve it for each, and return inputs and solutions at the points of `grid`.

    Solves run in float64 (in float32 on TPUs, which have no float64); values are stored in float32. Sample i depends on
    `fold_in(key, i)` only, so a larger `n` extends the same dataset. Finished chunks are kept in the cache: an interrupted
    call, repeated, continues with the first missing chunk.

    **Arguments:**

    - `problem`: a registered problem, for example `surrogax.problem("darcy")`, or any `Problem` that declares `solve`.
    - `n`: number of samples.
    - `grid`: points per axis, or a `Grid` on the problem's box.
    - `key`: random key of the inputs.
    - `refine`: solve on a grid this many times finer and store every `refine`-th point. 2 or more makes the stored solutions
      (labels) more accurate than a solve on `grid` itself. Grids with the layout "cells" need 1.
    - `times`: increasing instants to store, for time-dependent problems. Inputs that depend on time, such as a forcing, are
      sampled and stored at the same instants.
    - `label_samples`: number of samples on which the error of the labels is estimated. Their solve is repeated at twice the
      resolution, and the mean relative L2 difference on `grid` is stored as `attributes["label_error"]`, a dict by unknown
      (without those that are zero). 0 switches this off, as does a grid with the layout "cells".
    - `cache`: folder for generated data. True means `$SURROGAX_CACHE` or `~/.cache/surrogax`; False keeps everything in memory.
    - `progress`: whether to show a progress bar.

    **Raises:** `ValueError` if the problem declares no `solve`, for numbers below 1 and `times` that do not increase; `TypeError`
    for numbers that are not whole and a key that is none; `RuntimeError` with the sample's number and the solver's status if a
    solve does not converge. A problem that nothing identifies (one that is not registered, or a law that is no dataclass) raises
    `ValueError` or `TypeError` if `cache` names a folder, and else is not cached, with a warning.

    **Example:**

        >>> heat = sx.problem("heat", nu=0.1)
        >>> data = sx.generate(heat, n=3, grid=16, key=key, times=[0.0, 0.1], cache=False, progress=False)
        >>> data["u"].shape                                     # (sample, time, x)
        (3, 2, 16)
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"generate: {problem!r} is no problem; give sx.problem({str(problem)!r}) or a Problem")
    problem.needs("solve", "generate")
    n, refine = count("generate", "n", n), count("generate", "refine", refine)
    label_samples = count("generate", "label_samples", label_samples, 0)
    key = random_key("generate", key)
    kind("generate", "cache", cache, (bool, str, os.PathLike), "pass a folder, True or False")
    grid = problem.box.grid(grid)
    label_samples = 0 if "cells" in grid.layouts else min(label_samples, n)
    times = None if times is None else instants(times).astype(np.float64)

    def is_field(name: str) -> bool:
        return name in problem.unknowns or problem.laws[name].is_field

    def is_timed(name: str) -> bool:
        return times is not None if name in problem.unknowns else problem.laws[name].is_timed

    def sample(i, factor: int):
        fine = grid.refine(factor) if factor > 1 else grid
        inputs = problem.sample_inputs(jax.random.fold_in(key, i), fine, times)
        inputs = jax.tree.map(lambda x: x.astype(jnp.result_type(float)), inputs)
        solution = problem.solve(inputs, fine, times=times)
        arrays = {**inputs, **solution.fields}
        for name in filter(is_field, arrays):
            window = (slice(None),) * is_timed(name) + (slice(None, None, factor),) * grid.ndim
            arrays[name] = arrays[name][window]
        return arrays, solution.status

    run = jax.jit(lambda ids, factor: jax.vmap(lambda i: sample(i, factor))(ids), static_argnums=1)
    if jax.default_backend() != "tpu":  # TPUs have no float64
        run = in_double(run)

    def compute(start: int, stop: int, factor: int) -> dict[str, np.ndarray]:
        parts = []
        for ids in _batches(start, stop, grid, factor):
            arrays, status = run(ids, factor)
            failed = np.flatnonzero(np.asarray(status) != Status.converged)
            if len(failed):
                raise RuntimeError(f"sample {int(ids[failed[0]])}: {status_message(status[failed[0]])}")
            parts.append({k: np.asarray(v, np.float32) for k, v in arrays.items()})
        return {k: np.concatenate([p[k] for p in parts])[: stop - start] for k in parts[0]}

    def spec(name: str, values: np.ndarray) -> FieldSpec:
        components = values.shape[1 + is_timed(name) + grid.ndim * is_field(name) :]
        return FieldSpec("field" if is_field(name) else "parameter", components, is_timed(name), str(values.dtype))

    def label_error(samples: int) -> dict[str, float]:
        ours, finer = (
            {k: np.moveaxis(v, 1, -1) if is_timed(k) else v for k, v in compute(0, samples, factor).items()}
            for factor in (refine, 2 * refine)
        )
        return _label_error({k: ours[k] for k in problem.unknowns}, finer, grid)

    from .formats.well import WellSource  # HDF5 takes a while to import
    from .formats.well_writer import write_well

    attributes = {} if cache is False else _identity(problem, grid, key, refine, times, required=cache is not True)
    folder = _folder(cache, attributes) if attributes else None
    sources: list[Source] = []
    for start in track(range(0, n, _CHUNK), "generating", enabled=progress):
        stop = min(start + _CHUNK, n)
        path = None if folder is None else folder / f"{start:08d}.hdf5"
        if path is not None and path.exists() and len(WellSource(path)) >= stop - start:
            sources.append(WellSource(path))
            continue
        if sources:
            attributes = dict(sources[0].attributes)
        elif label_samples:
            attributes["label_error"] = label_error(label_samples)
        arrays = compute(start, stop, refine)
        specs = {k: spec(k, values) for k, values in arrays.items()}
        source: Source = MemorySource(arrays, specs, {"": grid}, times, dict(attributes))
        if path is not None:
            write_well(path, source, name=problem.name)
            source = WellSource(path)
        sources.append(source)
    return Dataset(ConcatSource(tuple(sources)), _numbers(sources, n), problem=problem)


def _identity(problem: Problem, grid: Grid, key: jax.Array, refine: int, times, *, required: bool) -> dict[str, Any]:
    """The recipe as an attribute of the data, or none, with a warning, if the cache is not required."""
    try:
        return {"recipe": recipe(problem, grid, key, refine, times)}
    except (ValueError, TypeError) as error:
        if required:
            raise
        warnings.warn(f"generate: these data are not cached: {error}", stacklevel=3)
        return {}


def _folder(cache: str | os.PathLike | bool, attributes: dict) -> Path:
    root = Path(
        os.environ.get("SURROGAX_CACHE", "~/.cache/surrogax") if isinstance(cache, bool) else cache
    ).expanduser()
    folder = root / hashlib.sha256(attributes["recipe"].encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", attributes)
    return folder


def _numbers(sources: list[Source], n: int) -> np.ndarray:
    """Positions of the samples 0 … n−1 in the concatenated sources; a cached chunk may hold more samples than needed."""
    starts = np.cumsum([0, *map(len, sources)])
    return np.concatenate([starts[i] + np.arange(min(_CHUNK, n - i * _CHUNK)) for i in range(len(sources))])


def recipe(problem: Problem, grid: Grid, key: jax.Array, refine: int, times) -> str:
    """A text of everything on which the generated numbers depend; its hash names the cache folder."""
    numbers = np.asarray(jax.random.key_data(key)).tolist()
    instants = None if times is None else hashlib.sha256(times.tobytes()).hexdigest()[:16]
    points = f"{grid.box} {grid.shape} {grid.layouts}"
    return f"{problem.recipe} | {points} | refine={refine} | key={numbers} | times={instants} | v{_VERSION}"


def _batches(start: int, stop: int, grid: Grid, factor: int) -> Iterator[np.ndarray]:
    """Yield sample numbers in batches of one fixed size, so that one compiled program serves all of them; a batch is small
    enough for its fields to fit into a core's cache. The last batch repeats the last number."""
    points = int(np.prod(grid.shape)) * factor**grid.ndim
    size = max(1, min(_CHUNK, 2_000_000 // points))
    for first in range(start, stop, size):
        yield np.minimum(np.arange(first, first + size), max(stop - 1, first))


def _label_error(ours: dict[str, np.ndarray], finer: dict[str, np.ndarray], grid: Grid) -> dict[str, float]:
    """Mean over samples of the relative L2 difference of `ours` and `finer`, by field; arrays are `(sample, *space, …)`. Samples
    that are zero everywhere do not count, and a field that is zero in all of them has no entry."""
    weights = jnp.asarray(grid.weights / grid.weights.max(), jnp.float32)
    one = jax.vmap(lambda u, v: relative_l2(u.reshape(*grid.shape, -1), v.reshape(*grid.shape, -1), weights))
    errors = {}
    for name, u in ours.items():
        scale = np.abs(finer[name]).reshape(len(u), -1).max(1)
        scales = scale[scale > 0].reshape(-1, *(1,) * (u.ndim - 1)).astype(np.float64)
        if len(scales):
            pair = (
                np.float32(values[scale > 0] / scales) for values in (u, finer[name])
            )  # squares of 1e-25 are no float32
            errors[name] = float(one(*pair).mean())
    return errors
