"""Linear systems: −∇·(a∇u) with u = 0 on the sides of the unit square or cube, obstacles inside, and their matrices."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import Diffusion, Laplacian

WALLS = ("dirichlet", "dirichlet")


def poisson(shape: Sequence[int]) -> Laplacian:
    """−Δ at `shape` interior nodes."""
    return Laplacian(tuple(shape), tuple(1 / (n + 1) for n in shape), ("dirichlet",) * len(shape))


def diffusion(a) -> Diffusion:
    """−∇·(a∇u) at the interior nodes of a square, from a at all nodes `(n + 2, n + 2)`; harmonic means on faces."""
    n = a.shape[0] - 2
    return Diffusion(stencil.face_means(a, WALLS, "harmonic"), (n, n), (1 / (n + 1),) * 2, WALLS)


def nodes(shape: Sequence[int]) -> list[np.ndarray]:
    """Coordinates of the interior nodes, an array `shape` per axis."""
    return np.meshgrid(*(np.arange(1, n + 1) / (n + 1) for n in shape), indexing="ij")


def balls(shape: Sequence[int], centres, radii) -> np.ndarray:
    """Where any of the discs or balls is: booleans `shape`. `centres (k, d)`, `radii (k,)`."""
    points, solid = np.stack(nodes(shape), -1), np.zeros(shape, bool)
    for centre, radius in zip(np.asarray(centres), np.broadcast_to(radii, len(centres)), strict=True):
        solid |= ((points - centre) ** 2).sum(-1) < radius**2
    return solid


def matrix(operator: Diffusion) -> sp.csr_array:
    """The matrix of a diffusion operator with Dirichlet sides, nodes in C order, without stored zeros."""
    shape, entries = operator.shape, {0: np.asarray(operator.diagonal())}
    for axis, (face, h) in enumerate(zip(operator.faces, operator.spacing, strict=True)):
        inner = np.moveaxis(np.asarray(face), axis, 0)[1:-1] / h**2
        # The last node of a line has no neighbour behind it.
        coupling = np.moveaxis(np.concatenate([-inner, np.zeros_like(inner[:1])]), 0, axis)
        stride = int(np.prod(shape[axis + 1 :]))
        entries[stride] = entries[-stride] = coupling.ravel()[:-stride]
    found = sp.diags_array([x.ravel() for x in entries.values()], offsets=list(entries), format="csr")
    found.eliminate_zeros()
    return found
