"""The thermal block: diffusion with one conductivity per block, the standard example of reduced bases."""

from dataclasses import dataclass
from functools import reduce
from itertools import product

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, ScalarLike

from ....core.domains import Box, Grid
from ...linear.linear_solve import solve
from ...linear.operators.diffusion import Diffusion
from ...linear.preconditioners.fast_poisson import FastPoisson
from ...random import Distribution, LogUniform
from ..affine import AffineSystem, Constants, Stacked
from ..boundary_nodes import interior, with_zero_boundary
from ..declaration import Fields, Problem
from ..natural_cg import natural_cg
from ..registry import register_problem
from ..solved import Solved


@register_problem("thermal_block")
def thermal_block(
    blocks: tuple[int, ...] = (2, 2),
    a: Distribution = LogUniform(0.1, 10.0),  # noqa: B008 (frozen)
    f: float = 1.0,
    *,
    box: Box | None = None,
    rtol: float | None = None,
) -> Problem:
    """−∇·(a∇u) = f in the box, u = 0 on Dirichlet sides, no flux through Neumann sides; a is the number `a_i_j` in block
    (i, j) of a regular partition.

    Finite volumes of second order; the coefficient of a face between two points is the mean of a over the face, so that
    A(a) = Σ_q a_q A_q exactly, and A(1, …, 1) is the discrete Laplacian exactly. Solved by conjugate gradients
    preconditioned with fast sine or cosine transforms; their number of iterations is bounded by the contrast of a.

    **Arguments:**

    - `blocks`: number of blocks per axis. Where they divide the number of intervals of the grid (n − 1 on Dirichlet axes),
      interfaces lie on nodes, and layers are resolved exactly; elsewhere the error at interfaces is of first order.
      Solutions have singularities where more than two blocks meet, which lower the order.
    - `a`: distribution of each block's number, positive.
    - `rtol`: of the solve, in the natural norm of `CG`; by default 1e-8 in float64 and 1e-4 in float32.

    **Raises:** `ValueError` for blocks that do not match the axes and for a box without a Dirichlet side.
    """
    box = Box.unit(len(blocks)) if box is None else box
    if len(blocks) != len(box.axes) or min(blocks) < 1:
        raise ValueError(f"thermal_block: blocks={blocks} for the axes {box.names}; give one positive number per axis")
    if "dirichlet" not in box.conditions:
        raise ValueError(f"thermal_block needs a Dirichlet side for a unique solution; the box has {box.conditions}")
    equation = ThermalBlock(blocks, f, box, rtol)
    return Problem(
        "u",
        box,
        inputs=dict.fromkeys(equation.names, a),
        solve=equation.solve,
        operator=equation.operator,
        affine=equation.affine,
        no_residual="a jumps from block to block, so that −∇·(a∇u) = f holds in the weak sense only",
    )


@dataclass(frozen=True)
class ThermalBlock:
    """The discrete equation."""

    blocks: tuple[int, ...]
    f: float
    box: Box
    rtol: float | None

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """The blocks (i, j), the last index running fastest."""
        return list(product(*map(range, self.blocks)))

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs `a_i_j`."""
        return tuple("_".join(map(str, ("a", *index))) for index in self.indices)

    def affine(self, grid: Grid) -> AffineSystem:
        dtype = jnp.result_type(float)
        b = jnp.asarray(interior(jnp.full(grid.shape, self.f, dtype), self.box))
        operators = tuple(
            Diffusion([jnp.asarray(x, dtype) for x in part], b.shape, grid.spacing, self.box.conditions)
            for part in self._block_faces(grid)
        )
        return AffineSystem(operators, (b,), Stacked(self.names), Constants((1.0,)))

    def operator(self, inputs: Fields, grid: Grid) -> tuple[Diffusion, Array]:
        values = jnp.stack([jnp.asarray(inputs[name]) for name in self.names])
        axes = zip(*self._block_faces(grid), strict=True)
        faces = [jnp.tensordot(values, np.stack(axis).astype(values.dtype), 1) for axis in axes]
        # The barrier keeps XLA from transforming a constant right-hand side while it compiles, which takes seconds.
        b = lax.optimization_barrier(interior(jnp.full(grid.shape, self.f, values.dtype), self.box))
        return Diffusion(faces, b.shape, grid.spacing, self.box.conditions), b

    def solve(self, inputs: Fields, grid: Grid, *, rtol: ScalarLike | None = None) -> Solved:
        operator, b = self.operator(inputs, grid)
        preconditioner = FastPoisson(grid.spacing, self.box.conditions)
        solution = solve(operator, b, natural_cg(preconditioner, b, self.rtol if rtol is None else rtol))
        return Solved({"u": with_zero_boundary(solution.value, self.box)}, solution.stats)

    def _block_faces(self, grid: Grid) -> list[tuple[Float[np.ndarray, "..."], ...]]:
        """For every block and axis the part of every face that lies in the block, by tensor products of overlaps."""
        found = []
        for index in self.indices:
            points = [_overlap(grid, axis, self.blocks[axis], i, faces=False) for axis, i in enumerate(index)]
            faces = [_overlap(grid, axis, self.blocks[axis], i, faces=True) for axis, i in enumerate(index)]
            found.append(tuple(_outer([*points[:axis], faces[axis], *points[axis + 1 :]]) for axis in range(grid.ndim)))
        return found


def _overlap(grid: Grid, axis: int, blocks: int, i: int, *, faces: bool) -> Float[np.ndarray, " n"]:
    """Along one axis, the part in block i of each face (a point) or of each unknown's control interval.

    In integers, units of half a spacing over the number of blocks, so that the parts sum to one exactly where interfaces
    lie on nodes.
    """
    n, boundary = grid.shape[axis], grid.box.conditions[axis]
    intervals = n - 1 if boundary == "dirichlet" else n
    if faces:
        first, count = {"dirichlet": (1, n - 1), "neumann": (2, n - 1), "periodic": (1, n)}[boundary]
    else:
        first, count = {"dirichlet": (2, n - 2), "neumann": (1, n), "periodic": (0, n)}[boundary]
    centre = (first + 2 * np.arange(count)) * blocks
    half = 1 if faces else blocks  # a face on an interface belongs to both blocks by halves
    low, high = 2 * intervals * i, 2 * intervals * (i + 1)
    wraps = (0, 2 * intervals * blocks) if boundary == "periodic" else (0,)
    inside = np.zeros(count)
    for wrap in wraps:
        inside += np.clip(np.minimum(centre + half + wrap, high) - np.maximum(centre - half + wrap, low), 0, None)
    return inside / (2 * half)


def _outer(factors: list[np.ndarray]) -> np.ndarray:
    return reduce(np.multiply.outer, factors)
