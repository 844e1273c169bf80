"""The Lanczos process: a symmetric operator on a Krylov space as a tridiagonal matrix (Lanczos 1950)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Lanczos(NamedTuple):
    """T = V A Vᵀ. **Fields:** `diagonal` and `beside` of T; `vectors`, the orthonormal rows of V (none unless asked for)."""

    diagonal: Float[Array, " steps"]
    beside: Float[Array, " steps-1"]
    vectors: Float[Array, "kept n"]


class _Carry(NamedTuple):
    """The last two vectors, the number beside the diagonal between them, the first diagonal entry of T, whether the space goes
    on, and all vectors if they are kept."""

    previous: Array
    v: Array
    beta: Array
    rayleigh: Array
    alive: Array
    basis: Array


def lanczos(
    product: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    start: Float[Array, " n"],
    steps: int,
    *,
    keep_vectors: bool = False,
) -> Lanczos:
    """`steps` steps of the Lanczos process for v ↦ A v from `start`.

    Without vectors only two of them are held and nothing is reorthogonalised, which extreme eigenvalues of T do not need
    (Paige 1980). With `keep_vectors` every vector is orthogonalised twice against all before it: without that, copies of
    converged extreme eigenvalues appear in float32. Memory: `steps` vectors.

    When the Krylov space is exhausted before the last step, the remaining rows of T hold the Rayleigh quotient of the start, a
    value inside the spectrum, uncoupled, and the remaining vectors are zero. NaN in A or in the start makes T NaN.

    **Arguments:** `start` need not be normalised; `steps` ≥ 1.
    """
    first, _ = _normalised(start)

    def step(carry: _Carry, j):
        w = product(carry.v)
        if keep_vectors:
            alpha = jnp.vdot(carry.v, w, precision="highest")
            for _ in range(2):
                inside = jnp.matmul(carry.basis, w, precision="highest")
                w = w - jnp.matmul(carry.basis.T, inside, precision="highest")
        else:
            w = w - carry.beta * carry.previous
            alpha = jnp.vdot(carry.v, w, precision="highest")
            w = w - alpha * carry.v
        rayleigh = jnp.where(j == 0, alpha, carry.rayleigh)
        following, beta = _normalised(w)
        rounding = jnp.sqrt(jnp.finfo(start.dtype).eps) * abs(rayleigh)
        goes_on = carry.alive & ~(beta <= rounding)  # NaN goes on, and is seen
        alpha, beta = jnp.where(carry.alive, alpha, rayleigh), jnp.where(goes_on, beta, 0)
        basis = carry.basis
        if keep_vectors:
            following = jnp.where(goes_on, following, 0)
            basis = basis.at[j + 1].set(following, mode="drop")
        return _Carry(carry.v, following, beta, rayleigh, goes_on, basis), (alpha, beta)

    basis = jnp.zeros((steps if keep_vectors else 0, start.size), start.dtype).at[:1].set(first)
    zero = jnp.zeros((), start.dtype)
    carry = _Carry(jnp.zeros_like(first), first, zero, zero, jnp.asarray(True), basis)
    carry, (alphas, betas) = jax.lax.scan(step, carry, jnp.arange(steps))
    return Lanczos(alphas, betas[:-1], carry.basis)


def extreme_eigenvalues(
    diagonal: Float[Array, " m"], beside: Float[Array, " m-1"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Smallest and largest eigenvalue of a symmetric tridiagonal matrix, to ε times the largest |entry|.

    By JAX's bisection, which is no custom call (a dense eigenvalue routine would be one, different on every platform). It
    squares the entries, so they are scaled to at most 1. NaN gives NaN.
    """
    largest = jnp.maximum(jnp.abs(diagonal).max(), jnp.abs(beside).max(initial=0))
    scale = jnp.where(largest > 0, largest, 1)
    values = jax.scipy.linalg.eigh_tridiagonal(diagonal / scale, beside / scale, eigvals_only=True)
    return scale * values[0], scale * values[-1]


def _normalised(v: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    norm = jnp.sqrt(jnp.vdot(v, v, precision="highest"))
    return v / jnp.where(norm > 0, norm, 1), norm
