"""Matrices of linear triangles on irregular meshes of the unit square: diffusion with jumps, convection, plane elasticity."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.spatial import Delaunay


class Triangles(NamedTuple):
    """Points `(n, 2)`, cells `(m, 3)`, the gradients `(m, 3, 2)` of their basis functions and their areas `(m,)`."""

    points: np.ndarray
    cells: np.ndarray
    gradients: np.ndarray
    areas: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        return self.points[self.cells].mean(1)

    @property
    def boundary(self) -> np.ndarray:
        """Numbers of the points on the sides of the square."""
        return np.flatnonzero((self.points.min(1) == 0) | (self.points.max(1) == 1))


def irregular(n: int, seed: int = 0) -> Triangles:
    """A Delaunay mesh of `n` points, drawn uniformly inside of the square and spaced evenly on its sides."""
    side = round(np.sqrt(n) / 2)
    t, zero, one = np.arange(side) / side, np.zeros(side), np.ones(side)
    edges = [np.stack(pair, 1) for pair in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))]
    inner = np.random.default_rng(seed).uniform(0.2 / side, 1 - 0.2 / side, (n - 4 * side, 2))
    points = np.concatenate([*edges, inner])
    return triangles(points, Delaunay(points).simplices)


def triangles(points: np.ndarray, cells: np.ndarray) -> Triangles:
    """The mesh of these cells, without those of no area."""
    a, b, c = (points[cells[:, k]] for k in range(3))
    opposite = np.stack([c - b, a - c, b - a], 1)
    double = opposite[:, 2, 0] * -opposite[:, 1, 1] + opposite[:, 2, 1] * opposite[:, 1, 0]
    real = abs(double) > 1e-14
    turned = np.stack([-opposite[..., 1], opposite[..., 0]], -1)
    return Triangles(points, cells[real], (turned[real] / double[real, None, None]), abs(double[real]) / 2)


def patches(mesh: Triangles, contrast: float) -> np.ndarray:
    """A coefficient per triangle that jumps between 1 and `contrast` across the outlines of large and small patches."""
    x, y = mesh.middles.T
    inside = np.sin(7 * x + 2) * np.sin(9 * y + 1) + 0.3 * np.sin(31 * x) * np.sin(27 * y) > 0.1
    return np.where(inside, contrast, 1.0)


def diffusion(mesh: Triangles, coefficient, fixed, velocity=(0.0, 0.0), keep_zeros: bool = False) -> sp.csr_array:
    """−∇·(a∇u) + v·∇u with a per triangle; the rows and columns of the points `fixed` are those of the identity. With
    `keep_zeros` the pattern is that of the cells, whatever the values."""
    stiffness = np.einsum("eid,ejd->eij", mesh.gradients, mesh.gradients)
    local = stiffness * (np.broadcast_to(coefficient, mesh.areas.shape) * mesh.areas)[:, None, None]
    transport = np.einsum("d,ejd->ej", np.asarray(velocity), mesh.gradients) * mesh.areas[:, None] / 3
    return _without(_assembled(mesh.cells, local + transport[:, None, :], len(mesh.points)), fixed, keep_zeros)


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
    matrix = _without(_assembled(unknowns, local, 2 * n), np.concatenate([clamped, clamped + 1]))
    x, y = mesh.points.T - 0.5
    motions = np.zeros((2 * n, 3))
    motions[0::2] = np.stack([np.ones(n), np.zeros(n), -y], 1)
    motions[1::2] = np.stack([np.zeros(n), np.ones(n), x], 1)
    return matrix, motions


def _assembled(unknowns, local, n: int) -> sp.csr_array:
    width = unknowns.shape[1]
    rows, columns = np.repeat(unknowns[:, :, None], width, 2), np.repeat(unknowns[:, None, :], width, 1)
    return sp.csr_array(sp.coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))


def _without(matrix: sp.csr_array, fixed, keep_zeros: bool = False) -> sp.csr_array:
    """With the identity in the rows and columns of `fixed`."""
    free = np.ones(matrix.shape[0])
    free[fixed] = 0
    entries = matrix.tocoo()
    rows, columns = entries.coords
    # The entries are multiplied one by one: a product of matrices would drop explicit zeros.
    data = entries.data * free[rows] * free[columns] + np.where(rows == columns, 1 - free[rows], 0)
    found = sp.csr_array(sp.coo_array((data, (rows, columns)), shape=matrix.shape))
    if not keep_zeros:
        found.eliminate_zeros()
    return found
