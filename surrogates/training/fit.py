"""`fit`: the one verb that trains or fits every surrogate."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ...datasets.dataset import Dataset
from ...solvers.pde.symmetry import Dihedral
from ..network import apply_batch
from ..surrogate import AbstractSurrogate, NetworkSurrogate
from .checkpoint import RunFolder
from .data import DeviceData
from .history import History
from .loop import Loop, TrainState, epoch_order
from .losses import Loss, RelativeL2
from .objectives import Objective, Supervised
from .report_line import ProgressLine
from .result import DirectFit, FitResult
from .settings import settings_of
from .sigterm import Sigterm

_STEPS_PER_ROUND = 500  # without data: optimiser steps between two looks at the clock


@dataclass(frozen=True)
class Unroll:
    """Train an autoregressive surrogate on `steps` frames in a row; see `Supervised`."""

    steps: int = 1
    gradient: str = "full"


def fit(
    model: NetworkSurrogate | DirectFit | Callable[[Array], NetworkSurrogate],
    data: Dataset | None = None,
    *,
    val: Dataset | None = None,
    optimizer: optax.GradientTransformation | None = None,
    loss: Loss = RelativeL2(),  # noqa: B008 (frozen)
    objective: Objective | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 20,
    seeds: int = 1,
    unroll: Unroll = Unroll(),
    symmetry: Dihedral | bool | None = None,
    ema: float = 0.0,
    patience: int | None = None,
    run: str | Path | None = None,
    key: Array | None = None,
    progress: bool = True,
    checkpoint_every: float = 30.0,
) -> FitResult:
    """Train a surrogate, or fit one that needs no optimiser, and return its best and last state.

    The data sit on the device; one compiled scan runs an epoch with donated buffers. The same call on an existing run
    folder goes on where it stopped, to the same numbers.

    **Arguments:**

    - `model`: a surrogate from `FNO(task, …)`, `wrap(network, task)`, `PODRegression(task, …)`, …; or a function of a key
      that makes one.
    - `data`, `val`: training and validation data. `best` is chosen by the mean relative L2 error on `val`.
    - `optimizer`: any optax optimiser; schedules count steps. For `optax.lbfgs()` use the whole set as one batch.
    - `loss`: of one sample, in physical units; or `objective` in its place, for training without data.
    - `epochs` passes over the data, or exactly `steps` of the optimiser. Each epoch is a new permutation, in whole batches.
    - `seeds`: train that many from different initial weights and batch orders at once (`vmap`).
    - `unroll`: of autoregressive tasks.
    - `symmetry`: a group, or True for the one that the dataset's problem declares: every sample is seen through a random
      element of it.
    - `ema`: decay of averaged parameters, which then serve as the result; 0.999 is a good value for long runs.
    - `patience`: stop after so many epochs without a better validation error (with several seeds: of any of them).
    - `run`: folder for metrics and checkpoints. SIGTERM saves and exits.
    - `checkpoint_every`: seconds between checkpoints.

    **Raises:** `ValueError` for arguments that do not fit together and for a run folder of another configuration;
    `FloatingPointError` when the loss is no longer finite, after saving the last good state.
    """
    if isinstance(model, DirectFit):
        fitted = model.fitted(_required(data, "data"), val)
        return FitResult((fitted,), (fitted,), History())
    key = jax.random.key(0) if key is None else key
    surrogates = _seeded(model, seeds, jax.random.fold_in(key, 1))
    task = surrogates[0].task
    if objective is None:
        objective = Supervised(loss, _symmetry(symmetry, data), unroll.steps, unroll.gradient)
        _required(data, "data")
    optimizer = _required(optimizer, "an optimizer, for example optimizer=optax.adam(1e-3)")
    device = None if data is None else DeviceData.load(task, data, unroll.steps)
    validation = None if val is None else DeviceData.load(task, val)
    if device is not None:
        batch_size = min(batch_size, len(device))
    per_round = len(device) // batch_size if device is not None else _STEPS_PER_ROUND
    total = _total_steps(epochs, steps, per_round, device)
    if patience is not None and validation is None:
        raise ValueError(f"fit(patience={patience}) needs val=…: it watches the validation error")

    loop = Loop.of(surrogates[0], objective, optimizer, ema)
    many = (lambda f, axes: f) if seeds == 1 else (lambda f, axes: jax.vmap(f, in_axes=axes))
    keys = jax.random.split(jax.random.fold_in(key, 2), seeds)
    state = _stack([loop.init(s, k) for s, k in zip(surrogates, keys, strict=True)], seeds)

    @eqx.filter_jit(donate="all-except-first")
    def train_round(constants, state: TrainState, count: int):
        loop, device, done = constants

        def one(state: TrainState):
            if device is None:
                return loop.run(state, None, jnp.zeros((count, 0), jnp.int32))
            # Parameter steps use fold_in(key, step); the order of an epoch comes from another branch of the key.
            key = jax.random.fold_in(jax.random.fold_in(state.key, 2**31 - 1), done // per_round)
            order = epoch_order(key, len(device), batch_size)
            return loop.run(state, device, jax.lax.dynamic_slice_in_dim(order, done % per_round, count))

        return many(one, 0)(state)

    @eqx.filter_jit
    def validate(state: TrainState, loop: Loop, validation):
        return many(lambda s: _validation_error(loop.surrogate(s), validation, batch_size), 0)(state)

    @eqx.filter_jit
    def keep_better(better, new, old):
        pick = lambda a, b: jnp.where(better.reshape(better.shape + (1,) * (a.ndim - better.ndim)), a, b)  # noqa: E731
        return jax.tree.map(pick, new, old)

    result_of = lambda s: (s.ema if ema else s.model, s.model_state)  # noqa: E731
    best = jax.tree.map(jnp.array, result_of(state))
    history = History(seeds=seeds)
    folder = None
    if run is not None:
        settings = settings_of(surrogates[0], state, objective, data, val, batch_size, seeds, ema, unroll, key)
        folder = RunFolder.open(run, settings)
        restored = folder.restore((state, best))
        if restored is not None:
            (state, best), history = restored
    per_line = per_round * seeds * (1 if device is None else batch_size)
    line = ProgressLine(-(-total // per_round), per_line, progress)
    done = int(np.max(state.step))
    last_save = time.monotonic()

    def finished() -> bool:
        return done >= total or (patience is not None and history.rounds_since_best >= patience)

    with Sigterm() as terminated:
        while not finished():
            start = time.monotonic()
            count = min(per_round - done % per_round, total - done)
            state, losses = train_round((loop, device, jnp.asarray(done)), state, count)
            losses = np.asarray(losses).reshape(seeds, -1)
            errors = None
            if validation is not None:
                errors = np.asarray(validate(state, loop, validation)).reshape(seeds)
                better = errors < history.best_error
                if better.any():
                    best = keep_better(jnp.asarray(better if seeds > 1 else better[0]), result_of(state), best)
            bad = np.flatnonzero(~np.isfinite(losses).all(0))
            where = done + int(bad[0]) if len(bad) else None
            done += count
            if where is None:
                history.add(losses.mean(1), errors, time.monotonic() - start)
                line.update(history)
            if folder is not None:
                if where is None:
                    folder.log(history)
                due = time.monotonic() - last_save > checkpoint_every
                if where is not None or terminated.is_set() or finished() or due:
                    folder.save(done, (state, best), history)
                    last_save = time.monotonic()
            if where is not None:
                kept = f"; the last good state is in {folder.path}" if folder is not None else ""
                raise FloatingPointError(
                    f"the training loss or its gradient was not finite at step {where}; parameters of the step before "
                    f"were kept{kept}. Lower the learning rate or clip gradients (optax.clip_by_global_norm(1.0))."
                )
            if terminated.is_set():
                raise SystemExit(143)
    line.close(history)
    lasts = tuple(loop.surrogate(s) for s in _unstack(state, seeds))
    members = lasts
    if validation is not None:
        members = tuple(_with_parameters(loop, s, b) for s, b in zip(lasts, _unstack(best, seeds), strict=True))
    return FitResult(members, lasts, history)


def _validation_error(surrogate: NetworkSurrogate, data: DeviceData, batch_size: int):
    """Mean over all samples of the relative L2 error in physical units, one step ahead."""
    measure = Supervised(RelativeL2())
    size = min(batch_size, len(data))
    batches = -(-len(data) // size)
    numbers = jnp.arange(batches * size).reshape(batches, size)

    def one(total, numbers):
        batch = data.take(numbers % len(data))
        y, _ = apply_batch(surrogate.network, surrogate.state, jax.vmap(surrogate.task.pack)(batch))
        errors = measure.per_sample(surrogate.task, jax.vmap(surrogate.task.unpack)(y, batch), batch)
        return total + jnp.where(numbers < len(data), errors, 0).sum(), None

    return jax.lax.scan(one, jnp.zeros(()), numbers)[0] / len(data)


def _with_parameters(loop: Loop, surrogate: NetworkSurrogate, best) -> NetworkSurrogate:
    model, state = best
    model = eqx.combine(model, loop.static)
    return eqx.tree_at(lambda s: s.state, model, state, is_leaf=lambda x: x is None)


def _seeded(model, seeds: int, key: Array) -> list[NetworkSurrogate]:
    """One surrogate per seed: the given one and re-initialised ones, or all from a function of a key."""
    if seeds < 1:
        raise ValueError(f"fit: seeds must be at least 1, got {seeds}")
    if not isinstance(model, NetworkSurrogate):
        if isinstance(model, AbstractSurrogate):
            raise TypeError(f"fit: {type(model).__name__} has nothing to train")
        return [model(k) for k in jax.random.split(key, seeds)]
    if seeds == 1:
        return [model]
    if not hasattr(model.network, "reinit"):
        raise ValueError(
            f"fit(seeds={seeds}): {type(model.network).__name__} does not know how to make new weights; pass a function, "
            "fit(lambda key: wrap(MyNetwork(key), task), …)"
        )
    again = [eqx.tree_at(lambda s: s.network, model, model.network.reinit(k)) for k in jax.random.split(key, seeds - 1)]
    return [model, *again]


def _stack(states: list, seeds: int):
    return states[0] if seeds == 1 else jax.tree.map(lambda *xs: jnp.stack(xs), *states)


def _unstack(state, seeds: int) -> list:
    return [state] if seeds == 1 else [jax.tree.map(lambda x, i=i: x[i], state) for i in range(seeds)]


def _total_steps(epochs: int | None, steps: int | None, per_round: int, device: DeviceData | None) -> int:
    if steps is not None and epochs is None:
        return steps
    if epochs is not None and steps is None and device is not None:
        return epochs * per_round
    raise ValueError("fit needs exactly one of epochs=… and steps=…; without data it counts steps")


def _required(value, what: str):
    if value is None:
        raise ValueError(f"fit needs {what}")
    return value


def _symmetry(symmetry, data: Dataset | None):
    if symmetry is not True:
        return symmetry or None
    if data is None or data.problem is None or data.problem.symmetry is None:
        raise ValueError("fit(symmetry=True): the data's problem declares no symmetry group; pass one, e.g. Dihedral()")
    return data.problem.symmetry
