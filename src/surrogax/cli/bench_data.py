"""The data of a task of `surrogax bench`, and the classical solver that makes them, as rows beside the surrogates."""

import abc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..core.arguments import count
from ..core.domains import AbstractDomain
from ..datasets.dataset import Dataset
from ..datasets.source import MemorySource
from ..datasets.star_domains import Case, solved, star_cases, star_domains
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.forecast import PointForecast
from ..surrogates.evaluation.metrics import find_metric
from ..surrogates.evaluation.table import Row
from ..surrogates.task.task import Task
from .choices import Training
from .training_data import Splits, datasets
from .training_run import solvers

_REPEATS = 5


class AbstractBenchData(abc.ABC):
    """The source of a task's samples, and of the solver's rows beside them."""

    @abc.abstractmethod
    def splits(self, training: Training) -> Splits:
        """The samples."""

    @abc.abstractmethod
    def solver_rows(self, training: Training, task: Task, splits: Splits, tests: Mapping[str, Dataset]) -> list[Row]:
        """The rows of the classical solver at several tolerances and on several grids, the most accurate one last."""


@dataclass(frozen=True)
class OfSettings(AbstractBenchData):
    """The data of the settings, a registered problem or a file, and the solver of their problem."""

    def splits(self, training: Training) -> Splits:
        return datasets(training.settings)

    def solver_rows(self, training: Training, task: Task, splits: Splits, tests: Mapping[str, Dataset]) -> list[Row]:
        s, n, fine = training.settings, splits.test.grid.shape[0], splits.fine.grid.shape[0]
        end = 0 if all(splits.test.grid.periodic) else 1
        coarse, half = n // 4 + end, n // 2 + end
        if task.mode.rolls_out:
            pairs = [(coarse, 1e-3), (half, 1e-3), (n, 1e-3), (n, 1e-6), (fine, 1e-6)]
        else:
            pairs = [(coarse, 1e-2), (half, 1e-2), (n, 1e-1), (n, 1e-2), (n, 1e-4), (fine, 1e-4)]
        compared = solvers(task, splits, pairs, tolerances=True)
        if not compared:
            return []
        tables = [evaluate(compared, tests, metrics=s.metrics)]
        if s.rollout is not None:
            tables.append(evaluate(compared, tests, metrics=s.metrics, rollout=s.rollout))
        return [row for table in tables for row in table.rows]


@dataclass(frozen=True)
class StarDomains(AbstractBenchData):
    """`star_domains` on meshes of about these numbers of points. The solver is that of linear triangles on the mesh of each
    sample, assembly included; it knows the source between the points too."""

    points: tuple[int, ...]

    def splits(self, training: Training) -> Splits:
        data, error = star_domains(*self._asked(training))
        source = MemorySource(
            data.read(), data.fields, data.domains, None, {"label_error": {"u": error}, "ids": data.ids.tolist()}
        )
        train, val, test = Dataset.of(source).split(None, **_sizes(training))
        return Splits(train, val, test, test)

    def solver_rows(self, training: Training, task: Task, splits: Splits, tests: Mapping[str, Dataset]) -> list[Row]:
        cases, rows = star_cases(*self._asked(training)), []
        for name, data in tests.items():
            own = [cases[int(i)] for i in data.ids]
            for rtol in (1e-1, 1e-2, 1e-4):
                _on_meshes(own[:1], rtol)  # compiles
                u, times = _on_meshes(own, rtol), (_milliseconds(own[:1], rtol), _milliseconds(own, rtol))
                for metric, errors in _errors(u, data, training.settings.metrics).items():
                    rows.append(
                        Row(
                            f"solver on the mesh, rtol {rtol:g}", 0, name, "u", metric, None, float(errors.mean()),
                            float(errors.std(ddof=1) / np.sqrt(len(errors))) if len(errors) > 1 else None, *times, 0,
                            data.attributes["label_error"]["u"],
                        )
                    )  # fmt: skip
        return rows

    def _asked(self, training: Training) -> tuple[int, tuple[int, ...], int]:
        return sum(_sizes(training).values()), self.points, training.settings.seed


def _sizes(training: Training) -> dict[str, int]:
    return {name: count("bench", name, vars(training.settings)[name]) for name in ("train", "val", "test")}


def _on_meshes(cases: list[Case], rtol: float) -> list[np.ndarray]:
    """u at the points of the mesh of every case, those of equal meshes in one batch."""
    found: dict[int, np.ndarray] = {}
    for mesh in {id(case.mesh): case.mesh for case in cases}.values():
        own = [i for i, case in enumerate(cases) if case.mesh is mesh]
        found |= dict(zip(own, solved(mesh, [cases[i].law for i in own], rtol), strict=True))
    return [found[i] for i in range(len(cases))]


def _milliseconds(cases: list[Case], rtol: float) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        _on_meshes(cases, rtol)
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds)) / len(cases)


def _errors(u: list[np.ndarray], data: Dataset, metrics: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The metrics of all samples."""
    arrays = data.read()
    given = np.stack([np.pad(x, (0, arrays["u"].shape[1] - len(x))) for x in u])
    parts = tuple(jnp.asarray(x, jnp.float32) for x in (given[..., None], arrays["u"][..., None], arrays["weights"]))
    errors = {}
    for name in metrics:
        metric = find_metric(name)
        if not metric.probabilistic:
            errors[name] = np.asarray(jax.vmap(partial(_error, metric.function, data.domain))(*parts), np.float64)
    return errors


def _error(metric: Callable, domain: AbstractDomain, u, reference, weights):
    return metric(PointForecast(u), reference, weights, domain)[0]
