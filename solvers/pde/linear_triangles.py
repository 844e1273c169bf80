"""Linear triangles: matrices of finite elements on meshes of the plane, assembled by NumPy for `linear.Sparse.from_scipy`."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


class Triangles(NamedTuple):
    """Points `(n, 2)`, cells `(m, 3)`, the gradients `(m, 3, 2)` of their basis functions and their areas `(m,)`."""

    points: np.ndarray
    cells: np.ndarray
    gradients: np.ndarray
    areas: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        """The centres of the cells `(m, 2)`."""
        return self.points[self.cells].mean(1)

    @property
    def boundary(self) -> np.ndarray:
        """Numbers of the points on the boundary, increasing: the ends of sides that belong to one cell alone."""
        sides = np.sort(self.cells[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1).astype(np.int64)
        found, count = np.unique(sides @ [len(self.points), 1], return_counts=True)
        outer = found[count == 1]
        return np.unique([outer // len(self.points), outer % len(self.points)])


def triangles(points: np.ndarray, cells: np.ndarray) -> Triangles:
    """The mesh of these cells, without those of no area."""
    a, b, c = (points[cells[:, k]] for k in range(3))
    opposite = np.stack([c - b, a - c, b - a], 1)
    double = opposite[:, 2, 0] * -opposite[:, 1, 1] + opposite[:, 2, 1] * opposite[:, 1, 0]
    real = abs(double) > 1e-14
    turned = np.stack([-opposite[..., 1], opposite[..., 0]], -1)
    return Triangles(points, cells[real], (turned[real] / double[real, None, None]), abs(double[real]) / 2)


def diffusion(mesh: Triangles, coefficient, fixed, velocity=(0.0, 0.0), keep_zeros: bool = False) -> sp.csr_array:
    """−∇·(a∇u) + v·∇u with a per triangle; the rows and columns of the points `fixed` are those of the identity. With
    `keep_zeros` the pattern is that of the cells, whatever the values."""
    stiffness = np.einsum("eid,ejd->eij", mesh.gradients, mesh.gradients)
    local = stiffness * (np.broadcast_to(coefficient, mesh.areas.shape) * mesh.areas)[:, None, None]
    transport = np.einsum("d,ejd->ej", np.asarray(velocity), mesh.gradients) * mesh.areas[:, None] / 3
    return with_identity(assembled(mesh.cells, local + transport[:, None, :], len(mesh.points)), fixed, keep_zeros)


def assembled(unknowns: np.ndarray, local: np.ndarray, n: int) -> sp.csr_array:
    """The sum of the matrices `(m, k, k)` of all cells, whose unknowns have the numbers `(m, k)`, as a matrix of n unknowns."""
    width = unknowns.shape[1]
    rows, columns = np.repeat(unknowns[:, :, None], width, 2), np.repeat(unknowns[:, None, :], width, 1)
    return sp.csr_array(sp.coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))


def with_identity(matrix: sp.csr_array, fixed, keep_zeros: bool = False) -> sp.csr_array:
    """The matrix with the identity in the rows and columns of `fixed`."""
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
