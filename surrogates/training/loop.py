"""The training loop: one `lax.scan` over optimiser steps, which all training of this library uses."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ...core.minimize import select
from ..task.task import Fields
from ..trainable import AbstractTrainable, trainable, with_state
from .objective import AbstractObjective, update_key
from .residual_vector import ResidualVector
from .steps import AbstractStep


class TrainState(eqx.Module):
    """Everything that training changes.

    **Fields:** `model`, the trained arrays (None at all other leaves); `model_state`, the model's `state`; `opt_state`, the
    optimiser's memory; `objective_state`, the objective's own state; `ema`, averaged parameters, or None; `step`, the number of
    steps done; `key`, the random key from which the key of every step is derived.
    """

    model: PyTree
    model_state: PyTree
    opt_state: PyTree
    objective_state: PyTree
    ema: PyTree
    step: Int[Array, ""]
    key: Array


class Loop(eqx.Module):
    """Optimiser steps on one model with one objective.

    **Fields:**

    - `static`: the parts of the model that training does not change.
    - `objective`: what is minimised.
    - `optimizer`: the optimiser as a step; see `as_step`.
    - `ema`: decay per step of the averaged parameters; 0 keeps no average.
    """

    static: PyTree
    objective: AbstractObjective
    optimizer: AbstractStep
    ema: float = eqx.field(static=True)

    @classmethod
    def of(cls, model: AbstractTrainable, objective: AbstractObjective, optimizer: AbstractStep, ema: float) -> "Loop":
        """The loop that trains `model` and models of the same form."""
        return cls(_split(model)[1], objective, optimizer, ema)

    def init(self, model: AbstractTrainable, key: Array) -> TrainState:
        """The state before the first step."""
        params = _split(model)[0]
        k_objective, k_steps = jax.random.split(key)
        state = TrainState(
            model=params,
            model_state=model.state,
            opt_state=self.optimizer.init(params),
            objective_state=self.objective.init(k_objective),
            ema=params if self.ema else None,
            step=jnp.asarray(0),
            key=k_steps,
        )
        # The buffers are copied, because they will be donated: they must neither belong to the caller's model nor occur twice.
        return jax.tree.map(jnp.array, state)

    def result(self, state: TrainState) -> tuple[PyTree, PyTree]:
        """The part of a state that makes a model: its parameters (the averaged ones with `ema`) and the model's state."""
        return (state.ema if self.ema else state.model), state.model_state

    def model(self, result: tuple[PyTree, PyTree]) -> AbstractTrainable:
        """The model with the parameters and the state of a `result`."""
        params, model_state = result
        return self._combined(params, model_state)

    def run(
        self,
        state: TrainState,
        rows: PyTree,
        batch: Callable[[PyTree], Fields | None],
        apart: bool = False,
        keep: Callable[[PyTree], PyTree] = lambda tree: tree,
    ) -> tuple[TrainState, Float[Array, " steps"], dict[str, Float[Array, " steps"]]]:
        """Run steps in one scan, and return the new state with losses and metrics per step.

        From the first step on whose loss or gradient is not finite, only the step number changes, and losses are NaN.

        **Arguments:** `rows`: arrays with a leading step axis. `batch`: a function that makes the batch of a step from its row.
        `apart`: take the one step of `rows` outside of a scan. `keep`: keeps parameters, averaged ones and the optimiser's memory
        where they are, on the devices that hold parts of them.
        """

        def step(carry, row):
            state, good = carry
            new, loss, metrics = self.step(state, batch(row))
            good &= jnp.isfinite(loss)
            kept = eqx.tree_at(lambda s: s.step, select(good, new, state), new.step)
            large = lambda s: (s.model, s.opt_state, s.ema)  # noqa: E731
            kept = eqx.tree_at(large, kept, keep(large(kept)), is_leaf=lambda x: x is None)
            return (kept, good), (jnp.where(good, loss, jnp.nan), metrics)

        start = (state, jnp.asarray(True))
        if apart:
            (state, _), results = step(start, jax.tree.map(lambda x: x[0], rows))
            losses, metrics = jax.tree.map(lambda x: x[None], results)
        else:
            (state, _), (losses, metrics) = jax.lax.scan(step, start, rows)
        return state, losses, metrics

    def step(self, state: TrainState, batch: Fields | None) -> tuple[TrainState, Float[Array, ""], dict[str, Array]]:
        """One optimiser step: the new state, the loss before the step (NaN if it or its gradient is not finite), and metrics."""
        hold, objective = self.optimizer.hold, self.objective
        first = state.step % hold == 0
        # Held points are not stored: every step draws them again with the key of the step that drew them first.
        key = jax.random.fold_in(state.key, state.step - state.step % hold)
        points = objective.draw(state.objective_state, batch, key)
        opt_state = state.opt_state
        if hold > 1:
            opt_state = select(first & (state.step > 0), self.optimizer.reset(opt_state), opt_state)

        def value(params):
            return objective.value(self._combined(params, state.model_state), points)

        residuals = ResidualVector(objective, lambda p: self._combined(p, state.model_state), points)
        taken = self.optimizer(state.model, opt_state, value, residuals)
        objective_state = objective.update(state.objective_state, points, taken.outcome, update_key(key))
        if hold > 1:
            # After a rejected step too: a method that found no lower value on these points may find one on others.
            objective_state = select((state.step + 1) % hold == 0, objective_state, state.objective_state)
        ema = optax.incremental_update(taken.params, state.ema, 1 - self.ema) if self.ema else None
        new = TrainState(
            taken.params, taken.outcome.state, taken.memory, objective_state, ema, state.step + 1, state.key
        )
        return new, jnp.where(taken.finite, taken.loss, jnp.nan), taken.outcome.metrics

    def _combined(self, params: PyTree, model_state: PyTree):
        return with_state(eqx.combine(params, self.static), model_state)


def _split(model: AbstractTrainable) -> tuple[PyTree, PyTree]:
    """The model's trained arrays, and everything else except its state."""
    model = with_state(model, None)
    return eqx.partition(model, trainable(model))
