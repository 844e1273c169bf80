"""Stationary-type Gaussian random fields by their Karhunen-Loève expansion on a box.

μ(x) = Σ_k s(λ_k) ξ_k φ_k(x),  ξ_k ~ N(0, 1) independent,

with the orthonormal eigenfunctions φ_k and eigenvalues λ_k of −Δ under periodic, Neumann or Dirichlet conditions. Every
ξ_k depends on the key and on k alone, so grids of any resolution or layout evaluate the same function: a coarser grid
sees it truncated to the frequencies it can hold. Evaluation is one dense matrix product per axis, 2·n·Π n operations
each, which suits accelerators and every layout of points; beyond about 1000 points per axis an FFT would be cheaper.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ...core.domains import Boundary, Grid
from .laplacian_eigenbasis import eigenfunctions, eigenvalues

_STRIDE = 1 << 10  # largest index of a mode along one axis; three of them fill the 30 bits of a fold_in counter


def sample(
    key: jax.Array,
    grid: Grid,
    boundary: Boundary | None,
    std: Callable[[np.ndarray], np.ndarray],
    *,
    modes: int | None = None,
    per_axis: Callable[[np.ndarray], np.ndarray] | None = None,
    dtype: DTypeLike | None = None,
) -> Float[Array, "*space"]:
    """One Gaussian field at the points of `grid`, `(*grid.shape)`.

    **Arguments:**

    - `std`: s(λ), the standard deviation of the coefficient of a mode with eigenvalue λ = |k|² of −Δ.
    - `per_axis`: a factor of the standard deviation per axis, a function of the frequency in half waves along the axis, times the
      root of its length.
    - `boundary`: conditions of the eigenfunctions, the same on all sides; independent of the layout of `grid`. None: periodic
      ones, along axes that are not periodic with twice their length, of which the box is a half (circulant embedding).
    - `modes`: modes per axis; by default as many as the axis, or its double, has points (at most 1024). Fixing it below that
      makes grids of different resolution agree exactly.
    - `dtype`: of the evaluation, the default float type if not given. The noise is drawn in float32 always, so that one key
      is one field in every precision.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    matrices, deviations, counter = _expansion(grid, boundary, std, modes, per_axis)
    draw = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), dtype=jnp.float32))
    noise = draw(jnp.asarray(counter.ravel(), jnp.uint32)).reshape(counter.shape)
    field = noise.astype(dtype) * jnp.asarray(deviations, dtype)
    for axis, matrix in enumerate(matrices):
        field = _along(jnp.asarray(matrix, dtype), field, axis)
    return field


def covariance_product(
    x: Float[Array, "*space"],
    grid: Grid,
    boundary: Boundary | None,
    std: Callable[[np.ndarray], np.ndarray],
    *,
    modes: int | None = None,
    per_axis: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Float[Array, "*space"]:
    """K x with the covariance K of the values of `sample` at the points of the grid. The other arguments are those of
    `sample`."""
    matrices, deviations, _ = _expansion(grid, boundary, std, modes, per_axis)
    field = x
    for axis, matrix in enumerate(matrices):
        field = _along(jnp.asarray(matrix.T, x.dtype), field, axis)
    field = field * jnp.asarray(deviations**2, x.dtype)
    for axis, matrix in enumerate(matrices):
        field = _along(jnp.asarray(matrix, x.dtype), field, axis)
    return field


def _expansion(grid, boundary, std, modes, per_axis) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The eigenfunctions of every axis `(points, modes)`, and of every mode its standard deviation and its number."""
    matrices, total, factors, counter = [], np.zeros(()), np.ones(()), np.zeros((), np.int64)
    for axis, n, x, periodic in zip(grid.box.axes, grid.shape, grid.coordinates, grid.periodic, strict=True):
        doubled = 2 if boundary is None and not periodic else 1
        own_boundary, length = boundary or "periodic", doubled * axis.length
        # An even number of periodic modes would hold a cosine without its sine.
        count = min(doubled * n if modes is None else modes, _STRIDE)
        count -= own_boundary == "periodic" and count % 2 == 0
        lam = eigenvalues(count, length, own_boundary)
        matrices.append(np.asarray(eigenfunctions(count, x - axis.start, length, own_boundary)))
        total = total[..., None] + lam
        half_waves = np.round(np.sqrt(lam) * length / np.pi)
        own = np.ones(count) if per_axis is None else np.sqrt(length) * per_axis(half_waves)
        factors = factors[..., None] * own
        counter = counter[..., None] * _STRIDE + np.arange(count)
    return matrices, factors * std(total), counter


def _along(matrix: Array, field: Array, axis: int) -> Array:
    return jnp.moveaxis(jnp.tensordot(matrix, field, axes=(1, axis), precision="highest"), 0, axis)
