"""`solve`: the differentiable linear solve that every method runs in."""

import dataclasses
from typing import SupportsInt

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, ScalarLike, Shaped

from ...core.arrays import AnyArray
from .method import AbstractMethod, max_norm_or_one
from .method_choice import choose
from .preconditioning import bound_on_host
from .solution import Solution, Stats, Status


def solve(
    operator: lx.AbstractLinearOperator,
    b: Shaped[AnyArray, "*n"],
    method: AbstractMethod | None = None,
    *,
    x0: Shaped[AnyArray, "..."] | None = None,
    adjoint_rtol: ScalarLike | None = None,
    keep_inexact_gradients: bool = False,
) -> Solution:
    """Solve A x = b with derivatives by the implicit function theorem, of any order, forward and reverse.

    A ẋ = ḃ − Ȧ x gives tangents and Aᵀ λ = x̄, b̄ = λ, Ā = −λ xᵀ cotangents; both are solved by `method` too, with
    right-hand sides scaled to unit norm (inner products of a tiny cotangent would underflow in float32). For a non-symmetric
    operator the method is set up again for Aᵀ, from `operator.transpose()`. There a preconditioner that is a fixed map is
    transposed by `jax.linear_transpose`; one that is not linear is left out.

    Outside of `jit` it compiles itself, once for equal shapes, dtypes and equal numbers and functions in `operator` and
    `method`: make preconditioners modules, or reuse the same function, and give parameters that change as arrays.

    **Arguments:**

    - `operator`: one square system on one real array, of this library or any of lineax (`A + B`, `2.0 * A`, `A @ B`, functions,
      matrices, tagged ones). Products are known to be symmetric only by a tag.
    - `b`: real, of the operator's shape and dtype.
    - `method`: for example `CG(Multigrid())`; by default what `choose(operator)` gives, named in `Solution.method`. Its arrays,
      and those its preconditioner holds, get no gradient, even where they depend on what is differentiated.
    - `x0`: starting point, zero by default; it gets no gradient.
    - `adjoint_rtol`: relative tolerance of the tangent and adjoint solves, the method's own `rtol` by default.
    - `keep_inexact_gradients`: a derivative solve that missed its tolerance 100 times over returns NaN unless this is set.

    **Returns:** `Solution(value, stats, method)`. Under `vmap` every lane has its own status; a lane that fails does not
    disturb the others. **Raises:** `ValueError` for a wrong shape, an operator that is not square, or a non-symmetric one
    given to a method that needs symmetry; `TypeError` for complex numbers, integers, a dtype other than the operator's, or an
    operator on a pytree.
    """
    b = _checked("right-hand side", b, operator)
    if x0 is not None:
        x0 = _checked("starting point", x0, operator)
    symmetric = lx.is_symmetric(operator)
    if method is None:
        method = choose(operator)
    if method.needs_symmetric and not symmetric:
        raise ValueError(
            f"solve: {type(method).__name__} needs a symmetric operator, {type(operator).__name__} is not; use FGMRES() or "
            "BiCGStab(), or, if the matrix is symmetric, lineax.TaggedLinearOperator(operator, lineax.symmetric_tag)"
        )
    value, stats = _solve(
        operator, b, bound_on_host(method, operator), x0, adjoint_rtol, symmetric, keep_inexact_gradients
    )
    return Solution(value, stats, method.describe())


@eqx.filter_jit
def _solve(
    operator, b, method, x0, adjoint_rtol, symmetric, keep_inexact_gradients
) -> tuple[Float[Array, "*n"], Stats]:
    method, frozen = _constant((method, operator))
    bound = method.bind(frozen)
    largest = max_norm_or_one(jax.lax.stop_gradient(b))
    scale = largest * bound.measure(jax.lax.stop_gradient(b) * (1 / largest))
    start = jnp.zeros_like(b) if x0 is None else jnp.where(scale == 0, 0, jax.lax.stop_gradient(x0))

    # The unknown is (x, s), the operator (A x, s) and the right-hand side (b − A x0, |b|). Tangents and cotangents have
    # s = 0, which tells the inner solve that it is solving for a derivative: own scale, own tolerance.
    def matvec(unknown):
        x, s = unknown
        product = operator.mv(x)
        return product, _tied(s, product)

    def inner(method, operator, rhs):
        r, s = rhs
        primal = s != 0
        largest = max_norm_or_one(r)
        r = r * (1 / largest)  # a quotient, XLA may divide by largest · D instead, which leaves float32
        rtol = method.rtol if adjoint_rtol is None else adjoint_rtol
        tolerance = jnp.where(primal, jnp.maximum(method.rtol * s, method.atol) / largest, rtol * method.measure(r))
        y, stats = method(operator, r, jnp.zeros_like(r), tolerance)
        if not keep_inexact_gradients:
            missed = ~primal & ~(stats.residual <= 100 * tolerance)
            y = jnp.where(missed, jnp.nan, y)
        history = None if stats.history is None else stats.history * largest
        return (y * largest, s), dataclasses.replace(stats, residual=stats.residual * largest, history=history)

    def forward(_, rhs):
        return inner(bound, frozen, rhs)

    def adjoint(_, rhs):
        turned = frozen.transpose()
        return inner(method.bind(turned, transpose=True), turned, rhs)

    r = b if x0 is None else b - operator.mv(start)
    (x, s), stats = jax.lax.custom_linear_solve(
        matvec, (r, _tied(scale, r)), forward, forward if symmetric else adjoint, symmetric=symmetric, has_aux=True
    )
    return start + _tied(x, s), stats


def status_message(status: SupportsInt) -> str:
    """One sentence for a status value: its name and what to try."""
    return f"{Status(int(status)).name}: {Status(int(status)).advice}"


def _checked(name: str, vector: AnyArray, operator) -> Array:
    """The vector as a JAX array, if the operator can be applied to it and returns its like."""
    expected, kind = operator.in_structure(), type(operator).__name__
    if not isinstance(expected, jax.ShapeDtypeStruct):
        raise TypeError(
            f"solve: {kind} acts on a pytree, {jax.tree.structure(expected)}; write it for one array, with "
            "jax.flatten_util.ravel_pytree"
        )
    if operator.out_structure() != expected:
        raise ValueError(f"solve: {kind} maps {expected.shape} to {operator.out_structure().shape}; it must be square")
    vector = jnp.asarray(vector)
    if vector.shape != expected.shape:
        raise ValueError(f"solve: the operator acts on arrays of shape {expected.shape}, the {name} has {vector.shape}")
    if not (jnp.issubdtype(vector.dtype, jnp.floating) and jnp.issubdtype(expected.dtype, jnp.floating)):
        raise TypeError(
            f"solve: needs real floating-point numbers, the operator has {expected.dtype} and the {name} {vector.dtype}; convert "
            "integers with astype, write a complex system as a real one of twice the size"
        )
    if vector.dtype != expected.dtype:
        raise TypeError(
            f"solve: the operator has {expected.dtype}, the {name} {vector.dtype}; convert one of them with astype"
        )
    return vector


def _constant(tree):
    """Without gradient; leaves that are no arrays (functions inside a learned preconditioner) stay as they are."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)


def _tied(value, other):
    """`value`, with a derivative that formally depends on that of `other`: JAX transposes a linear solve only if all parts
    of its right-hand side are differentiated."""
    return jnp.where(False, other.ravel()[0], value)
