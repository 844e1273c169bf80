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

    Use it for problems that are too small for `fit`, such as a likelihood or a classifier. Call it under `jit`, and under
    `vmap` for several starts. If the function factorises matrices, use `lax.map` instead of `vmap`: on a CPU, parallel batched
    LAPACK calls can deadlock.

    If a value or a gradient is not finite at some step, the parameters before that step are returned, and all values from
    that step on are NaN.

    **Arguments:**

    - `function`: maps a pytree like `start` to a scalar.
    - `start`: the initial parameters.
    - `optimizer`: `optax.lbfgs()` for smooth functions of few parameters, `optax.adam(1e-2)` otherwise.
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

    **Returns:** `(params, opt_state, (value, aux), gradient)`. `params` and `opt_state` are new; `value`, `aux` and `gradient`
    are evaluated at the old `params`.
    """
    result, grad = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(
        grad, opt_state, params, value=result[0], grad=grad, value_fn=lambda p: objective(p)[0]
    )
    return optax.apply_updates(params, updates), opt_state, result, grad


def select(condition, new: PyTree, old: PyTree) -> PyTree:
    """`new` if the scalar `condition` is true, else `old`, leaf by leaf. A leaf that is the same object in both trees is
    returned without computation."""

    def pick(a, b):
        return b if a is b else jnp.where(condition, a, b)

    return jax.tree.map(pick, new, old)
