"""The training of one model by `surrogax train`, and what it is compared with."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from ..surrogates.baselines import MeanField, Persistence, SolverSurrogate
from ..surrogates.task.task import Task
from ..surrogates.trainable import AbstractTrainable
from ..surrogates.training.fit import fit
from ..surrogates.training.result import AbstractDirectFit
from ..surrogates.training.samples import Samples
from ..surrogates.training.supervised import Unroll
from .choices import LOSSES, Training
from .optimizers import OPTIMIZERS
from .options import given
from .training_data import Splits, grid_of, side


def fitted(
    training: Training,
    task: Task,
    model: Any,
    splits: Splits,
    folder: Path,
    key: jax.Array,
    *,
    without_data: bool = False,
) -> Any:
    """The result of `fit`, whose best and last surrogates are saved in `folder`; a surrogate without anything to fit as it is."""
    s = training.settings
    if isinstance(model, AbstractDirectFit):
        model = fit(model, splits.train, val=splits.val)
    elif without_data:
        optimizer = OPTIMIZERS[training.optimizer.name](s.steps, **given(training.optimizer.options))
        model = fit(model, steps=s.steps, optimizer=optimizer, seeds=s.seeds, ema=s.ema, run=folder, key=key)
    elif isinstance(model, AbstractTrainable):
        calls = s.unroll
        windows = len(Samples.of(task, splits.train, calls))
        steps = s.epochs * max(windows // min(s.batch_size, windows), 1)
        options: dict[str, Any] = {"unroll": Unroll(calls)} if calls > 1 else {}
        options |= {"noise": s.noise} if s.noise else {}
        model = fit(
            model, splits.train, val=splits.val, epochs=s.epochs, batch_size=s.batch_size, seeds=s.seeds, ema=s.ema,
            patience=s.patience, run=folder, key=key, symmetry=s.symmetry, dtype=s.dtype,
            optimizer=OPTIMIZERS[training.optimizer.name](steps, **given(training.optimizer.options)),
            loss=LOSSES[training.loss.name](**given(training.loss.options)), **options,
        )  # fmt: skip
    else:
        return model
    folder.mkdir(parents=True, exist_ok=True)
    if model.best.capabilities.savable:
        model.best.save(folder / "best.sgx")
        model.last.save(folder / "last.sgx")
    return model


def baselines(task: Task, splits: Splits, found: Mapping[str, Any]) -> dict[str, Any]:
    """The mean or persistence and, for steady problems on grids, the solver at three settings, but those that were `found`."""
    made = simplest(task, found)
    if not task.mode.ahead and splits.train.problem is not None and grid_of(splits.train) is not None:
        n, fine = splits.test.grid.shape[0], splits.fine.grid.shape[0]
        made |= solvers(task, splits, [(n // 2 + 1, 1e-2), (n, 1e-3), (fine, 1e-3)])
    return made


def simplest(task: Task, found: Mapping[str, Any]) -> dict[str, Any]:
    """The mean where samples share their points, or persistence in time, unless it was `found`."""
    made: dict[str, Any] = {}
    if task.means and "mean" not in found:
        made["mean"] = MeanField(task)
    if task.mode.rolls_out and "persistence" not in found:
        made["persistence"] = Persistence(task)
    return made


def solvers(
    task: Task, splits: Splits, pairs: Iterable[tuple[int, float]], *, tolerances: bool = False
) -> dict[str, SolverSurrogate]:
    """The solver of the problem by name, with m points per axis and to rtol, for all pairs of them; none without a problem. With
    `tolerances` the names tell rtol."""
    problem, made = splits.train.problem, {}
    if problem is None:
        return made
    for m, rtol in dict.fromkeys(pairs):
        name = f"solver {side(m, task.signature.ndim)}" + (f", rtol {rtol:g}" if tolerances else "")
        try:
            made[name] = SolverSurrogate(problem, m, rtol, task=task if task.mode.rolls_out else None)
        except ValueError as error:
            warnings.warn(f"no row for the solver: {error}", stacklevel=2)
    return made
