"""Local layers of neural operators on grids: stencils that converge to derivatives and to integrals over small boxes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ...core.domains import Grid
from ...core.storage import register
from ...solvers.kernels.mesh_axes import SPACE, devices_along


@register("DifferentialStencil")
class DifferentialStencil(eqx.Module):
    """(L v)(x) = Σ_j (κ_j − κ̄) v(x + j h) · h₀/h over the 3^d neighbours j ∈ {−1, 0, 1}^d, where κ̄ is the mean of the
    matrices κ_j.

    As the matrices sum to zero, L v tends to the first derivative h₀ Σ_j κ_j (j·∇)v as h → 0. h₀ is the distance of the training
    points along the axis with the fewest; lengths are those of the scaled box. Beyond an end that is not periodic v is
    continued by its nearest value. `weight` is `(3^d, in, out)`.
    """

    weight: Float[Array, "s i o"]
    reference: float = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, grid: Grid, *, key: Array):
        size = 3**grid.ndim
        self.weight = jax.random.normal(key, (size, n_in, n_out)) / np.sqrt(size * n_in)
        self.reference = max(_steps(grid))

    def __call__(self, x: Float[Array, "*reversed b i"], grid: Grid) -> Float[Array, "*reversed b o"]:
        _check_undivided()
        stencil = self.weight - self.weight.mean(0)
        stencil = stencil.reshape(*(3,) * grid.ndim, *stencil.shape[1:])
        return convolved(x, stencil, grid) * (self.reference / max(_steps(grid)))


@register("IntegralStencil")
class IntegralStencil(eqx.Module):
    """(L v)(x) = ∫ κ((y − x)/r) v(y) dy / (2r)^d over the box |y_a − x_a| ≤ r_a: κ is multilinear between the 3^d matrices
    `weight` `(3^d, in, out)` at the corners, middles of sides and centre of [−1, 1]^d.

    The radius r is `reach` distances of the training points. The integral is the trapezoidal sum over the points of the grid,
    so that it converges as the grid is refined; on a finer grid the stencil has more points. Beyond an end that is not
    periodic v is continued by its nearest value.
    """

    weight: Float[Array, "s i o"]
    radius: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, grid: Grid, *, reach: int = 2, key: Array):
        size = 3**grid.ndim
        self.weight = jax.random.normal(key, (size, n_in, n_out)) / np.sqrt(n_in)
        self.radius = tuple(reach * h for h in _steps(grid))

    def __call__(self, x: Float[Array, "*reversed b i"], grid: Grid) -> Float[Array, "*reversed b o"]:
        _check_undivided()
        matrices = []
        for radius, h in zip(self.radius, _steps(grid), strict=True):
            reach = max(1, round(radius / h))
            offset = np.arange(-reach, reach + 1) / reach
            hats = np.maximum(1 - np.abs(offset[:, None] - np.array([-1.0, 0.0, 1.0])), 0)
            rule = np.full(2 * reach + 1, 0.5 / reach)
            rule[[0, -1]] /= 2
            matrices.append(rule[:, None] * hats)
        basis = np.ones((1, 1))
        for matrix in matrices:
            basis = np.kron(basis, matrix)
        stencil = jnp.tensordot(jnp.asarray(basis, self.weight.dtype), self.weight, 1)
        shape = tuple(len(matrix) for matrix in matrices)
        return convolved(x, stencil.reshape(*shape, *stencil.shape[1:]), grid)


def convolved(
    x: Float[Array, "*reversed b i"], stencil: Float[Array, "*sizes j o"], grid: Grid, groups: int = 1
) -> Float[Array, "*reversed b o"]:
    """Σ_j stencil_j v(x + j h) with an odd number of points per axis, `stencil` in the order of the axes of space. The channels
    are divided into `groups` that do not see each other.

    **Raises:** `ValueError` for a stencil that is wider than the grid, and on several devices along space.
    """
    _check_undivided()
    d = grid.ndim
    sizes = stencil.shape[:d]
    if any(s // 2 > n - 1 for s, n in zip(sizes, grid.shape, strict=True)):
        raise ValueError(f"a stencil of {sizes} points is wider than {grid}")
    for place, axis in enumerate(range(d)[::-1]):
        half = sizes[axis] // 2
        widths = [(half, half) if i == place else (0, 0) for i in range(x.ndim)]
        x = jnp.pad(x, widths, mode="wrap" if grid.layouts[axis] == "periodic" else "edge")
    letters = "DHW"[3 - d :]
    field, kernel = f"{letters}NC", f"{letters}IO"
    stencil = jnp.transpose(stencil, (*range(d)[::-1], d, d + 1))
    return lax.conv_general_dilated(
        x, stencil, (1,) * d, "VALID", dimension_numbers=(field, kernel, field), feature_group_count=groups,
        precision="highest",
    )  # fmt: skip


def _check_undivided() -> None:
    if devices_along(SPACE) > 1:
        raise ValueError("local layers cannot be divided along space; use a mesh with the axis 'data' alone")


def _steps(grid: Grid) -> tuple[float, ...]:
    """Distances of neighbouring points in the scaled box."""
    return tuple(1 / (n - 1 if layout == "nodes" else n) for n, layout in zip(grid.shape, grid.layouts, strict=True))
