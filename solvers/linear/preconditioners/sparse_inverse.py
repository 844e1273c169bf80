"""Preconditioners M⁻¹ = G Gᵀ + shift with a sparse G: products alone, nothing sequential."""

from functools import reduce
from operator import matmul

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from ..operators.sparsity_pattern import SymmetricEntries, square_matrix, symmetric_entries
from ..preconditioning import AbstractPreconditioner


class SparseInverse(eqx.Module):
    """M⁻¹ r = G (Gᵀ r) + shift · r, symmetric positive definite for any G and any shift > 0.

    G is a `Sparse` or a product of several (`G1 @ G2`), two sparse products per factor and application, without a
    recurrence: on accelerators an iteration costs a few stencils, where a `TriangularFactor` costs hundreds of small steps.

    **Arguments:** `shift`: a scalar or a field `(*n)`. Zero leaves M⁻¹ singular where G is.

    **Example:**

        >>> M = sx.linear.PolynomialInverse().bind(A)
        >>> isinstance(M, sx.linear.SparseInverse), M(b).shape
        (True, (15, 15))
    """

    factor: lx.AbstractLinearOperator
    shift: ScalarLike | Float[Array, "*n"]
    _transposed: lx.AbstractLinearOperator

    def __init__(self, factor: lx.AbstractLinearOperator, shift: ScalarLike | Float[Array, "*n"]):
        self.factor, self.shift, self._transposed = factor, shift, factor.transpose()

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self.factor.mv(self._transposed.mv(r)) + self.shift * r


class PolynomialInverse(AbstractPreconditioner):
    """`SparseInverse` with G = (2K + 1) D^(−1/2) Π_k (I − Â/λ_k), Â = D^(−1/2) A D^(−1/2): the start of a learned one.

    λ_k = 1 − cos(2πk/(2K + 1)) are the double roots of 1 − T_{2K+1}(1 − λ), Chebyshev's polynomial, so that the eigenvalues λ of
    Â, in (0, 2], become those of G Gᵀ A by that polynomial: again in [0, 2], the small ones (2K + 1)² times larger. Iterations
    fall up to 2K + 1 times beside Jacobi's, for 2K products more in each. The shift keeps M⁻¹ definite at the roots.

    **Arguments:**

    - `factors`: K; 1 or 2.
    - `shift`: relative to 1/diag(A); 0.2 for one factor and 0.5 for two are good on grids of 32² to 64² points. Smaller ones
      leave tiny eigenvalues at the roots (0.01: twice the iterations), larger ones approach Jacobi.

    For symmetric `Diffusion`, `Laplacian` and `Sparse` operators; others raise `TypeError`.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.CG(sx.linear.PolynomialInverse())).status)).name
        'converged'
    """

    factors: int = eqx.field(static=True, default=1)
    shift: ScalarLike = 0.2

    def bind(self, operator) -> SparseInverse:
        entries = symmetric_entries(operator)
        factors = polynomial_factors(entries.normalised(), entries.pattern.size, self.factors)
        return scaled_inverse(entries, factors, self.shift, operator.in_structure().shape)


def polynomial_factors(lower: Float[Array, " m"], size: int, factors: int) -> Float[Array, "factors entries"]:
    """The values `(K, n + 2m)` of I − Â/λ_k, the first times 2K + 1, for the entries `(m,)` of Â below a diagonal of ones."""
    roots = 1 - np.cos(2 * np.pi * np.arange(1, factors + 1) / (2 * factors + 1))
    one = [jnp.concatenate([jnp.full(size, 1 - 1 / root, lower.dtype), -lower / root, -lower / root]) for root in roots]
    return jnp.stack(one).at[0].multiply(2 * factors + 1)


def scaled_inverse(
    entries: SymmetricEntries, factors: Float[Array, "factors entries"], shift: ScalarLike, shape: tuple[int, ...]
) -> SparseInverse:
    """D^(−1/2) (Ĝ Ĝᵀ + shift) D^(−1/2) with Ĝ = Ĝ_1 Ĝ_2 … given by its values: an inverse of A for one of Â."""
    pattern, scale = entries.pattern, 1 / jnp.sqrt(entries.diagonal)
    rows = np.concatenate([np.arange(pattern.size, dtype=np.int32), pattern.rows, pattern.columns])
    first = square_matrix(pattern, factors[0] * scale[rows], shape)
    product = reduce(matmul, [square_matrix(pattern, f, shape) for f in factors[1:]], first)
    return SparseInverse(product, shift * (scale**2).reshape(shape))
