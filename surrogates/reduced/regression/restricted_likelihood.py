"""The restricted likelihood of data with a trend, with its derivative in closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .covariance_kernels import Kernel

DEPENDENT = 1e-8  # singular values of features, over the largest, up to which they count as dependent


def squared_distances(x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """‖x_i − x_j‖² of all pairs of rows, by one matrix product; good to rounding of the largest ‖x_i‖²."""
    norms = (x**2).sum(1)
    return jnp.maximum(norms[:, None] + norms - 2 * x @ x.T, 0)


def correlation(kernel: Kernel, z: Float[Array, "n d"], rates: Float[Array, " d"], noise) -> Float[Array, "n n"]:
    """R = k(|(zᵢ − zⱼ) rates|²) + noise δᵢⱼ."""
    return kernel(squared_distances(z * rates)) + noise * jnp.eye(len(z), dtype=z.dtype)


class LeastSquares(NamedTuple):
    """Generalised least squares of the trend: `matrix` + jitter = LLᵀ (`factor`), Q a basis of the span of L⁻¹H, `sizes` its
    singular values (1 for directions that drop out, whose columns of Q are zero), `residual` L⁻¹(C − HB)."""

    factor: Float[Array, "n n"]
    jitter: Float[Array, ""]
    q: Float[Array, "n p"]
    sizes: Float[Array, " p"]
    residual: Float[Array, "n m"]
    freedom: Float[Array, ""]
    variance: Float[Array, ""]


def cholesky(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """Lower factor of a matrix with unit diagonal, and the smallest jitter of 0, 1e-12, 1e-11, …, 1 that gives one."""
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)

    def failed(state):
        return ~jnp.isfinite(state[0]).all() & (state[1] < 1)

    def more(state):
        jitter = jnp.maximum(10 * state[1], 1e-12)
        return jnp.linalg.cholesky(matrix + jitter * eye), jitter

    return jax.lax.while_loop(failed, more, (jnp.linalg.cholesky(matrix), jnp.zeros((), matrix.dtype)))


def least_squares(
    matrix: Float[Array, "n n"], features: Float[Array, "n p"], data: Float[Array, "n m"]
) -> LeastSquares:
    """The trend H B that leaves the least residual in the norm of R⁻¹, and the variance of that residual."""
    p = features.shape[1]
    factor, jitter = cholesky(matrix)
    white = solve_triangular(factor, jnp.concatenate([features, data], 1), lower=True)
    # Features that depend on others (a constant parameter) drop out.
    q, sizes, _ = jnp.linalg.svd(white[:, :p], full_matrices=False)
    kept = sizes > DEPENDENT * sizes.max(initial=0)
    q, sizes = jnp.where(kept, q, 0), jnp.where(kept, sizes, 1)
    residual = white[:, p:] - q @ (q.T @ white[:, p:])
    freedom = (len(data) - kept.sum()).astype(matrix.dtype)
    tiny = 1e-24 * (data**2).mean() + jnp.finfo(matrix.dtype).tiny
    return LeastSquares(
        factor, jitter, q, sizes, residual, freedom, (residual**2).sum() / (freedom * data.shape[1]) + tiny
    )


@jax.custom_vjp
def negative_log_likelihood(
    matrix: Float[Array, "n n"], features: Float[Array, "n p"], data: Float[Array, "n m"]
) -> Float[Array, ""]:
    """−log of the restricted likelihood of `data`, with the signal variance s² at its optimum, per number and without
    constants: ½ log s² + (½ log|R| + ½ log|HᵀR⁻¹H|)/(n − p) with s² = ‖L⁻¹(C − HB)‖²/(m(n − p)).

    One variance for all outputs, so that each counts by its energy. The derivative by the `matrix` R = LLᵀ is the closed
    form ½(P − αᵀα/(m s²))/(n − p), P = L⁻ᵀ(I − QQᵀ)L⁻¹, α = P C; those by features and data are not defined. Without
    features it is the marginal likelihood (Rasmussen and Williams 2006, eq. 2.30 and 5.9).
    """
    return _value(least_squares(matrix, features, data))


def _value(solved: LeastSquares):
    logs = jnp.log(jnp.diag(solved.factor)).sum() + jnp.log(solved.sizes).sum()
    return 0.5 * jnp.log(solved.variance) + logs / solved.freedom


def projector(solved: LeastSquares):
    """F = (I − QQᵀ)L⁻¹, with FᵀF = P."""
    inverse = solve_triangular(solved.factor, jnp.eye(len(solved.factor), dtype=solved.factor.dtype), lower=True)
    return inverse - solved.q @ (solved.q.T @ inverse)


def _forward(matrix, features, data):
    solved = least_squares(matrix, features, data)
    f = projector(solved)
    alpha = f.T @ solved.residual
    fit = alpha @ alpha.T / (data.shape[1] * solved.variance)
    return _value(solved), 0.5 * (f.T @ f - fit) / solved.freedom


negative_log_likelihood.defvjp(_forward, lambda gradient, g: (g * gradient, None, None))
