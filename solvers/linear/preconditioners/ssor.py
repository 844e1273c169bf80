"""Symmetric successive over-relaxation as a preconditioner."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ...kernels import multicolour
from ...kernels import triangular_wavefront as wavefront
from ..method import check_omega
from ..operators.colouring import coloured
from ..operators.field_operator import untagged
from ..operators.laplacian import as_diffusion
from ..operators.sparse import Sparse
from ..preconditioning import AbstractPreconditioner


class SSOR(AbstractPreconditioner):
    """M = (D + ω L) D⁻¹ (D + ω L)ᵀ / (ω (2 − ω)) with A = D + L + Lᵀ in natural order (Axelsson 1994).

    Symmetric positive definite for every ω in (0, 2). One application sweeps forward and backward over the wavefronts: 2n − 1
    sequential steps of n points each in 2D, 3n − 2 planes in 3D. Conjugate gradients on a Poisson problem then take
    O(√n) instead of O(n) iterations with a good ω (64²: 77, 47 and 33 at ω = 1, 1.5 and 1.8). Red-black order is not
    offered: its best ω is 1, where it needs more iterations than the natural order.

    Symmetric `Sparse` matrices are swept colour by colour, unknowns that are not coupled at once. On a mesh of triangles
    that takes as many iterations as the natural order and a fifth of its time or less; the best ω is near 1. For the matrix of a
    grid `Diffusion` is better (141², ω = 1.8: 60 iterations in natural order, 211 by colours at ω = 1).

    **Arguments:**

    - `omega`: in (0, 2); near 2/(1 + π h) for n = 1/h points per side. It may be traced.

    `CG(SSOR(1.8))` sets it up from the operator: `Diffusion` or `Laplacian`, obstacles and jumps included, or `Sparse`. Raises
    `TypeError` for other operators, `ValueError` for `omega` outside (0, 2)
    unless it is traced, for periodic axes, and for a `Sparse` matrix that is not symmetric.

    **Example:**

        >>> plain, ssor = (int(sx.linear.solve(A, b, sx.linear.CG(M)).stats.iterations) for M in (None, sx.linear.SSOR()))
        >>> ssor < plain + 5
        True
    """

    omega: ScalarLike = 1.5

    def __check_init__(self):
        check_omega("SSOR", self.omega)

    def bind(self, operator) -> "BoundSSOR | ColouredSSOR":
        if isinstance(sparse := untagged(operator), Sparse):
            if not sparse.symmetric:
                raise ValueError("SSOR: the Sparse operator is not symmetric; use FGMRES(SmoothedAggregation()) or SOR")
            return ColouredSSOR(coloured(sparse, "SSOR"), self.omega)
        operator = as_diffusion(operator, "SSOR")
        packed = wavefront.pack(operator.faces, operator.spacing, operator.boundaries, operator.shift)
        return BoundSSOR(packed, self.omega)


class BoundSSOR(eqx.Module):
    """`SSOR` for one operator: r ↦ M⁻¹ r by one forward and one backward sweep."""

    packed: wavefront.WavefrontOperator
    omega: ScalarLike

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        packed, omega = self.packed, jnp.asarray(self.omega)
        y = wavefront.solve_lower(packed, packed.skew(r), omega)
        z = wavefront.solve_upper(packed, packed.diagonal * y, omega)
        return (omega * (2 - omega)).astype(r.dtype) * packed.unskew(z)


class ColouredSSOR(eqx.Module):
    """`SSOR` for one sparse matrix: r ↦ M⁻¹ r by one sweep over the colours and one back."""

    matrix: multicolour.ColouredMatrix
    omega: ScalarLike

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        matrix, omega = self.matrix, jnp.asarray(self.omega)
        y = multicolour.solve_lower(matrix, matrix.sort(r.ravel()), omega)
        z = multicolour.solve_upper(matrix, matrix.diagonal * y, omega)
        return ((omega * (2 - omega)).astype(r.dtype) * matrix.unsort(z)).reshape(r.shape)
