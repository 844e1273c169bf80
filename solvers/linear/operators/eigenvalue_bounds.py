"""Bounds and estimates of the spectrum of A and of D⁻¹ A, D the diagonal of A."""

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PRNGKeyArray

from ...kernels import stencil_matrix
from .diffusion import Diffusion


def gershgorin(operator: Diffusion, scaled: bool = True) -> Float[Array, ""]:
    """Upper bound of the eigenvalues of D⁻¹ A, or of A: the largest row sum of absolute values (Gershgorin 1931).

    Guaranteed. For D⁻¹ A of −∇·(a∇u) + shift with shift ≥ 0 it is at most 2.
    """
    matrix = stencil_matrix.from_faces(operator.faces, operator.spacing, operator.boundaries, operator.shift)
    rows, diagonal = matrix.row_sums(), abs(matrix.diagonal)
    return (rows / jnp.where(diagonal == 0, 1, diagonal) if scaled else rows).max()


def lanczos(
    operator: lx.AbstractLinearOperator, key: PRNGKeyArray, steps: int = 32, diagonal: Float[Array, "*n"] | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Smallest and largest Ritz value of a symmetric operator A, or of D⁻¹ A if its positive diagonal is given.

    Both lie inside the spectrum: the largest is usually within a few per cent of λmax after 10 steps, the smallest comes near
    λmin only after about √κ steps (Dirichlet Poisson at 64² and 128²: 1 and 6 per cent above λmin after 2n steps, at 64²
    2.5 times after n; Neumann at 128²: 40 per cent above after 2n).
    Without reorthogonalisation, which extreme values do not need (Paige 1980). The start is A times a random vector, so
    that the kernel of a singular operator stays out: then it is the smallest eigenvalue that is not zero.

    **Arguments:** `steps`: products with A, at least 1; no more than there are unknowns are done.
    """
    structure = operator.in_structure()
    root = 1 if diagonal is None else jnp.sqrt(diagonal)

    def product(v):
        return operator.mv(v / root) / root

    def normalised(v):
        norm = jnp.sqrt(jnp.vdot(v, v, precision="highest"))
        return v / jnp.where(norm > 0, norm, 1), norm

    start, _ = normalised(product(jax.random.normal(key, structure.shape, structure.dtype)))
    first = jnp.vdot(start, product(start), precision="highest")

    def step(carry, _):
        previous, v, beta, alive = carry
        w = product(v) - beta * previous
        alpha = jnp.vdot(v, w, precision="highest")
        following, beta = normalised(w - alpha * v)
        # An exhausted space is continued with a value inside the spectrum, uncoupled.
        goes_on = alive & (beta > jnp.sqrt(jnp.finfo(structure.dtype).eps) * abs(first))
        alpha, beta = jnp.where(alive, alpha, first), jnp.where(goes_on, beta, 0)
        return (v, following, beta, goes_on), (alpha, beta)

    zero = jnp.zeros((), structure.dtype)
    carry = (jnp.zeros_like(start), start, zero, jnp.asarray(True))
    _, (alphas, betas) = jax.lax.scan(step, carry, length=min(steps, structure.size))
    return _extreme_eigenvalues(alphas, betas[:-1])


def _extreme_eigenvalues(diagonal: Float[Array, " m"], beside: Float[Array, " m-1"]):
    """Smallest and largest eigenvalue of a symmetric tridiagonal matrix by bisection with Sturm counts. A dense eigenvalue
    routine would be a custom call, which differs between platforms."""
    outer = jnp.abs(jnp.pad(beside, (1, 0))) + jnp.abs(jnp.pad(beside, (0, 1)))
    low, high = (diagonal - outer).min(), (diagonal + outer).max()
    squares = jnp.pad(beside, (1, 0)) ** 2
    tiny = jnp.finfo(diagonal.dtype).tiny * 1e3

    def count_below(x):
        def pivot(q, row):
            d, square = row
            q = d - x - square / jnp.where(abs(q) < tiny, tiny, q)
            return q, q < 0

        return jax.lax.scan(pivot, jnp.ones((), diagonal.dtype), (diagonal, squares))[1].sum()

    def bisected(number):
        """The eigenvalue with `number` others below it."""

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            above = count_below(middle) <= number
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        low_end, high_end = jax.lax.fori_loop(0, 60, halve, (low, high))
        return (low_end + high_end) / 2

    return bisected(0), bisected(len(diagonal) - 1)
