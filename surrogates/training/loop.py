"""The training loop: the one `lax.scan` over optimiser steps of the library."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ..network import trainable
from ..task import Fields
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
            kept = eqx.tree_at(lambda s: s.step, _select(good, new, state), new.step)
            return (kept, good), jnp.where(good, loss, jnp.nan)

        (state, _), losses = jax.lax.scan(step, (state, jnp.asarray(True)), rows)
        return state, losses

    def step(self, state: TrainState, batch) -> tuple[TrainState, Float[Array, ""]]:
        """One step of the optimiser and its loss, NaN where the loss or its gradient is not finite."""
        key = jax.random.fold_in(state.key, state.step)
        states = States(state.model_state, state.objective_state)

        def objective(model):
            return self.objective.loss(eqx.combine(model, self.static), states, batch, key)

        model, opt_state, (loss, (new_states, _)), grad = _advance(
            self.optimizer, objective, state.model, state.opt_state
        )
        ema = optax.incremental_update(model, state.ema, 1 - self.ema) if self.ema else None
        new = TrainState(model, new_states.model, opt_state, new_states.objective, ema, state.step + 1, state.key)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(grad))
        return new, jnp.where(finite, loss, jnp.nan)


def minimize(
    function: Callable[[PyTree], Float[Array, ""]], start: PyTree, optimizer: optax.GradientTransformation, steps: int
) -> tuple[PyTree, Float[Array, " steps"]]:
    """`steps` of an optax optimiser on a plain function of a pytree of arrays, in one scan; for what is too small for a
    `Loop`: a likelihood, a classifier. Use it under `jit`, and under `vmap` for several starts (`lax.map` if the function
    factorises matrices: on a CPU batched LAPACK calls side by side can wait for each other for ever).

    From the first value or gradient on that is not finite the parameters stay, and the values are NaN.

    **Arguments:** `optimizer`: `optax.lbfgs()` for smooth functions of few numbers, `optax.adam(1e-2)` else.

    **Returns:** the last parameters, and the values before each step.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        params, state, good = carry
        *new, (value, _), grad = _advance(optimizer, lambda p: (function(p), None), params, state)
        good &= jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(grad))
        return (*_select(good, new, [params, state]), good), jnp.where(good, value, jnp.nan)

    start = jax.tree.map(jnp.asarray, start)
    (params, _, _), values = jax.lax.scan(step, (start, optimizer.init(start), jnp.asarray(True)), length=steps)
    return params, values


def _advance(optimizer: optax.GradientTransformationExtraArgs, objective, params: PyTree, opt_state: PyTree):
    """One step on `objective(params) -> (value, aux)`: new parameters and state; value, aux and gradient before it."""
    result, grad = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(
        grad, opt_state, params, value=result[0], grad=grad, value_fn=lambda p: objective(p)[0]
    )
    return optax.apply_updates(params, updates), opt_state, result, grad


def _select(condition, new: PyTree, old: PyTree) -> PyTree:
    def pick(a, b):
        return b if a is b else jnp.where(condition, a, b)

    return jax.tree.map(pick, new, old)


def _split(surrogate) -> tuple[PyTree, PyTree]:
    """Trained arrays, and everything else but the model state."""
    surrogate = eqx.tree_at(lambda s: s.state, surrogate, None, is_leaf=lambda x: x is None)
    return eqx.partition(surrogate, trainable(surrogate))
