"""The training of one model by `surrogax train`, and what it is compared with."""

import warnings
from collections.abc import Mapping
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


def fitted(training: Training, task: Task, model: Any, splits: Splits, folder: Path, key: jax.Array) -> Any:
    """The result of `fit`, whose best and last surrogates are saved in `folder`; a surrogate without anything to fit as it is."""
    s = training.settings
    if isinstance(model, AbstractDirectFit):
        model = fit(model, splits.train, val=splits.val)
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
    made: dict[str, Any] = {}
    if not task.mode.ahead and "mean" not in found:
        made["mean"] = MeanField(task)
    if task.mode.rolls_out and "persistence" not in found:
        made["persistence"] = Persistence(task)
    problem = splits.train.problem
    if problem is not None and not task.mode.ahead and grid_of(splits.train) is not None:
        n, fine = splits.test.grid.shape[0], splits.fine.grid.shape[0]
        for m, rtol in dict.fromkeys([(n // 2 + 1, 1e-2), (n, 1e-3), (fine, 1e-3)]):
            try:
                made[f"solver {side(m, task.signature.ndim)}"] = SolverSurrogate(problem, m, rtol)
            except ValueError as error:
                warnings.warn(f"train: no row for the solver: {error}", stacklevel=2)
    return made
