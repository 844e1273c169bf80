"""Operators with constant coefficients, diagonalised by fast real transforms: direct solve of (−Δ_h + shift) x = b."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, ScalarLike

from ...core.domains import Boundary
from .fourier import Method
from .transform_table import DCT2, DCT3, DST1, join, split
from .trigonometric import dct2, dct3, dense_product, dht, dst1, faster_method, laplacian_eigenvalues, orthogonal_matrix

# The orthogonal eigenbasis of the 1D operator for each boundary: into it, and back.
FORWARD = {"dirichlet": dst1, "neumann": dct2, "periodic": dht}
BACKWARD = {"dirichlet": dst1, "neumann": dct3, "periodic": dht}
# Those that are computed by halves, both ways.
_HALVES = {"dirichlet": (DST1, DST1), "neumann": (DCT2, DCT3)}


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
    if _halves_serve(u.shape, boundaries, method):
        return _by_halves(u, symbol, boundaries, precision)
    options = {"norm": "ortho", "method": method, "precision": precision}
    for axis in reversed(range(u.ndim)):
        u = FORWARD[boundaries[axis]](u, -1, **options)
        u = jnp.moveaxis(u, -1, 0) if axis else u
    u = u * jnp.moveaxis(symbol, 0, -1)
    for axis in range(u.ndim):
        u = jnp.moveaxis(u, 0, -1) if axis else u
        u = BACKWARD[boundaries[axis]](u, -1, **options)
    return u


def _halves_serve(shape: Sequence[int], boundaries: Sequence[Boundary], method: Method) -> bool:
    if "periodic" in boundaries or min(shape) < 2 or method == "fft":
        return False
    return method == "dft" or all(
        faster_method(_HALVES[b][0], n) == "dft" for n, b in zip(shape, boundaries, strict=True)
    )


def _by_halves(u, symbol, boundaries, precision):
    """By dense products whose even and odd modes stay apart, 2^d parts in the end: what the products of one axis give, those
    of the next take as it is."""
    dense = dense_product(precision)
    matrices = [[orthogonal_matrix(t, n) for t in _HALVES[b]] for n, b in zip(u.shape, boundaries, strict=True)]
    parts: dict[tuple[int, ...], Array] = {(): u}
    for axis in reversed(range(u.ndim)):
        halves = {key: split(matrices[axis][0], x, dense) for key, x in parts.items()}
        parts = {(bit, *key): x[bit].astype(u.dtype) for key, x in halves.items() for bit in (0, 1)}
        if axis:
            parts = {key: jnp.moveaxis(x, -1, 0) for key, x in parts.items()}
    for key, x in parts.items():
        mine = symbol[tuple(slice(bit, None, 2) for bit in key)]
        parts[key] = x * jnp.moveaxis(mine, 0, -1)
    for axis in range(u.ndim):
        if axis:
            parts = {key: jnp.moveaxis(x, 0, -1) for key, x in parts.items()}
        rest = dict.fromkeys(key[1:] for key in parts)
        matrix = matrices[axis][1]
        parts = {key: join(matrix, parts[0, *key], parts[1, *key], dense).astype(u.dtype) for key in rest}
    return parts[()]


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
