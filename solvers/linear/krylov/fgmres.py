"""Flexible restarted GMRES (Saad 1993)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..driver import Recurrence, verdict
from ..inner_products import norm, ratio
from ..preconditioning import Preconditioner
from ..solution import PAUSED
from .krylov_method import AbstractKrylov, Norm


class FGMRESState(NamedTuple):
    """One cycle: x at its start and |r| there, β; the orthonormal basis `(m + 1, n)` and the preconditioned vectors `(m, n)`
    (None without a preconditioner); the triangle R `(m, m)` and the rotations that made it, multiplied together
    `(m + 1, m + 1)`; the number of columns done."""

    x: Array
    beta: Array
    basis: Array
    images: Array | None
    triangle: Array
    rotation: Array
    columns: Array | int


class FGMRES(AbstractKrylov):
    """FGMRES(m) for any operator: minimises ‖b − A x‖₂ over x₀ + span{M₁(v₁), …, M_m(v_m)}, then starts again.

    The preconditioner acts from the right and its images are stored, so it may change from step to step or not be linear.
    Orthogonalisation is classical Gram–Schmidt, repeated when more than 30 % of a vector cancels ("twice is enough"), which
    is as orthogonal as the modified form and takes two products with the basis instead of one per basis vector.

    **Arguments:**

    - `preconditioner`: any map r ↦ M(r), a callable pytree or one that is set up from the operator. For cotangents its
      transpose is used, and none if it is not linear (see `solve`).
    - `rtol`, `atol`, `history`: as in `CG`; the norm is ‖r‖₂.
    - `max_steps`: limit on iterations (products with A) over all cycles.
    - `restart`: m, at most 30 by default. Memory: m + 1 arrays, 2m + 1 with a preconditioner. Too small an m stagnates:
      a whole cycle that does not lower the true residual by a thousandth ends it as `stagnated`.

    Sources: Saad, SIAM J. Sci. Comput. 14 (1993), algorithm 2.2; Giraud, Langou, Rozložník and van den Eshof, Numer. Math. 101
    (2005), for the second orthogonalisation.

    **Example:**

        >>> import scipy.sparse as sp
        >>> M = sp.diags([-1.5, 2.0, -0.5], [-1, 0, 1], shape=(20, 20), dtype=np.float32)       # not symmetric
        >>> sx.linear.Status(int(sx.linear.solve(M, jnp.ones(20), sx.linear.FGMRES()).status)).name
        'converged'
    """

    preconditioner: Preconditioner | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    restart: int = eqx.field(static=True, default=30)
    max_steps: int = eqx.field(static=True, default=1000)
    history: bool = eqx.field(static=True, default=False)
    norm: ClassVar[Norm] = "residual"
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        if self.restart < 1:
            raise ValueError(f"FGMRES: restart must be at least 1, got {self.restart}")

    def recurrence(self, operator) -> Recurrence:
        structure = operator.in_structure()
        shape, n = structure.shape, structure.size
        m = max(1, min(self.restart, n, self.max_steps))

        def start(x, r, last):
            beta = norm(r)
            basis = jnp.zeros((m + 1, n), r.dtype).at[0].set(ratio(r, beta, beta > 0).ravel())
            images = None if self.preconditioner is None else jnp.zeros((m, n), r.dtype)
            # The rotations are kept multiplied together, so that a column is turned by one small product.
            triangle, rotation = jnp.zeros((m, m), r.dtype), jnp.eye(m + 1, dtype=r.dtype)
            return FGMRESState(x, beta, basis, images, triangle, rotation, 0), beta

        def step(state):
            x, beta, basis, images, triangle, rotation, j = state
            z = self.precondition(basis[j].reshape(shape))
            if images is not None:
                images = images.at[j].set(z.ravel())
            v, column, length = _orthogonalised(operator.mv(z).ravel(), basis)
            basis = basis.at[j + 1].set(v)
            column = _product(rotation, column.at[j + 1].set(length))
            # A column that vanishes altogether (A is singular) passes the residual on untouched.
            pivot = jnp.hypot(column[j], column[j + 1])
            cos = ratio(column[j], pivot, pivot > 0)
            sin = jnp.where(pivot > 0, ratio(column[j + 1], pivot, pivot > 0), 1)
            upper, lower = rotation[j], rotation[j + 1]
            rotation = rotation.at[j].set(cos * upper + sin * lower).at[j + 1].set(cos * lower - sin * upper)
            above = jnp.where(jnp.arange(m) < j, column[:m], 0)
            triangle = triangle.at[:, j].set(above.at[j].set(pivot))
            size = jnp.abs(beta * rotation[j + 1, 0])
            status = verdict((j + 1 < m) & (length > 0), PAUSED, size, pivot)
            return FGMRESState(x, beta, basis, images, triangle, rotation, j + 1), size, status

        def solution(state):
            x, beta, basis, images, triangle, rotation, j = state
            y = _back_substituted(triangle, beta * rotation[:m, 0], j)
            return x + _product(y, basis[:m] if images is None else images).reshape(shape)

        return Recurrence(start, step, solution, monotone=True)


def _orthogonalised(w: Float[Array, " n"], basis: Float[Array, "k n"]):
    """w without its part in the rows of `basis` (orthonormal or zero), divided by its length; the coefficients; the length.
    What is all rounding becomes zero."""
    before = norm(w)
    coefficients = _product(basis, w)
    w = w - _product(coefficients, basis)

    def again(w, coefficients):
        more = _product(basis, w)
        return w - _product(more, basis), coefficients + more

    cancelled = norm(w) < 0.7 * before
    w, coefficients = jax.lax.cond(cancelled, again, lambda *same: same, w, coefficients)
    length = norm(w)
    length = jnp.where(length > 10 * jnp.finfo(w.dtype).eps * before, length, 0)
    return ratio(w, length, length > 0), coefficients, length


def _back_substituted(triangle: Float[Array, "m m"], g: Float[Array, " m"], columns) -> Float[Array, " m"]:
    """y with R y = g for the first `columns` columns of an upper triangle, zero elsewhere and where a pivot is all rounding."""
    m = g.size
    smallest = 10 * jnp.finfo(g.dtype).eps * jnp.abs(triangle).max()

    def row(step, y):
        i = m - 1 - step
        value = ratio(g[i] - jnp.vdot(triangle[i], y, precision="highest"), triangle[i, i], triangle[i, i] > smallest)
        return y.at[i].set(jnp.where(i < columns, value, 0))

    return jax.lax.fori_loop(0, m, row, jnp.zeros_like(g))


def _product(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
