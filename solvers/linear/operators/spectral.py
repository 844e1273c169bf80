"""Operators that fast transforms diagonalise, given by their eigenvalues."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ....core.domains import Boundary
from ...kernels import fast_poisson
from .field_operator import AbstractFieldOperator


class Spectral(AbstractFieldOperator):
    """u ↦ Q (symbol · Qᵀu), diagonal in the orthogonal sine, cosine and Hartley bases of the boundaries, symmetric.

    **Arguments:**

    - `symbol`: eigenvalue of each mode `(*n)`, in the order of `kernels.fast_poisson.eigenvalues`; differentiable.
    - `boundaries`: per axis.

    `Spectral.function` makes functions of −Δ_h, for example `lambda k: k + 0.1 * k**2` for −Δ + 0.1 Δ² or
    `lambda k: k**0.7` for a fractional Laplacian. `inverse` is the pseudo-inverse: modes with symbol 0 are ignored. Its
    relative error grows with the ratio of the largest to the smallest |symbol|.

    **Example:**

        >>> A2 = sx.linear.Spectral.function(lambda k: k**2, (15, 15), (1 / 16, 1 / 16), ("dirichlet", "dirichlet"))     # Δ²
        >>> bool(jnp.allclose(A2.mv(b), A.mv(A.mv(b)), rtol=1e-2, atol=10))
        True
    """

    symbol: Float[Array, "*n"]
    boundaries: tuple[Boundary, ...] = eqx.field(static=True)
    symmetric: ClassVar[bool] = True

    def __init__(self, symbol, boundaries):
        self.symbol, self.boundaries = jnp.asarray(symbol), tuple(boundaries)
        if self.symbol.ndim != len(self.boundaries):
            raise ValueError(
                f"Spectral: a symbol of shape {self.symbol.shape} needs as many boundaries, got {self.boundaries}"
            )

    @classmethod
    def function(
        cls,
        f: Callable[[Float[Array, "..."]], Float[Array, "..."]],
        shape,
        spacing,
        boundaries,
        dtype: DTypeLike = float,
    ) -> "Spectral":
        """f(−Δ_h) for a function f of its eigenvalues."""
        return cls(f(jnp.asarray(fast_poisson.eigenvalues(shape, spacing, boundaries), dtype)), boundaries)

    def mv(self, vector):
        return fast_poisson.apply_symbol(vector, self.symbol, self.boundaries)

    def inverse(self, b: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """A⁻¹ b, the pseudo-inverse where the symbol has zeros."""
        return fast_poisson.apply_symbol(b, fast_poisson.inverse_symbol(self.symbol), self.boundaries)

    def transpose(self):
        return self

    def diagonal(self) -> Float[Array, "*n"]:
        return fast_poisson.mode_diagonal(self.symbol, self.boundaries)

    def in_structure(self):
        return jax.ShapeDtypeStruct(self.symbol.shape, self.symbol.dtype)
