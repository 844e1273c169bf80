"""Meshes of files with cells of several kinds: points, edges along the sides of cells, and weights."""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from ...core.domains import Mesh, PointCloud

# The sides of the cells that have them, and the simplices into which a cell is cut for its volume, by local numbers of vertices.
_SIDES: dict[str, list[tuple[int, int]]] = {
    "line": [(0, 1)],
    "triangle": [(0, 1), (1, 2), (2, 0)],
    "quad": [(0, 1), (1, 2), (2, 3), (3, 0)],
    "tetra": list(itertools.combinations(range(4), 2)),
    "pyramid": [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4), (2, 4), (3, 4)],
    "wedge": [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)],
    "hexahedron": [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)],
}  # fmt: skip
_SIMPLICES: dict[str, list[tuple[int, ...]]] = {
    "line": [(0, 1)],
    "triangle": [(0, 1, 2)],
    "quad": [(0, 1, 2), (0, 2, 3)],
    "tetra": [(0, 1, 2, 3)],
    "pyramid": [(0, 1, 2, 4), (0, 2, 3, 4)],
    "wedge": [(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)],
    "hexahedron": [(0, 1, 3, 4), (1, 2, 3, 6), (1, 3, 4, 6), (1, 4, 5, 6), (3, 4, 6, 7)],
}
_DIMENSION = {"line": 1, "triangle": 2, "quad": 2, "tetra": 3, "pyramid": 3, "wedge": 3, "hexahedron": 3}


def domain_of(points: np.ndarray, cells: Mapping[str, np.ndarray]) -> Mesh | PointCloud:
    """The mesh of some points and of the cells of the highest dimension; without known cells the cloud of the points.

    A coordinate that is the same at all points is dropped. A point weighs its share of the volumes of its cells, which are cut
    into simplices; that is exact for cells with plane faces.

    **Arguments:** `points` `(n, d)`; `cells`: the vertices `(m, k)` of every cell, by the kind of cell (meshio's names).

    **Raises:** `ValueError` for cells that name points that do not exist.
    """
    points = np.asarray(points, np.float64)
    varies = np.ptp(points, axis=0) > 0 if len(points) else np.ones(points.shape[1], bool)
    points = points[:, varies] if varies.any() else points
    known = {kind: np.asarray(c) for kind, c in cells.items() if kind in _DIMENSION and np.size(c)}
    top = max((_DIMENSION[kind] for kind in known), default=0)
    known = {kind: c for kind, c in known.items() if _DIMENSION[kind] == top}
    if not known:
        return PointCloud(points)
    weights, pairs = np.zeros(len(points)), []
    for kind, vertices in known.items():
        if vertices.min() < 0 or vertices.max() >= len(points):
            raise ValueError(
                f"cells of the kind {kind} name points {vertices.min()} to {vertices.max()} of {len(points)}"
            )
        for simplex in _SIMPLICES[kind]:
            corners = vertices[:, list(simplex)]
            share = _volumes(points[corners]) / len(simplex)
            weights += np.bincount(corners.ravel(), np.repeat(share, len(simplex)), minlength=len(points))
        pairs += [vertices[:, [i, j]] for i, j in _SIDES[kind]] + [vertices[:, [j, i]] for i, j in _SIDES[kind]]
    return Mesh(points, np.unique(np.concatenate(pairs), axis=0), weights)


def _volumes(corners: np.ndarray) -> np.ndarray:
    """Volumes of simplices `(m, k+1, d)` in d ≥ k dimensions, √det(EᵀE) / k! with the edges E from the first corner."""
    edges = corners[:, 1:] - corners[:, :1]
    gram = np.einsum("mid,mjd->mij", edges, edges)
    return np.sqrt(np.maximum(np.linalg.det(gram), 0)) / math.factorial(edges.shape[1])
