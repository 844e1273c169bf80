"""Our methods as solvers of lineax."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from .method import AbstractMethod, max_norm_or_one
from .preconditioning import bound_on_host
from .solution import Status

_RESULTS = {
    Status.max_steps: lx.RESULTS.max_steps_reached,
    Status.stagnated: lx.RESULTS.stagnation,
    Status.breakdown: lx.RESULTS.breakdown,
    Status.non_finite: lx.RESULTS.nonfinite_input,
}


class _Bound(NamedTuple):
    """A method bound to an operator, and whether that is the transpose of the one of the solve."""

    operator: lx.AbstractLinearOperator
    method: AbstractMethod
    transpose: bool


class AsLineax(lx.AbstractLinearSolver):
    """A method for `lineax.linear_solve(operator, vector, solver=AsLineax(CG(Multigrid())))`.

    `solution.stats` holds `num_steps`, `max_steps`, the true `residual` and our `status`. Where you can choose, choose
    `solve`, because lineax sets these limits:

    - Its tangent and transposed solves always throw. So a gradient holds a host callback, cannot be exported for another
      platform, and a derivative solve that misses its tolerance raises instead of giving NaN, in one lane for a whole batch.
    - There is no separate tolerance for derivatives.
    - Its `options["y0"]` is not read: lineax would start tangent solves from it too.
    - Arrays of the method (a preconditioner's) must not depend on what is differentiated: lineax raises.
    - `throw=True`, its default, puts a host callback into the forward solve too.

    Raises `ValueError` for a method that needs symmetry and an operator without it, and for an operator on a pytree.

    **Example:**

        >>> import lineax as lx
        >>> x = lx.linear_solve(A, b, sx.linear.AsLineax(sx.linear.CG())).value
        >>> bool(jnp.abs(A.mv(x) - b).max() < 1e-3)
        True
    """

    method: AbstractMethod

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]):
        name = type(operator).__name__
        if not isinstance(operator.in_structure(), jax.ShapeDtypeStruct):
            raise ValueError(f"AsLineax: {name} acts on a pytree, our methods on one array")
        if operator.in_structure() != operator.out_structure():
            raise ValueError(f"AsLineax: {name} is not square")
        if self.method.needs_symmetric and not lx.is_symmetric(operator):
            raise ValueError(
                f"AsLineax: {type(self.method).__name__} needs a symmetric operator, {name} is not; use FGMRES(), or tag it "
                "with lineax.symmetric_tag"
            )
        return _Bound(operator, bound_on_host(self.method, operator).bind(operator), False)

    def compute(
        self, state: _Bound, vector: Float[Array, "*n"], options: dict[str, Any]
    ) -> tuple[Float[Array, "*n"], lx.RESULTS, dict[str, Any]]:
        operator, method, _ = state
        size = max_norm_or_one(vector)
        r = vector / size
        tolerance = jnp.maximum(method.rtol * method.measure(r), method.atol / size)
        x, stats = method(operator, r, jnp.zeros_like(r), tolerance)
        result = lx.RESULTS.successful
        for status, named in _RESULTS.items():
            result = lx.RESULTS.where(stats.status == status, named, result)
        numbers = {
            "num_steps": stats.iterations,
            "max_steps": method.max_steps,
            "residual": stats.residual * size,
            "status": stats.status,
        }
        return x * size, result, numbers

    def transpose(self, state: _Bound, options: dict[str, Any]):
        if lx.is_symmetric(state.operator):
            return state, {}
        turned, transpose = state.operator.transpose(), not state.transpose
        return _Bound(turned, self.method.bind(turned, transpose=transpose), transpose), {}

    def conj(self, state: _Bound, options: dict[str, Any]):
        return state, {}

    def assume_full_rank(self) -> bool:
        return True
