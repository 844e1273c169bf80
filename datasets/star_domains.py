"""−Δu = f with u = 0 on the boundary of random star-shaped domains, on meshes of triangles that differ per sample.

A mesh of the unit disc, turned by a random angle, is mapped to the domain r ≤ R(θ), R = 1 + Σ_k a_k cos(kθ + φ_k), k = 2 … 5. The
equation is solved by linear triangles on the mesh whose cells are divided into four once, and the solution is kept at the nodes
of the mesh itself.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import Delaunay, KDTree

from ..core.arguments import count
from ..core.domains import Mesh, PointCloud
from ..core.precision import in_double
from ..solvers.linear import CG, Jacobi, Sparse, Status, solve
from ..solvers.linear.linear_solve import status_message
from ..solvers.pde.linear_triangles import diffusion, triangles
from .arrays import from_arrays
from .dataset import Dataset

_RTOL = 1e-8  # of the labels


class Disc(NamedTuple):
    """A mesh of the unit disc: points `(n, 2)`, cells `(m, 3)`, the numbers of the points on the circle."""

    points: np.ndarray
    cells: np.ndarray
    circle: np.ndarray


def disc(n: int, seed: int) -> Disc:
    """About `n` points: on the circle evenly spaced, inside those of a triangular lattice, each moved at random."""
    h = np.sqrt(2 * np.pi / np.sqrt(3) / n)
    rng = np.random.default_rng(seed)
    rows = np.arange(-np.ceil(1.2 / h), np.ceil(1.2 / h) + 1)
    x, y = np.meshgrid(rows, rows, indexing="ij")
    lattice = np.stack([h * (x + 0.5 * (y % 2)), h * np.sqrt(0.75) * y], -1).reshape(-1, 2)
    lattice = lattice + h * rng.uniform(-0.2, 0.2, lattice.shape)
    inner = lattice[np.hypot(*lattice.T) < 1 - 0.6 * h]
    angles = 2 * np.pi * np.arange(round(2 * np.pi / h)) * h / (round(2 * np.pi / h) * h)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    points = np.concatenate([circle, inner])
    return Disc(points, Delaunay(points).simplices, np.arange(len(circle)))


def divided(mesh: Disc) -> Disc:
    """Every cell in four; the new points between two neighbours on the circle lie on it."""
    sides = np.sort(mesh.cells[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    pairs, place, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    middle = mesh.points[pairs].mean(1)
    outer = count == 1
    middle[outer] /= np.hypot(*middle[outer].T)[:, None]
    n = len(mesh.points)
    (a, b, c), (ab, bc, ca) = mesh.cells.T, (n + place.reshape(-1, 3)).T
    cells = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return Disc(np.concatenate([mesh.points, middle]), cells, np.concatenate([mesh.circle, n + np.flatnonzero(outer)]))


class Law(NamedTuple):
    """A random domain and source: amplitudes and phases of R, the turn of the mesh, waves `(12, 2)`, their sizes and phases."""

    amplitudes: np.ndarray
    phases: np.ndarray
    turn: float
    waves: np.ndarray
    sizes: np.ndarray
    shifts: np.ndarray

    def mapped(self, points: np.ndarray) -> np.ndarray:
        """Points of the unit disc in the domain."""
        angle, length = np.arctan2(points[:, 1], points[:, 0]) + self.turn, np.hypot(*points.T)
        k = np.arange(2, 2 + len(self.amplitudes))
        radius = length * (1 + np.cos(np.outer(angle, k) + self.phases) @ self.amplitudes)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)

    def source(self, points: np.ndarray) -> np.ndarray:
        """f at points of the domain."""
        return np.cos(points @ self.waves.T + self.shifts) @ self.sizes


def law(rng: np.random.Generator) -> Law:
    """A random one."""
    k = np.arange(2, 6)
    return Law(
        rng.uniform(-0.3, 0.3, 4) / np.sqrt(k), rng.uniform(0, 2 * np.pi, 4), rng.uniform(0, 2 * np.pi),
        rng.normal(0, 3, (12, 2)), rng.normal(0, 0.5, 12), rng.uniform(0, 2 * np.pi, 12),
    )  # fmt: skip


def solved(mesh: Disc, laws: list[Law], rtol: float = _RTOL) -> np.ndarray:
    """u at the points of the mesh for every law, `(laws, n)`, by conjugate gradients in float64.

    **Raises:** `RuntimeError` if a solve does not reach `rtol`, the relative residual.
    """
    matrices, loads = [], []
    for one in laws:
        cells = triangles(one.mapped(mesh.points), mesh.cells)
        # The pattern is that of the topology: entries that happen to vanish are kept.
        matrix = diffusion(cells, 1.0, mesh.circle, keep_zeros=True)
        matrix.sort_indices()
        values = np.repeat(one.source(cells.middles) * cells.areas / 3, 3)
        load = np.bincount(cells.cells.ravel(), values, minlength=len(mesh.points))
        load[mesh.circle] = 0
        matrices.append(matrix)
        loads.append(load)
    u, status = _solutions(matrices[0], np.stack([matrix.data for matrix in matrices]), np.stack(loads), rtol)
    if (status != Status.converged).any():
        raise RuntimeError(f"star_domains: {status_message(status[status != Status.converged][0])}")
    return np.asarray(u)


@in_double
def _solutions(pattern, values, loads, rtol: float):
    operator = Sparse.from_scipy(pattern, symmetric=True)
    # As an array, so that one compiled program serves all tolerances.
    return _solve_all(operator, jnp.asarray(values), jnp.asarray(loads), jnp.asarray(rtol))


@eqx.filter_jit
def _solve_all(operator: Sparse, values, loads, rtol):
    def one(values, b):
        found = solve(operator.with_values(values), b, CG(preconditioner=Jacobi(), rtol=rtol))
        return found.value, found.status

    return jax.vmap(one)(values, loads)


class Case(NamedTuple):
    """The domain and source of a sample, and the mesh of the disc that is mapped to it."""

    mesh: Disc
    law: Law


class Samples(NamedTuple):
    """The dataset, with the source `f`, the distance `d` to the boundary and the solution `u`, and the error of its labels."""

    data: Dataset
    label_error: float


def star_cases(n: int, sizes: tuple[int, ...], seed: int) -> list[Case]:
    """The cases of `star_domains` with these arguments, by the ids of its samples."""
    return _cases(n, sizes, np.random.default_rng(seed))


def _cases(n: int, sizes: tuple[int, ...], rng: np.random.Generator) -> list[Case]:
    kinds = [disc(size, seed=1000 + size) for size in sizes]
    return [Case(kinds[i % len(kinds)], law(rng)) for i in range(n)]


def star_domains(n: int, sizes: tuple[int, ...], seed: int) -> Samples:
    """`n` samples on meshes of about these numbers of points, each with its own domain, in random order.

    The error of the labels is estimated on the meshes of the first size by a solve on the mesh itself: of second order, the finer
    solution is off by a third of the difference.
    """
    n, rng = count("star_domains", "n", n), np.random.default_rng(seed)
    cases = _cases(n, sizes, rng)
    capacity = max(len(case.mesh.points) for case in cases)
    fields, clouds, errors = {name: np.zeros((n, capacity), np.float32) for name in "fdu"}, {}, []
    for first in range(min(len(sizes), n)):
        own, mesh = np.arange(first, n, len(sizes)), cases[first].mesh
        laws = [cases[i].law for i in own]
        u = solved(divided(mesh), laws)[:, : len(mesh.points)]
        if first == 0:
            errors = [np.linalg.norm(a - b) / np.linalg.norm(a) / 3 for a, b in zip(u, solved(mesh, laws), strict=True)]
        for i, one, values in zip(own, laws, u, strict=True):
            points = one.mapped(mesh.points)
            clouds[i] = Mesh.from_cells(points, mesh.cells)
            distance = KDTree(points[mesh.circle]).query(points)[0]
            for name, field in zip("fdu", (one.source(points), distance, values), strict=True):
                fields[name][i, : len(points)] = field
    stacked = PointCloud.stack([PointCloud(clouds[i].points, clouds[i].weights) for i in range(n)])
    data = from_arrays({"f": fields["f"], "d": fields["d"]}, {"u": fields["u"]}, points=stacked)
    return Samples(data.select(rng.permutation(n)), float(np.mean(errors)))
