"""`Session`: a training run from its initial or restored state to its end, with validation, checkpoints and interruption."""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .batches import AbstractBatches
from .checkpoint import RunFolder
from .devices import any_process, is_first_process
from .history import History
from .interruption import Interruption
from .logs import Log, Logs
from .loop import TrainState
from .plan import Plan
from .progress_line import ProgressLine
from .runner import Runner, Validation

Measure = Callable[[Any], float]  # the error of a model; lower is better


class Session:
    """One training run: its state, its best result, its history and its folder.

    `train` runs one chunk of steps after the other. After every round the models are validated, the best result is kept, and
    the logs are called. A checkpoint is written every `checkpoint_every` seconds, at the end, after SIGTERM (the process then
    exits with status 143), after Ctrl-C (`train` then returns) and when the loss is no longer finite.
    """

    def __init__(
        self,
        runner: Runner,
        state: TrainState,
        batches: AbstractBatches,
        validation: Validation | Measure | None,
        plan: Plan,
        *,
        progress: bool,
        checkpoint_every: float,
        log: Sequence[Log] = (),
        zero_targets: Callable[[], str] = str,
    ):
        self.runner, self.state, self.batches, self.validation, self.plan = runner, state, batches, validation, plan
        self.best: PyTree = jax.tree.map(jnp.array, runner.loop.result(state))
        self.history = History(seeds=plan.seeds, epochs=plan.epochs)
        self.folder: RunFolder | None = None
        self.line = ProgressLine(
            plan.rounds,
            plan.per_round * plan.seeds * plan.per_step,
            progress and is_first_process(),
            unit="samples" if plan.epochs or plan.per_step > 1 else "steps",
        )
        self.checkpoint_every, self.logs = checkpoint_every, Logs(log if is_first_process() else ())
        self.zero_targets = zero_targets  # a sentence about samples whose targets vanish; "" if there are none
        self.done = 0

    def open(self, path: str | Path, identity: dict) -> None:
        """Use the run folder `path`, and continue from its newest checkpoint if it has one.

        **Raises:** `ValueError` if the folder belongs to a run with another identity, or to one with more steps than the plan.
        """
        self.folder = RunFolder.open(path, identity)
        restored = self.folder.restore((self.state, self.best))
        if restored is not None:
            (self.state, self.best), self.history = restored
            done = int(np.asarray(self.runner.devices.local(self.state.step)).max())
            if done > self.plan.total:
                raise ValueError(
                    f"run folder {self.folder.where} holds {done} steps ({self.history.rounds} epochs), more than the "
                    f"{self.plan.total} asked for; choose another folder or remove this one"
                )

    def train(self) -> None:
        """Train to the end of the plan.

        **Raises:** `FloatingPointError` if the loss is no longer finite, after saving the last good state; `SystemExit` after
        SIGTERM.
        """
        with Interruption() as signals, contextlib.closing(self.logs):
            self.done = int(np.asarray(self.runner.devices.local(self.state.step)).max())
            self._saved = self._clock = time.monotonic()
            chunks = iter(()) if self._finished() else self.batches.chunks(self.done, self.plan.total)
            for count, chunk in chunks:
                self.history.spend(self._lap(), "data")
                self.state, losses, metrics = self.runner.train(chunk, self.state, self.done, count)
                bad = np.flatnonzero(~np.isfinite(losses).all(0))
                failed = self.done + int(bad[0]) if len(bad) else None
                self.done += count
                if failed is None:
                    self.history.advance(losses, metrics, self._lap())
                    if self.done % self.plan.per_round == 0 or self.done == self.plan.total:
                        self._end_round()
                late = time.monotonic() - self._saved > self.checkpoint_every
                terminated, interrupted, due = any_process(
                    signals.terminated.is_set(), signals.interrupted.is_set(), late
                )
                if failed is not None or terminated or interrupted or due or self._finished():
                    self._save()
                if failed is not None:
                    self._raise_not_finite(failed)
                self.history.spend(self._lap(), "writing")
                if terminated:
                    where = "" if self.folder is None else f" and saved in {self.folder.where}"
                    print(f"\nfit: SIGTERM; stopped after step {self.done}{where}", file=sys.stderr)
                    raise SystemExit(143)
                if interrupted and not self._finished():
                    self._interrupted()
                    break
                if self._finished():
                    break
        self.line.close(self.history)
        if self.history.val and not np.isfinite(self.history.best_error).all():
            warnings.warn(
                f"fit: the validation error was never finite, so that `best` is the last state{self.zero_targets()}",
                stacklevel=3,
            )

    def _interrupted(self) -> None:
        """Say that Ctrl-C ended the training; without validation the last state is the best."""
        more = "" if self.folder is None else f"; the same call with run={str(self.folder.where)!r} goes on"
        warnings.warn(
            f"fit: interrupted after {self.done} of {self.plan.total} steps; the best model so far is returned{more}",
            stacklevel=4,
        )
        if not np.isfinite(self.history.best_error).all():
            self.best = self.runner.loop.result(self.state)

    def _end_round(self) -> None:
        errors = self._errors()
        if errors is not None:
            best = self.history.best_error
            # Until an error is finite the latest state is the best one; the initial weights never are.
            better = (errors < best) | ~np.isfinite(best)
            if better.any():
                self.best = self.runner.keep_better(better, self.state, self.best)
        self.history.close(errors, self._lap())
        self.line.update(self.history)
        if self.folder is not None:
            self.folder.log(self.history)
        self.logs.write(self.done, self.history.latest)

    def _errors(self) -> np.ndarray | None:
        """Validation error of every seed, `(seeds,)`; None without validation."""
        match self.validation:
            case None:
                return None
            case Validation():
                return self.runner.validate(self.validation, self.state)
            case measure:
                models = self.runner.models(self.runner.loop.result(self.state))
                return np.array([float(measure(model)) for model in models])

    def _finished(self) -> bool:
        return self.plan.finished(self.done, self.history.rounds_since_best)

    def _lap(self) -> float:
        """Seconds since the last call of this method."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _save(self) -> None:
        if self.folder is not None:
            self.folder.save(self.done, (self.state, self.best), self.history)
            self._saved = time.monotonic()

    def _raise_not_finite(self, step: int) -> None:
        kept = f"; the last good state is in {self.folder.where}" if self.folder is not None else ""
        advice = self.zero_targets() or (
            ". Lower the learning rate or clip gradients (optax.clip_by_global_norm(1.0))."
            if step
            else ". Nothing was trained yet: look for a division by zero, or a root or logarithm of a negative number, in what "
            "is minimised."
        )
        raise FloatingPointError(
            f"the training loss or its gradient was not finite at step {step}; parameters of the step before "
            f"were kept{kept}{advice}"
        )
