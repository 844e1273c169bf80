"""Projections onto h(x) = 0 along any covariance: Newton steps of least norm, each one linear solve in the space of equations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Float

from ..linear import CG
from ..linear import solve as linear_solve

Product = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]

_DENSE = 64  # up to so many equations their matrix is formed


def projected(
    residual: Callable[[Array], Array], x: Float[Array, "*shape"], steps: int, penalty: Any = None
) -> Float[Array, "*shape"]:
    """`steps` times x ← x − Jᵀ (J Jᵀ)⁻¹ h(x); with a `penalty` λ one step towards the minimum of |d|² + λ |h(x + d)|²,
    d = −Jᵀ (J Jᵀ + 1/λ)⁻¹ h(x)."""
    if steps == 1:
        return x + correction(residual, x, lambda v: v, penalty)
    return lax.scan(lambda x, _: (x + correction(residual, x, lambda v: v, penalty), None), x, length=steps)[0]


def correction(
    residual: Callable[[Array], Array], x: Float[Array, "*shape"], spread: Product, penalty: Any = None
) -> Float[Array, "*shape"]:
    """−S Jᵀ (J S Jᵀ)⁻¹ h(x) with S = `spread`, positive semidefinite: the change of x that meets the linearised equations and is
    most likely under N(0, S). Where J S Jᵀ is singular only what S can reach is changed."""
    found, forward = jax.linearize(residual, x)
    transposed = jax.linear_transpose(forward, x)

    def back(weights):
        return spread(transposed(weights)[0])

    if found.size <= _DENSE:
        columns = jax.vmap(back)(jnp.eye(found.size, dtype=found.dtype))
        matrix = jax.vmap(forward)(columns)
        shift = 0 if penalty is None else 1 / penalty
        weights = _semidefinite(matrix + shift * jnp.eye(found.size, dtype=found.dtype), found)
        return -jnp.tensordot(weights, columns, 1, precision="highest")

    def product(u):
        return forward(back(u)) + (0 if penalty is None else u / penalty)

    structure = jax.ShapeDtypeStruct(found.shape, found.dtype)
    operator = lx.FunctionLinearOperator(product, structure, lx.positive_semidefinite_tag)
    rtol = 1e-6 if found.dtype == jnp.float32 else 1e-11
    weights = linear_solve(operator, found, CG(rtol=rtol, max_steps=300), keep_inexact_gradients=True).value
    return -back(weights)


def _semidefinite(matrix: Float[Array, "m m"], b: Float[Array, " m"]) -> Float[Array, " m"]:
    """M⁺ b for a symmetric positive semidefinite matrix of any scaling, without the directions that rounding decides."""
    diagonal = jnp.diagonal(matrix)
    smallest = jnp.finfo(matrix.dtype).tiny * 1e4
    scale = jnp.where(diagonal > smallest, 1 / jnp.sqrt(jnp.maximum(diagonal, smallest)), 0)
    scaled = (matrix + matrix.T) / 2 * scale[:, None] * scale
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(scaled))
    kept = values > len(b) * jnp.finfo(matrix.dtype).eps * 8 * values[-1]
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)

    def solve(right):
        return jnp.matmul(vectors, inverse * jnp.matmul(right, vectors, precision="highest"), precision="highest")

    # Eigenvectors of equal eigenvalues have no derivative, but the solution has. One step of refinement gives it, and digits.
    right = scale * b
    start = lax.stop_gradient(solve(right))
    return scale * (start + solve(right - jnp.matmul(scaled, start, precision="highest")))
