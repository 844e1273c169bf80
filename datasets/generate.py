"""Data from a problem's own solver: chunked, cached by recipe, resumable, with the error of the labels."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ..solvers.domains import Grid
from ..solvers.files import write_json
from ..solvers.kernels.norms import relative_l2
from ..solvers.linear.solve import status_message
from ..solvers.linear.status import Status
from ..solvers.pde.problem import Problem
from ..solvers.precision import in_double
from .concat import ConcatSource
from .dataset import Dataset
from .progress import track
from .source import FieldSpec, MemorySource, Source
from .well import WellSource
from .well_writer import write_well

_CHUNK = 50  # samples per file: seconds of work lost by an interruption, and few enough files
_VERSION = 1  # part of the recipe: raise it when generated numbers change


def generate(
    problem: Problem,
    n: int,
    grid: int | tuple[int, ...] | Grid,
    key: jax.Array,
    *,
    refine: int = 1,
    times: np.ndarray | None = None,
    label_samples: int = 4,
    cache: str | os.PathLike | bool = True,
    progress: bool = True,
) -> Dataset:
    """Draw `n` parameters, solve, and keep inputs and solutions at the points of `grid`.

    Solves run in float64 where the platform has it; values are stored in float32.
    Sample i depends on `fold_in(key, i)` only: a longer dataset starts with the shorter one, and an interrupted run goes on
    where it was.

    **Arguments:**

    - `grid`: points per axis, or a `Grid` on the problem's box.
    - `refine`: solve on a grid this many times finer and restrict to its every `refine`-th point. 2 or more where labels
      should be better than a solve on `grid` itself.
    - `times`: instants to store, for time-dependent problems.
    - `label_samples`: on so many samples the solve is repeated at twice the resolution, and the mean relative L2
      difference on `grid` recorded as `attributes["label_error"]`; 0 for none.
    - `cache`: folder for generated data; True is `$SURROGAX_CACHE` or `~/.cache/surrogax`, False keeps everything in memory.

    **Raises:** `ValueError` if the problem has no solver, and `RuntimeError` with the sample's number and the solver's status
    if a solve does not converge.
    """
    solve = problem.needs("solve", "generate")
    grid = grid if isinstance(grid, Grid) else problem.box.grid(grid)
    options = {} if times is None else {"times": jnp.asarray(times)}
    times = None if times is None else np.asarray(times, np.float64)

    def sample(i, factor: int):
        fine = grid.refine(factor) if factor > 1 else grid
        fields = problem.sample_parameters(jax.random.fold_in(key, i), fine)
        fields = jax.tree.map(lambda x: x.astype(jnp.result_type(float)), fields)
        solution, stats = solve(fields, fine, **options)
        return {k: _restrict(v, fine, factor, times) for k, v in {**fields, **solution}.items()}, stats.status

    run = jax.jit(lambda ids, factor: jax.vmap(lambda i: sample(i, factor))(ids), static_argnums=1)
    if jax.default_backend() != "tpu":  # which has no float64
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

    attributes = {} if cache is False else {"recipe": recipe(problem, grid, key, refine, times)}
    folder = None if cache is False else _folder(cache, attributes)
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
            attributes["label_error"] = _label_error(problem, compute, grid, min(label_samples, n), refine)
        source: Source = _source(problem, compute(start, stop, refine), grid, times, attributes)
        if path is not None:
            write_well(path, source, name=problem.recipe.split("(")[0])
            source = WellSource(path)
        sources.append(source)
    return Dataset(ConcatSource(tuple(sources)), _numbers(sources, n), problem=problem)


def _folder(cache: str | os.PathLike | bool, attributes: dict) -> Path:
    root = Path(os.environ.get("SURROGAX_CACHE", "~/.cache/surrogax") if cache is True else cache).expanduser()
    folder = root / hashlib.sha256(attributes["recipe"].encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", attributes)
    return folder


def _numbers(sources: list[Source], n: int) -> np.ndarray:
    """Where the samples 0 … n−1 stand in the sources one after the other; a cached chunk may hold more than asked for."""
    starts = np.cumsum([0, *map(len, sources)])
    return np.concatenate([starts[i] + np.arange(min(_CHUNK, n - i * _CHUNK)) for i in range(len(sources))])


def recipe(problem: Problem, grid: Grid, key: jax.Array, refine: int, times) -> str:
    """Everything that the generated numbers depend on, as text; its hash names the cache folder."""
    if not problem.recipe:
        raise ValueError("generate: a hand-made Problem needs a `recipe` (any text that identifies it), or cache=False")
    numbers = np.asarray(jax.random.key_data(key)).tolist()
    instants = None if times is None else hashlib.sha256(times.tobytes()).hexdigest()[:16]
    return f"{problem.recipe} | {grid} | refine={refine} | key={numbers} | times={instants} | v{_VERSION}"


def _batches(start: int, stop: int, grid: Grid, factor: int) -> Iterator[np.ndarray]:
    """Sample numbers in batches of one fixed size (one compilation) whose fields fit the cache of a core."""
    points = int(np.prod(grid.shape)) * factor**grid.ndim
    size = max(1, min(_CHUNK, 2_000_000 // points))
    for first in range(start, stop, size):
        yield np.minimum(np.arange(first, first + size), max(stop - 1, first))


def _restrict(values, fine: Grid, factor: int, times):
    """A field on the fine grid at every `factor`-th point; parameters as they are. Fields end with the space axes."""
    if factor == 1 or values.shape[-fine.ndim :] != fine.shape:
        return values
    return values[(..., *(slice(None, None, factor) for _ in fine.shape))]


def _source(problem: Problem, arrays: dict[str, np.ndarray], grid: Grid, times, attributes) -> MemorySource:
    specs = {}
    for name, values in arrays.items():
        field = name in problem.unknowns or problem.parameters[name].is_field
        timed = times is not None and name in problem.unknowns
        components = values.shape[1 + timed + grid.ndim :] if field else values.shape[1:]
        specs[name] = FieldSpec("field" if field else "parameter", components, timed, str(values.dtype))
    return MemorySource(arrays, specs, grid, times, dict(attributes))


def _label_error(problem: Problem, compute: Callable, grid: Grid, samples: int, refine: int) -> dict[str, float]:
    """Mean over samples of the relative L2 difference, on `grid`, to a solve at twice the resolution, per unknown."""
    ours, finer = compute(0, samples, refine), compute(0, samples, 2 * refine)
    weights = jnp.asarray(grid.weights, jnp.float32)
    error = jax.vmap(lambda u, v: relative_l2(u.reshape(*grid.shape, -1), v.reshape(*grid.shape, -1), weights))

    def last_first(u):  # time and component axes behind the space axes
        return np.moveaxis(u, 1, -1) if u.ndim > 1 + grid.ndim else u

    return {k: float(error(last_first(ours[k]), last_first(finer[k])).mean()) for k in problem.unknowns}
