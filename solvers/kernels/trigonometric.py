"""Discrete sine, cosine and Hartley transforms over chosen axes: the real bases that diagonalise the 1D Laplacian.

Conventions are those of `scipy.fft`. With norm=None (for n points along an axis)

    DST-I    y_k = 2 Σ_j x_j sin(π (j+1)(k+1) / (n+1))
    DCT-I    y_k = x_0 + (-1)^k x_{n-1} + 2 Σ_{0<j<n-1} x_j cos(π j k / (n-1))
    DCT-II   y_k = 2 Σ_j x_j cos(π k (2j+1) / 2n)
    DCT-III  y_k = x_0 + 2 Σ_{j>0} x_j cos(π j (2k+1) / 2n)
    DHT      y_k = Σ_j x_j (cos(2π j k / n) + sin(2π j k / n))

and with norm="ortho" each is scaled to an orthogonal matrix. Then DST-I, DCT-I and DHT are their own inverse and
DCT-III is the inverse of DCT-II. The Hartley transform, the real twin of the Fourier transform, is not in scipy.

`method`: "fft" pads, extends or reorders the input for a real FFT; "dft" multiplies by the dense real matrix (built in
float64, stored as a constant of the program; no complex dtype), whose symmetry halves the products; "auto" compares their
costs per axis (`fourier.cheaper_method`). Along the last axis neither moves data. `precision` is that of the products; the
default keeps float32 from being rounded to TF32 or bfloat16. Half precision is handled as in `fourier`.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from ...core.domains import Boundary
from .fourier import Method, cheaper_method
from .transform_table import DCT1, DCT2, DCT3, DHT, DST1, Transform

Norm = Literal["ortho"] | None
Axes = int | Sequence[int]


def dst1(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DST-I along `axes`: zero at the points -1 and n, the basis of interior nodes with Dirichlet boundaries."""
    return _apply(DST1, x, axes, norm, method, precision)


def dct1(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-I along `axes`: even about the first and last node (Chebyshev-Lobatto points). Needs at least two points."""
    return _apply(DCT1, x, axes, norm, method, precision)


def dct2(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-II along `axes`: even about the outer faces, the basis of cell centres with Neumann boundaries."""
    return _apply(DCT2, x, axes, norm, method, precision)


def dct3(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """DCT-III along `axes`: the transpose of DCT-II up to scaling, its inverse with norm="ortho"."""
    return _apply(DCT3, x, axes, norm, method, precision)


def dht(
    x: Float[Array, "*n"],
    axes: Axes,
    *,
    norm: Norm = None,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """Discrete Hartley transform along each of `axes`: the real basis of periodic points, in the order of the FFT."""
    return _apply(DHT, x, axes, norm, method, precision)


def laplacian_eigenvalues(n: int, spacing: float, boundary: Boundary) -> Float[np.ndarray, " n"]:
    """Eigenvalues of the 1D matrix of `stencil.apply_laplacian`, 4 sin²(θ_k) / h², as a float64 constant.

    - "dirichlet": θ_k = π (k+1) / 2(n+1), in the order of `dst1`.
    - "neumann": θ_k = π k / 2n, in the order of `dct2`; the first is exactly 0.
    - "periodic": θ_k = π k / n for k = 0, …, n-1, in the order of `dht` and of the full FFT (pairs k, n-k are equal);
        the first n//2 + 1 belong to the real FFT.

    Raises `ValueError` for an unknown boundary.
    """
    k = np.arange(n)
    if boundary == "dirichlet":
        angles = np.pi * (k + 1) / (2 * (n + 1))
    elif boundary == "neumann":
        angles = np.pi * k / (2 * n)
    elif boundary == "periodic":
        angles = np.pi * np.minimum(k, n - k) / n
    else:
        raise ValueError(f"boundary must be 'dirichlet', 'neumann' or 'periodic', got {boundary!r}")
    return (2 * np.sin(angles) / spacing) ** 2


def _apply(
    transform: Transform, x: Array, axes: Axes, norm: str | None, method: str, precision: lax.PrecisionLike
) -> Array:
    if norm not in (None, "ortho"):
        raise ValueError(f"norm must be None or 'ortho', got {norm!r}")
    if method not in ("auto", "fft", "dft"):
        raise ValueError(f"method must be 'auto', 'fft' or 'dft', got {method!r}")
    working = jnp.promote_types(x.dtype, jnp.float32)
    for axis in (axes,) if isinstance(axes, int) else axes:
        n = x.shape[axis]
        y = jnp.moveaxis(x, axis, -1)
        if (faster_method(transform, n) if method == "auto" else method) == "dft":
            matrix = orthogonal_matrix(transform, n) if norm == "ortho" else transform.matrix(n)
            y = transform.product(matrix, y, dense_product(precision))
        else:
            before, after = transform.weights(n) if norm == "ortho" else (np.ones(n), np.ones(n))
            y = transform.fft(y.astype(working) * before.astype(working)) * after.astype(working)
        x = jnp.moveaxis(y, -1, axis).astype(x.dtype)
    return x


def faster_method(transform: Transform, n: int) -> Literal["fft", "dft"]:
    """The method that is expected to be faster for n points."""
    # Dense: the half products have n² operations, but break even (CPU, n from 63 to 2048) where 6n² would.
    return cheaper_method(_fft_operations(transform.length(n)), 6.0 * n**2)


def orthogonal_matrix(transform: Transform, n: int) -> np.ndarray:
    """The matrix `(n, n)` of the transform with norm="ortho", in float64."""
    before, after = transform.weights(n)
    return after[:, None] * transform.matrix(n) * before


def dense_product(precision: lax.PrecisionLike):
    """(x, matrix) ↦ the matrix applied along the last axis of x, accumulated in at least float32."""

    def dense(x, matrix):
        working = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.tensordot(x, matrix.astype(x.dtype), (-1, 1), precision=precision, preferred_element_type=working)

    return dense


def _fft_operations(n: int) -> float:
    """Real operations of a real FFT of n points: 2.5 n Σ p/2 over the prime factors p of n, which is 2.5 n log₂n for powers of
    two, and at most those of Bluestein's algorithm (complex FFTs of about 2n points)."""
    total, rest, p = 0.0, n, 2
    while rest > 1:
        while rest % p == 0:
            total, rest = total + p / 2, rest // p
        p = p + 1 if p * p <= rest else rest
    return min(2.5 * n * max(total, 1), 12 * n * math.log2(2 * n))
