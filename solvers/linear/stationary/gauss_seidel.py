"""Gauss-Seidel iteration."""

import dataclasses
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, ScalarLike

from ...kernels import red_black
from ...kernels.multicolour import ColouredMatrix
from ...kernels.red_black import RedBlackOperator
from ..method import bound_part
from ..operators.colouring import coloured
from ..operators.field_operator import untagged
from ..operators.sparse import Sparse
from .sor import colour_sweeps, packed_faces, red_black_sweeps
from .stationary_method import AbstractStationary, Sweeps


class GaussSeidel(AbstractStationary):
    """Gauss-Seidel iteration in red-black order, or colour by colour: `SOR` with ω = 1. The residual falls by ρ(I − D⁻¹ A)²
    per iteration on grids.

    Arguments, supported operators and errors are those of `SOR`.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.GaussSeidel(rtol=1e-3)).status)).name
        'converged'
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    packed: RedBlackOperator | ColouredMatrix | None = None
    needs_symmetric: ClassVar[bool] = False

    def bind(self, operator, *, transpose: bool = False) -> "GaussSeidel":
        if isinstance(sparse := untagged(operator), Sparse):
            return dataclasses.replace(self, packed=coloured(sparse, "GaussSeidel"))
        return dataclasses.replace(self, packed=packed_faces(red_black.pack, operator, "GaussSeidel"))

    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        packed = bound_part(self, self.packed)
        if isinstance(packed, ColouredMatrix):
            return colour_sweeps(packed, b, 1.0)
        return red_black_sweeps(packed, b, 1.0)
