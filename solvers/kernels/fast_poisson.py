"""Operators with constant coefficients, diagonalised by fast real transforms: direct solve of (−Δ_h + shift) x = b."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, ScalarLike

from .fourier import Method
from .stencil import Boundary
from .trigonometric import dct2, dct3, dht, dst1, laplacian_eigenvalues

# The orthogonal eigenbasis of the 1D operator for each boundary: into it, and back.
FORWARD = {"dirichlet": dst1, "neumann": dct2, "periodic": dht}
BACKWARD = {"dirichlet": dst1, "neumann": dct3, "periodic": dht}


def solve_constant(
    b: Float[Array, "*n"],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
    shift: ScalarLike = 0.0,
    *,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """x = Q (Λ + shift)⁻¹ Qᵀ b, the inverse of `stencil.apply_laplacian` plus `shift`.

    Q is orthogonal, so the map is symmetric to rounding: usable as a preconditioner for conjugate gradients. Without a
    Dirichlet axis and with shift 0 constants are in the null space: the mean of `b` is dropped and x has zero mean.
    Differentiable in `b` and `shift`. The relative error grows like the condition number times the rounding unit,
    about (n/2)² per float32 eps for n points between Dirichlet boundaries.

    **Arguments:**

    - `b`: right-hand side on the unknowns of `stencil` (interior nodes, cell centres or periodic points).
    - `spacing`, `boundaries`: grid spacing and boundary per axis.
    - `shift`: added to the operator; at a value equal to minus an eigenvalue that mode of x is undefined.
    - `method`, `precision`: of the transforms, see `trigonometric`.

    Raises `ValueError` for an unknown boundary or lengths that do not match.
    """
    # Exactly 0 where constants are the null space: their eigenvalue is 0 on every axis.
    symbol = eigenvalues(b.shape, spacing, boundaries, b.dtype) + jnp.asarray(shift, b.dtype)
    return apply_symbol(b, inverse_symbol(symbol), boundaries, method=method, precision=precision)


def apply_symbol(
    u: Float[Array, "*n"],
    symbol: Float[Array, "*n"],
    boundaries: Sequence[Boundary],
    *,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """Q (symbol · Qᵀu) in the orthogonal eigenbasis of −Δ_h; `symbol` has one number per mode, as `eigenvalues`.

    Each transform runs along the last axis; between two of them the axes rotate by one, 2(d − 1) times in all.
    """
    if len(boundaries) != u.ndim:
        raise ValueError(f"need one boundary for each of {u.ndim} axes, got {tuple(boundaries)}")
    options = {"norm": "ortho", "method": method, "precision": precision}
    for axis in reversed(range(u.ndim)):
        u = FORWARD[boundaries[axis]](u, -1, **options)
        u = jnp.moveaxis(u, -1, 0) if axis else u
    u = u * jnp.moveaxis(symbol, 0, -1)
    for axis in range(u.ndim):
        u = jnp.moveaxis(u, 0, -1) if axis else u
        u = BACKWARD[boundaries[axis]](u, -1, **options)
    return u


def eigenvalues(
    shape: Sequence[int], spacing: Sequence[float], boundaries: Sequence[Boundary], dtype: DTypeLike = float
) -> Float[Array, "*n"]:
    """Λ of −Δ_h = Q Λ Qᵀ, one per mode (`trigonometric.laplacian_eigenvalues` of each axis, added)."""
    total = jnp.zeros((), dtype)
    for axis, (n, h, boundary) in enumerate(zip(shape, spacing, boundaries, strict=True)):
        along = laplacian_eigenvalues(n, h, boundary).astype(total.dtype)
        total = total + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return total


def inverse_symbol(symbol: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """1 / symbol, and 0 where the symbol is 0 (the pseudo-inverse)."""
    singular = symbol == 0
    return jnp.where(singular, 0, 1 / jnp.where(singular, 1, symbol))


def mode_diagonal(symbol: Float[Array, "*n"], boundaries: Sequence[Boundary]) -> Float[Array, "*n"]:
    """Diagonal of Q diag(symbol) Qᵀ, Σ_k Q_ik² symbol_k, by one dense product of n² numbers per axis."""
    for n, boundary in zip(symbol.shape, boundaries, strict=True):
        squares = BACKWARD[boundary](jnp.eye(n, dtype=symbol.dtype), 0, norm="ortho", method="dft") ** 2
        symbol = jnp.tensordot(
            symbol, squares, (0, 1), precision="highest"
        )  # this axis moves to the end: in turn, all do
    return symbol
