"""The training loop: the one `lax.scan` over optimiser steps of the library."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ...core.minimize import optimizer_step, select
from ..task.task import Fields
from ..trainable import trainable
from .objectives import Objective, States


class TrainState(eqx.Module):
    """Everything that training changes. `model` holds the trained arrays alone (None elsewhere)."""

    model: PyTree
    model_state: PyTree
    opt_state: PyTree
    objective_state: PyTree
    ema: PyTree
    step: Int[Array, ""]
    key: Array


class Loop(eqx.Module):
    """Optimiser steps on one model with one objective.

    **Arguments:**

    - `static`: the parts of the surrogate that training does not move.
    - `ema`: decay per step of the averaged parameters, 0 for none.
    """

    static: PyTree
    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    ema: float = eqx.field(static=True)

    @classmethod
    def of(cls, surrogate, objective, optimizer, ema: float) -> "Loop":
        static = _split(surrogate)[1]
        return cls(static, objective, optax.with_extra_args_support(optimizer), ema)

    def init(self, surrogate, key: Array) -> TrainState:
        model = _split(surrogate)[0]
        k_objective, k_steps = jax.random.split(key)
        state = TrainState(
            model=model,
            model_state=surrogate.state,
            opt_state=self.optimizer.init(model),
            objective_state=self.objective.init(k_objective),
            ema=model if self.ema else None,
            step=jnp.asarray(0),
            key=k_steps,
        )
        # Donated buffers must not belong to the caller's model, nor be shared between two leaves.
        return jax.tree.map(jnp.array, state)

    def surrogate(self, state: TrainState):
        """The surrogate with the current parameters (averaged ones with `ema`)."""
        model = eqx.combine(state.ema if self.ema else state.model, self.static)
        return eqx.tree_at(lambda s: s.state, model, state.model_state, is_leaf=lambda x: x is None)

    def run(
        self, state: TrainState, rows: PyTree, batch: Callable[[PyTree], Fields | None]
    ) -> tuple[TrainState, Float[Array, " steps"]]:
        """One scan over `rows`, arrays with a leading axis of steps, of which `batch` makes the batch of a step; losses per
        step.

        From the first step on whose loss or gradient is not finite nothing but the step number changes, and losses are NaN.
        """

        def step(carry, row):
            state, good = carry
            new, loss = self.step(state, batch(row))
            good &= jnp.isfinite(loss)
            kept = eqx.tree_at(lambda s: s.step, select(good, new, state), new.step)
            return (kept, good), jnp.where(good, loss, jnp.nan)

        (state, _), losses = jax.lax.scan(step, (state, jnp.asarray(True)), rows)
        return state, losses

    def step(self, state: TrainState, batch) -> tuple[TrainState, Float[Array, ""]]:
        """One step of the optimiser and its loss, NaN where the loss or its gradient is not finite."""
        key = jax.random.fold_in(state.key, state.step)
        states = States(state.model_state, state.objective_state)

        def objective(model):
            return self.objective.loss(eqx.combine(model, self.static), states, batch, key)

        model, opt_state, (loss, (new_states, _)), grad = optimizer_step(
            self.optimizer, objective, state.model, state.opt_state
        )
        ema = optax.incremental_update(model, state.ema, 1 - self.ema) if self.ema else None
        new = TrainState(model, new_states.model, opt_state, new_states.objective, ema, state.step + 1, state.key)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grad))
        return new, jnp.where(finite, loss, jnp.nan)


def _split(surrogate) -> tuple[PyTree, PyTree]:
    """Trained arrays, and everything else but the model state."""
    surrogate = eqx.tree_at(lambda s: s.state, surrogate, None, is_leaf=lambda x: x is None)
    return eqx.partition(surrogate, trainable(surrogate))
