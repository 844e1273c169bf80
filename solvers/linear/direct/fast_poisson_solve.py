"""The direct solve by fast transforms."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, ScalarLike

from ..driver import refine
from ..inner_products import norm
from ..method import AbstractMethod, check_limits
from ..operators.field_operator import untagged
from ..operators.laplacian import Laplacian
from ..operators.spectral import Spectral
from ..solution import Stats, Status


class FastPoissonSolve(AbstractMethod):
    """Direct solve with an operator that has an `inverse` (`Laplacian`, `Spectral`) and refinement with the true residual:
    x ← x + A⁻¹ (b − A x).

    One step is enough unless the tolerance lies below the rounding of A⁻¹. In float32 the residual has a floor near
    ε ‖A‖ ‖x‖, as every method has it, about 1e-3 ‖b‖ for smooth b at 256² points; a solve that hits it ends as `stagnated`
    with the best x. So does a singular operator (no Dirichlet side, shift 0) with a right-hand side that is not orthogonal to
    its null space; x then solves for the part that is.

    **Arguments:**

    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol).
    - `max_steps`: limit on applications of A⁻¹, 3 by default: one solve and two refinements.

    Raises `TypeError` for an operator that has no inverse by transforms.

    **Example:**

        >>> sx.linear.solve(A, b, sx.linear.FastPoissonSolve()).method
        'FastPoissonSolve'
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=3)
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        check_limits(self)

    def bind(self, operator, *, transpose: bool = False) -> "FastPoissonSolve":
        _invertible(operator)
        return self

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return norm(r)

    def describe(self) -> str:
        return "FastPoissonSolve"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        inverse = _invertible(operator).inverse
        return refine(self, lambda r, _: (inverse(r), 1, Status.stagnated), operator, b, x0, tolerance, record=False)


def _invertible(operator) -> Laplacian | Spectral:
    """The operator itself, without tags."""
    operator = untagged(operator)
    if not isinstance(operator, Laplacian | Spectral):
        raise TypeError(
            f"FastPoissonSolve inverts Laplacian and Spectral operators, got {type(operator).__name__}: use CG with the "
            "preconditioner FastPoisson or Multigrid, or leave the method out"
        )
    return operator
