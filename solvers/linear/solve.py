"""The differentiable linear solve that every method runs in."""

from typing import SupportsInt

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, ScalarLike

from .cg import CG
from .status import Solution, Stats, Status


def solve(
    operator: lx.AbstractLinearOperator,
    b: Float[Array, "*n"],
    method=None,
    *,
    x0: Float[Array, "*n"] | None = None,
    adjoint_rtol: ScalarLike | None = None,
    keep_inexact_gradients: bool = False,
) -> Solution:
    """Solve A x = b with derivatives by the implicit function theorem, of any order, forward and reverse.

    A ẋ = ḃ − Ȧ x gives tangents and Aᵀ λ = x̄, b̄ = λ, Ā = −λ xᵀ cotangents; both are solved by `method` too, with
    right-hand sides scaled to unit norm (inner products of a tiny cotangent would underflow in float32).

    **Arguments:**

    - `operator`: one system, symmetric (methods for non-symmetric systems have their own transposed solve).
    - `method`: `(operator, b, x0, tolerance) -> (x, Stats)`, for example `CG(...)`, the default. Its arrays get no gradient.
    - `x0`: starting point, zero by default; it gets no gradient.
    - `adjoint_rtol`: relative tolerance of the tangent and adjoint solves, the method's own `rtol` by default.
    - `keep_inexact_gradients`: a derivative solve that missed its tolerance 100 times over returns NaN unless this is set.

    **Returns:** `Solution(value, stats)`. Under `vmap` every lane has its own status; a lane that fails does not disturb
    the others. **Raises:** `ValueError` for a right-hand side of the wrong shape.
    """
    method = CG() if method is None else method
    expected = operator.in_structure()
    if b.shape != expected.shape:
        raise ValueError(
            f"solve: the operator acts on arrays of shape {expected.shape}, the right-hand side has {b.shape}"
        )
    if not lx.is_symmetric(operator):
        raise ValueError(f"solve: {type(method).__name__} needs a symmetric operator, {type(operator).__name__} is not")
    name = method.describe()
    method, frozen = _constant((method, operator))
    method = method.bind(frozen)
    rtol = method.rtol if adjoint_rtol is None else adjoint_rtol
    unit = _unit(jax.lax.stop_gradient(b))
    scale = unit * method.measure(jax.lax.stop_gradient(b) / unit)
    start = jnp.zeros_like(b) if x0 is None else jnp.where(scale == 0, 0, jax.lax.stop_gradient(x0))

    # The unknown is (x, s), the operator (A x, s) and the right-hand side (b − A x0, |b|). Tangents and cotangents have
    # s = 0, which tells the inner solve that it is solving for a derivative: own scale, own tolerance.
    def matvec(unknown):
        x, s = unknown
        product = operator.mv(x)
        return product, _tied(s, product)

    def inner(_, rhs):
        r, s = rhs
        primal = s != 0
        unit = _unit(r)
        r = r / unit
        tolerance = jnp.where(primal, jnp.maximum(method.rtol * s, method.atol) / unit, rtol * method.measure(r))
        y, stats = method(frozen, r, jnp.zeros_like(r), tolerance)
        if not keep_inexact_gradients:
            missed = ~primal & ~(stats.residual <= 100 * tolerance)
            y = jnp.where(missed, jnp.nan, y)
        history = None if stats.history is None else stats.history * unit
        return (y * unit, s), Stats(stats.status, stats.iterations, stats.residual * unit, history)

    r = b - operator.mv(start)
    (x, s), stats = jax.lax.custom_linear_solve(
        matvec, (r, _tied(scale, r)), inner, inner, symmetric=True, has_aux=True
    )
    return Solution(start + _tied(x, s), stats, name)


def status_message(status: SupportsInt) -> str:
    """One sentence for a status value: its name and what to try."""
    return f"{Status(int(status)).name}: {Status(int(status)).advice}"


def _constant(tree):
    """Without gradient; leaves that are no arrays (functions inside a learned preconditioner) stay as they are."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)


def _unit(r):
    """The largest |r_i|, or 1 if that is zero: divided by it, r has squares that neither underflow nor overflow."""
    largest = jnp.abs(r).max()
    return jnp.where(largest > 0, largest, 1)


def _tied(value, other):
    """`value`, with a derivative that formally depends on that of `other`: JAX transposes a linear solve only if all parts
    of its right-hand side are differentiated."""
    return jnp.where(False, other.ravel()[0], value)
