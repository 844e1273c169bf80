"""`solve`: the differentiable linear solve that every method runs in."""

import dataclasses
import warnings
from typing import Any, Literal, SupportsInt

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse
from jax.core import Tracer
from jax.experimental.sparse import BCOO, BCSR
from jaxtyping import Array, Float, ScalarLike, Shaped

from ...core.arrays import AnyArray
from .inner_products import dot, norm, ratio, rough_signs
from .method import AbstractMethod, known_number, max_norm_or_one
from .method_choice import choose
from .operators.sparse import Sparse
from .preconditioning import bound_on_host
from .solution import Solution, Stats, Status


def solve(
    operator: Any,
    b: Shaped[AnyArray, "*n"],
    method: AbstractMethod | None = None,
    *,
    x0: Shaped[AnyArray, "..."] | None = None,
    nullspace: Literal["constant"] | Shaped[AnyArray, "..."] | None = None,
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
      matrices, tagged ones). Products are known to be symmetric only by a tag. A matrix of SciPy becomes a `Sparse` and a dense
      array a `lineax.MatrixLinearOperator` in every call: convert it once yourself to solve often, or to differentiate.
    - `b`: real, of the operator's shape and dtype.
    - `method`: for example `CG(Multigrid())`; by default what `choose(operator)` gives, named in `Solution.method`. Its arrays,
      and those its preconditioner holds, get no gradient, even where they depend on what is differentiated.
    - `x0`: starting point, zero by default; it gets no gradient.
    - `nullspace`: of a singular symmetric A, "constant" (no Dirichlet side) or vectors `(*n)` or `(k, *n)` that span it. The part
      of b in it is left out, x is orthogonal to it, and so are tangents and cotangents: x is A⁺ b, with its derivatives
      for changes of A that keep the null space. Without it x is one of many solutions, and a functional that sees the null
      space has no finite gradient.
    - `adjoint_rtol`: relative tolerance of the tangent and adjoint solves, the method's own `rtol` by default.
    - `keep_inexact_gradients`: a derivative solve that missed its tolerance 100 times over returns NaN unless this is set.

    **Returns:** `Solution(value, stats, method)`. Under `vmap` every lane has its own status; a lane that fails does not
    disturb the others. **Raises:** `ValueError` for a wrong shape, an operator that is not square, a non-symmetric one given to a
    method that needs symmetry, or a null space that is none; `TypeError` for complex numbers, integers, a dtype other than the
    operator's, an operator on a pytree, or what is no operator. **Warns** if `rtol` lies below the rounding of the dtype.

    **Example:**

        >>> solution = sx.linear.solve(A, b)
        >>> solution.method, sx.linear.Status(int(solution.status)).name
        ('FastPoissonSolve', 'converged')
        >>> gradient = jax.grad(lambda b: (sx.linear.solve(A, b).value ** 2).sum())(b)
    """
    operator = _as_operator(operator)
    b = _checked("right-hand side", b, operator)
    if x0 is not None:
        x0 = _checked("starting point", x0, operator)
    symmetric = lx.is_symmetric(operator)
    if method is None:
        method = choose(operator)
    if not isinstance(method, AbstractMethod):
        raise TypeError(f"solve: the method must be one of surrogax.linear, as CG(Multigrid()), got {method!r:.80}")
    for what, value in (("rtol", method.rtol), ("atol", method.atol)):
        if jnp.ndim(value):
            raise ValueError(
                f"solve: {what} of {type(method).__name__} must be one number, got an array; use vmap for many"
            )
    if method.needs_symmetric and not symmetric:
        raise ValueError(
            f"solve: {type(method).__name__} needs a symmetric operator, {type(operator).__name__} is not; use FGMRES() or "
            "BiCGStab(), or, if the matrix is symmetric, lineax.TaggedLinearOperator(operator, lineax.symmetric_tag)"
        )
    basis = None if nullspace is None else _null_basis(nullspace, operator, symmetric)
    value, stats = _solve(
        operator, b, bound_on_host(method, operator), x0, basis, adjoint_rtol, symmetric, keep_inexact_gradients
    )
    _warn_below_rounding(method, b.dtype)
    return Solution(value, stats, method.describe())


@eqx.filter_jit
def _solve(
    operator, b, method, x0, basis, adjoint_rtol, symmetric, keep_inexact_gradients
) -> tuple[Float[Array, "*n"], Stats]:
    method, frozen = _constant((method, operator))
    bound = method.bind(frozen)
    b = _without(basis, b)
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
        r = _without(basis, r)
        largest = max_norm_or_one(r)
        r = r * (1 / largest)  # a quotient, XLA may divide by largest · D instead, which leaves float32
        rtol = method.rtol if adjoint_rtol is None else adjoint_rtol
        tolerance = jnp.where(primal, jnp.maximum(method.rtol * s, method.atol) / largest, rtol * method.measure(r))
        y, stats = method(operator, r, jnp.zeros_like(r), tolerance)
        y = _without(basis, y)
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
    return _without(basis, start + _tied(x, s)), dataclasses.replace(stats, b_norm=scale)


def status_message(status: SupportsInt) -> str:
    """One sentence for a status value: its name and what to try.

    **Example:**

        >>> sx.linear.status_message(0)
        'converged: the true residual meets the tolerance'
    """
    return f"{Status(int(status)).name}: {Status(int(status)).advice}"


def _checked(name: str, vector: AnyArray, operator) -> Array:
    """The vector as a JAX array, if the operator can be applied to it and returns its like."""
    vector = _numbers(name, vector)
    expected, kind = operator.in_structure(), type(operator).__name__
    if not isinstance(expected, jax.ShapeDtypeStruct):
        raise TypeError(
            f"solve: {kind} acts on a pytree, {jax.tree.structure(expected)}; write it for one array, with "
            "jax.flatten_util.ravel_pytree"
        )
    if operator.out_structure() != expected:
        raise ValueError(f"solve: {kind} maps {expected.shape} to {operator.out_structure().shape}; it must be square")
    vector = jnp.asarray(vector.astype(float) if vector.dtype == np.longdouble else vector)
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


def _numbers(name: str, values: Any) -> AnyArray:
    """Numbers in a list or an array as an array. **Raises:** `TypeError` for anything else."""
    if isinstance(values, list | tuple):
        try:
            values = np.asarray(values, float)
        except (TypeError, ValueError):
            raise TypeError(f"solve: the {name} is no array of numbers") from None
    if not isinstance(values, np.ndarray | jax.Array) or values.dtype.kind in "OSUMm":
        raise TypeError(f"solve: the {name} must be an array of numbers, got {values!r:.80}")
    return values


def _as_operator(operator) -> lx.AbstractLinearOperator:
    """A matrix of SciPy, of `jax.experimental.sparse` or a dense one as an operator."""
    if isinstance(operator, lx.AbstractLinearOperator):
        return operator
    if scipy.sparse.issparse(operator):
        return Sparse.from_scipy(operator)
    if isinstance(operator, BCOO | BCSR):
        return Sparse.from_bcoo(operator)
    if isinstance(operator, np.ndarray | jax.Array):
        if operator.ndim != 2 or operator.shape[0] != operator.shape[1]:
            raise ValueError(f"solve: a matrix must be square, got an array of shape {operator.shape}")
        symmetric = not isinstance(operator, Tracer) and bool((operator == operator.T).all())
        matrix = operator.astype(float) if np.issubdtype(operator.dtype, np.integer) else operator
        return lx.MatrixLinearOperator(jnp.asarray(matrix), lx.symmetric_tag if symmetric else ())
    raise TypeError(
        f"solve: needs an operator of surrogax.linear or lineax, or a matrix, got {type(operator).__name__}; a function becomes "
        "lineax.FunctionLinearOperator(function, structure)"
    )


def _warn_below_rounding(method: AbstractMethod, dtype) -> None:
    """Once per place: no residual in this dtype can be as small as was asked for."""
    rounding, known = float(jnp.finfo(dtype).eps), known_number("solve", "rtol", method.rtol)
    if known is not None and 0 < known < rounding:
        better = "loosen rtol"
        if dtype != jnp.float64:
            better += (
                ", or compute in float64: jax.config.update('jax_enable_x64', True) before the arrays are made, and arrays of "
                "that dtype"
            )
        warnings.warn(
            f"solve: rtol={known:g} lies below the rounding of {dtype}, {rounding:.1e}, so that the solve will end as stagnated; "
            + better,
            stacklevel=3,
        )


def _null_basis(nullspace, operator, symmetric: bool) -> Float[Array, "k *n"]:
    """Orthonormal vectors that span the null space; what is known to be none raises."""
    structure = operator.in_structure()
    if not symmetric:
        raise ValueError(
            "solve: nullspace is for symmetric operators, whose range is orthogonal to it; the null space of Aᵀ may be another"
        )
    if isinstance(nullspace, str):
        if nullspace != "constant":
            raise ValueError(f"solve: nullspace must be 'constant' or vectors, got {nullspace!r}")
        nullspace = jnp.ones(structure.shape, structure.dtype)
    vectors = jax.lax.stop_gradient(jnp.asarray(_numbers("null space", nullspace), structure.dtype))
    if vectors.shape == structure.shape:
        vectors = vectors[None]
    if vectors.shape[1:] != structure.shape or not 0 < len(vectors) < structure.size:
        raise ValueError(
            f"solve: nullspace needs vectors of shape {structure.shape} or (k, *{structure.shape}), got {vectors.shape}"
        )
    vectors = vectors / jax.vmap(max_norm_or_one)(vectors).reshape(-1, *[1] * len(structure.shape))
    basis, products = _orthonormal(vectors), jax.vmap(operator.mv)(vectors)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((products, basis))):
        return basis
    size = jnp.abs(operator.mv(rough_signs(structure))).max()
    if not jnp.isfinite(basis).all() or not jnp.abs(basis).max(range(1, basis.ndim)).min() > 0:
        raise ValueError("solve: the vectors of nullspace are zero or depend on each other")
    if (jnp.abs(products) > 1e3 * jnp.finfo(structure.dtype).eps * size).any():
        raise ValueError(
            f"solve: A times a vector of nullspace is not zero, it is {float(jnp.abs(products).max()):.2g}, where A is about "
            f"{float(size):.2g}"
        )
    return basis


def _orthonormal(vectors: Float[Array, "k *n"]) -> Float[Array, "k *n"]:
    """By Gram and Schmidt, twice; zero for a vector that depends on those before it."""
    done: list[Array] = []
    for v in vectors:
        v = before = v / norm(v)
        for _ in range(2):
            for q in done:
                v = v - dot(q, v) * q
        length = norm(v)
        done.append(ratio(v, length, length > 1e-3 * norm(before)))
    return jnp.stack(done)


def _without(basis: Float[Array, "k *n"] | None, v: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """v without its part in the span of the orthonormal basis."""
    if basis is None:
        return v
    rows = basis.reshape(len(basis), -1)
    coefficients = jnp.matmul(rows, v.ravel(), precision="highest")
    return v - jnp.matmul(coefficients, rows, precision="highest").reshape(v.shape)


def _constant(tree):
    """Without gradient; leaves that are no arrays (functions inside a learned preconditioner) stay as they are."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)


def _tied(value, other):
    """`value`, with a derivative that formally depends on that of `other`: JAX transposes a linear solve only if all parts
    of its right-hand side are differentiated."""
    return jnp.where(False, other.ravel()[0], value)
