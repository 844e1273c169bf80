"""Minimisation of a plain function of a pytree by an optax optimiser, and the step that every training shares."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def minimize(
    function: Callable[[PyTree], Float[Array, ""]], start: PyTree, optimizer: optax.GradientTransformation, steps: int
) -> tuple[PyTree, Float[Array, " steps"]]:
    """`steps` of an optax optimiser on a plain function of a pytree of arrays, in one scan; for what is too small for
    `fit`: a likelihood, a classifier. Use it under `jit`, and under `vmap` for several starts (`lax.map` if the function
    factorises matrices: on a CPU batched LAPACK calls side by side can wait for each other for ever).

    From the first value or gradient on that is not finite the parameters stay, and the values are NaN.

    **Arguments:** `optimizer`: `optax.lbfgs()` for smooth functions of few numbers, `optax.adam(1e-2)` else.

    **Returns:** the last parameters, and the values before each step.
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
    """One step on `objective(params) -> (value, aux)`: new parameters and state; value, aux and gradient before it."""
    result, grad = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = optimizer.update(
        grad, opt_state, params, value=result[0], grad=grad, value_fn=lambda p: objective(p)[0]
    )
    return optax.apply_updates(params, updates), opt_state, result, grad


def select(condition, new: PyTree, old: PyTree) -> PyTree:
    """`new` where the scalar `condition` holds, else `old`; leaves that are one object stay it."""

    def pick(a, b):
        return b if a is b else jnp.where(condition, a, b)

    return jax.tree.map(pick, new, old)
