"""Gauss-Seidel iteration."""

import dataclasses
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, ScalarLike

from ...kernels import red_black
from ...kernels.red_black import RedBlackOperator
from ..method import bound_part
from .sor import packed_faces, red_black_sweeps
from .stationary_method import AbstractStationary, Sweeps


class GaussSeidel(AbstractStationary):
    """Gauss-Seidel iteration in red-black order: `SOR` with ω = 1. The residual falls by ρ(I − D⁻¹ A)² per iteration.

    Arguments, supported operators and errors are those of `SOR`.
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    packed: RedBlackOperator | None = None
    needs_symmetric: ClassVar[bool] = True

    def bind(self, operator, *, transpose: bool = False) -> "GaussSeidel":
        return dataclasses.replace(self, packed=packed_faces(red_black.pack, operator, "GaussSeidel"))

    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        return red_black_sweeps(bound_part(self, self.packed), b, 1.0)
