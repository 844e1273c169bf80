"""Systems on irregular meshes of the unit square: coefficients with jumps, plane elasticity."""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import Delaunay

from surrogax.solvers.pde.linear_triangles import Triangles, assembled, triangles, with_identity
from surrogax.solvers.pde.linear_triangles import diffusion as diffusion


def irregular(n: int, seed: int = 0) -> Triangles:
    """A Delaunay mesh of `n` points, drawn uniformly inside of the square and spaced evenly on its sides."""
    side = round(np.sqrt(n) / 2)
    t, zero, one = np.arange(side) / side, np.zeros(side), np.ones(side)
    edges = [np.stack(pair, 1) for pair in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))]
    inner = np.random.default_rng(seed).uniform(0.2 / side, 1 - 0.2 / side, (n - 4 * side, 2))
    points = np.concatenate([*edges, inner])
    return triangles(points, Delaunay(points).simplices)


def patches(mesh: Triangles, contrast: float) -> np.ndarray:
    """A coefficient per triangle that jumps between 1 and `contrast` across the outlines of large and small patches."""
    x, y = mesh.middles.T
    inside = np.sin(7 * x + 2) * np.sin(9 * y + 1) + 0.3 * np.sin(31 * x) * np.sin(27 * y) > 0.1
    return np.where(inside, contrast, 1.0)


def elasticity(mesh: Triangles, poisson: float = 0.3) -> tuple[sp.csr_array, np.ndarray]:
    """Plane stress with Young's modulus 1, clamped on the left: the matrix for (u_x, u_y) point by point, and the three rigid
    motions `(2n, 3)`."""
    gradients, n = mesh.gradients, len(mesh.points)
    strain = np.zeros((len(mesh.cells), 3, 6))
    strain[:, 0, 0::2] = strain[:, 2, 1::2] = gradients[..., 0]
    strain[:, 1, 1::2] = strain[:, 2, 0::2] = gradients[..., 1]
    law = np.array([[1, poisson, 0], [poisson, 1, 0], [0, 0, (1 - poisson) / 2]]) / (1 - poisson**2)
    local = np.einsum("eai,ab,ebj,e->eij", strain, law, strain, mesh.areas)
    unknowns = (2 * mesh.cells[:, :, None] + np.arange(2)).reshape(-1, 6)
    clamped = 2 * np.flatnonzero(mesh.points[:, 0] == 0)
    matrix = with_identity(assembled(unknowns, local, 2 * n), np.concatenate([clamped, clamped + 1]))
    x, y = mesh.points.T - 0.5
    motions = np.zeros((2 * n, 3))
    motions[0::2] = np.stack([np.ones(n), np.zeros(n), -y], 1)
    motions[1::2] = np.stack([np.zeros(n), np.ones(n), x], 1)
    return matrix, motions
