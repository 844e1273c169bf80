"""The diagonal of the operator as a preconditioner."""

import equinox as eqx
from jaxtyping import Array, Float

from ..operators.eigenvalue_bounds import nonzero_diagonal
from ..preconditioning import AbstractPreconditioner


class Jacobi(AbstractPreconditioner):
    """M⁻¹ r = r / D; unknowns with a zero on the diagonal (constraints of a saddle point, isolated points) stay as they are.

    **Arguments:** `diagonal`: D, a field `(*n)`; by default the diagonal of the operator of the solve. Give |diag A| to
    `MINRES` where A is indefinite.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.CG(sx.linear.Jacobi())).status)).name
        'converged'
    """

    diagonal: Float[Array, "*n"] | None = None

    def bind(self, operator) -> "BoundJacobi":
        return BoundJacobi(nonzero_diagonal(operator) if self.diagonal is None else self.diagonal)


class BoundJacobi(eqx.Module):
    """`Jacobi` for one operator: r ↦ r / D."""

    diagonal: Float[Array, "*n"]

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return r / self.diagonal
