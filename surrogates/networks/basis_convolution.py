"""Spectral layers in bases for boundaries that are not periodic: sines, cosines and Chebyshev polynomials."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...core.storage import register
from ...solvers.kernels.interpolate import apply_along_axes
from ...solvers.kernels.laplacian_eigenbasis import eigenfunctions
from ...solvers.kernels.mesh_axes import SPACE, devices_along

Basis = Literal["dirichlet", "neumann", "chebyshev"]

# The least squares that find Chebyshev coefficients on uniform points may enlarge errors of the values by this much.
_STABLE = 30.0


@register("BasisConv")
class BasisConv(eqx.Module):
    """(K v)(x) = Σ_k φ_k(x) R_k v̂_k with real matrices R_k, where φ_k are products of

    - "dirichlet": sines √2 sin(kπx), k = 1, 2, …, which vanish at both ends of every axis;
    - "neumann": cosines, whose slopes vanish there;
    - "chebyshev": Chebyshev polynomials T_k(2x − 1), which fulfil no condition.

    v̂_k are the integrals ∫ v φ_k by the quadrature of the grid, for polynomials the coefficients of the least-squares fit at its
    points; so R does not depend on the resolution. `weight` is `(*reversed kept, in, out)`.

    **Arguments:** `n_in`, `n_out`; `kept`, functions per space axis; `basis`; `bias`, whether a constant per output channel is
    added.
    """

    weight: Float[Array, "*kept i o"]
    bias: Float[Array, " o"] | None
    basis: Basis = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, kept: tuple[int, ...], *, basis: Basis, bias: bool = False, key: Array):
        k1, k2 = jax.random.split(key)
        # As large as a Fourier weight, whose functions have conjugates.
        self.weight = jax.random.normal(k1, (*kept[::-1], n_in, n_out)) * np.sqrt(2 / (n_in + n_out))
        self.bias = jax.random.normal(k2, (n_out,)) * np.sqrt(2 / (n_in + n_out)) if bias else None
        self.basis = basis

    def __call__(self, x: Float[Array, "*reversed b i"], grid: Grid) -> Float[Array, "*reversed b o"]:
        if devices_along(SPACE) > 1:
            raise ValueError(f"boundary={self.basis!r}: this spectral layer cannot be divided along space")
        kept = self.weight.shape[:-2]
        pairs = [transforms(self.basis, grid, axis, m) for axis, m in zip(range(grid.ndim)[::-1], kept, strict=True)]
        z = apply_along_axes(x, [forward for forward, _ in pairs])
        z = jnp.matmul(z, self.weight)
        y = apply_along_axes(z, [inverse for _, inverse in pairs])
        return y if self.bias is None else y + self.bias


def transforms(
    basis: Basis, grid: Grid, axis: int, kept: int
) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "n m"]]:
    """Matrices from the values along an axis to the first `kept` coefficients, and back. Functions that the points do not tell
    apart have zero rows.

    **Raises:** `ValueError` where so many Chebyshev polynomials cannot be fitted at so few points.
    """
    n, layout = grid.shape[axis], grid.layouts[axis]
    x = (np.asarray(grid.coordinates[axis], np.float64) - grid.box.axes[axis].start) / grid.box.axes[axis].length
    h = 1 / (n - 1 if layout == "nodes" else n)
    quadrature = np.full(n, h)
    if layout == "nodes":
        quadrature[[0, -1]] /= 2
    if basis == "chebyshev":
        inverse = np.polynomial.chebyshev.chebvander(2 * x - 1, kept - 1)
        root = np.sqrt(quadrature)
        forward = np.linalg.pinv(root[:, None] * inverse) * root
        # From values at the points to values between them.
        between = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, 4 * n + 1), kept - 1) @ forward
        if kept > n or np.abs(between).sum(1).max() > _STABLE:
            raise ValueError(
                f"boundary='chebyshev': {kept} polynomials cannot be fitted stably at {n} uniform points; keep at most about "
                f"{max(int(2 * np.sqrt(n)), 1)} modes"
            )
        return forward, inverse
    functions = np.asarray(eigenfunctions(kept, x, 1.0, basis))
    known = np.arange(kept) < (n if basis == "neumann" else n - 2 if layout == "nodes" else n)
    if layout == "nodes" and basis == "neumann" and kept >= n:
        functions[:, n - 1] /= np.sqrt(2)  # the highest cosine of the nodes has twice the norm
    if layout == "cells" and basis == "dirichlet" and kept >= n:
        functions[:, n - 1] /= np.sqrt(2)  # and so has the highest sine of the cells
    functions = functions * known
    return (quadrature[:, None] * functions).T, functions
