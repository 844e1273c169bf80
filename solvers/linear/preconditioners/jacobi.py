"""The diagonal of the operator as a preconditioner."""

import equinox as eqx
import lineax as lx
from jaxtyping import Array, Float

from ..preconditioning import AbstractPreconditioner


class Jacobi(AbstractPreconditioner):
    """M⁻¹ r = r / D.

    **Arguments:** `diagonal`: D, a field `(*n)`; by default the diagonal of the operator of the solve. Give |diag A| to
    `MINRES` where A is indefinite.
    """

    diagonal: Float[Array, "*n"] | None = None

    def bind(self, operator) -> "BoundJacobi":
        if self.diagonal is not None:
            return BoundJacobi(self.diagonal)
        return BoundJacobi(lx.diagonal(operator).reshape(operator.in_structure().shape))


class BoundJacobi(eqx.Module):
    """`Jacobi` for one operator: r ↦ r / D."""

    diagonal: Float[Array, "*n"]

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return r / self.diagonal
