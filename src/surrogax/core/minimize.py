"""Minimisation of a plain function of a pytree by an optax optimiser, and the step that every training shares."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def minimize(
    function: Callable[[PyTree], Float[Array, ""]], start: PyTree, optimizer: optax.GradientTransformation, steps: int
) -> tuple[PyTree, Float[Array, " steps"]]:
    """Minimise a plain function of a pytree of arrays by an optax optimiser, in one scan.

    It serves problems that are too small for `fit`: a likelihood, a classifier. Call it under `jit`, and under `vmap` for
    several starts. Use `lax.map` in place of `vmap` if the function factorises matrices: on a CPU, batched LAPACK calls side
    by side can wait for each other for ever.

    When a value or a gradient is not finite, the parameters of the step before are kept until the end, and all values from
    that step on are NaN.

    **Arguments:**

    - `function`: maps a pytree like `start` to a scalar.
    - `start`: the first parameters.
    - `optimizer`: `optax.lbfgs()` for smooth functions of few numbers, `optax.adam(1e-2)` otherwise.
    - `steps`: number of optimiser steps.

    **Returns:** the last parameters, and the value of the function before each step, `(steps,)`.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        params, state, good = carry
        *new, (value, _), grad = optimizer_step(optimizer, lambda p: (function(p), None), params, state)
        good &= jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(grad))
        return (*select(good, new, [params, state]), good), jnp.where(good, value, jnp.nan)

    start = jax.tree.map(jnp.asarray, start)
    (params, _, _), values = jax.lax.scan(step, (start, optimizer.init(start), jnp.asarray(True)), length=steps)
    return params, values


def optimizer_step(optimizer: optax.GradientTransformationExtraArgs, objective, params: PyTree, opt_state: PyTree):
    """One optimiser step on a function `objective(params) -> (value, aux)`.

    **Returns:** `(params, opt_state, (value, aux), gradient)`. The first two are those after the step; value, `aux` and
    gradient are those before it.
    """
    result, grad = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(
        grad, opt_state, params, value=result[0], grad=grad, value_fn=lambda p: objective(p)[0]
    )
    return optax.apply_updates(params, updates), opt_state, result, grad


def select(condition, new: PyTree, old: PyTree) -> PyTree:
    """The leaves of `new` where the scalar `condition` is true, else those of `old`. A leaf that is the same object in both
    trees is returned as it is."""

    def pick(a, b):
        return b if a is b else jnp.where(condition, a, b)

    return jax.tree.map(pick, new, old)
