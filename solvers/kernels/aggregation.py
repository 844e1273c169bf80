"""The set-up of smoothed aggregation (Vaněk, Mandel and Brezina 1996): strong connections, aggregates, prolongators.

All of it is host code on SciPy matrices. Matrices are scaled to a unit diagonal. A node is a group of unknowns that stay
together, such as the displacements of one point; `nodes` `(n,)` gives the node of every unknown.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int, Shaped

# A column of an aggregate's candidates that loses all but this part when the columns before it are taken out is dependent.
_DEPENDENT = 1e-6


def strong_connections(matrix: sp.csr_array, nodes: Int[np.ndarray, " n"], threshold: float) -> sp.csr_array:
    """The graph of the nodes that depend on each other: (i, j) with s_ij ≥ threshold · min(max_k s_ik, max_k s_jk), i ≠ j.

    s_ij = ‖A_ij‖ / √(‖A_ii‖ ‖A_jj‖) in the Frobenius norm of the blocks, symmetrised; |a_ij| / √(a_ii a_jj) for scalar
    nodes. Measured against the largest of a row, a node of a mesh with many neighbours keeps its connections, which an absolute
    bound would cut.
    """
    entries, count = matrix.tocoo(), int(nodes.max()) + 1
    places = (nodes[entries.row], nodes[entries.col])
    squares = sp.csr_array(sp.coo_array((entries.data.astype(float) ** 2, places), shape=(count, count)))
    sizes = sp.coo_array((squares + squares.T) / 2)
    size = np.sqrt(np.where((own := sizes.diagonal()) > 0, own, 1))
    off = (sizes.row != sizes.col) & (sizes.data > 0)
    rows, columns = sizes.row[off], sizes.col[off]
    strength = np.sqrt(sizes.data[off] / (size[rows] * size[columns]))
    largest = np.zeros(count)
    np.maximum.at(largest, rows, strength)
    strong = strength >= threshold * np.minimum(largest[rows], largest[columns])
    links = np.ones(strong.sum())
    return sp.csr_array(sp.coo_array((links, (rows[strong], columns[strong])), shape=(count, count)))


def aggregates(graph: sp.csr_array, seed: int = 0) -> Int[np.ndarray, " nodes"]:
    """The aggregate of every node, −1 for nodes without a connection.

    The roots are a maximal set of nodes of which no two are within two links of each other; they are chosen in rounds by
    random priorities (Bell, Dalton and Olson 2012). A neighbour joins its root, a node at two links the aggregate with most of
    its neighbours. So aggregates are connected, and have at least two nodes each.
    """
    count = graph.shape[0]
    priority = np.random.default_rng(seed).permutation(count) + 1
    linked = np.diff(graph.indptr) > 0
    starts = graph.indptr[:-1][linked]

    def largest_near(x):
        """The largest value within one link."""
        found = x.copy()
        if starts.size:
            found[linked] = np.maximum(x[linked], np.maximum.reduceat(x[graph.indices], starts))
        return found

    root, open_ = np.zeros(count, bool), linked.copy()
    while open_.any():
        best = largest_near(largest_near(np.where(open_, priority, 0)))
        root |= open_ & (best == priority)
        open_ &= largest_near(largest_near(root.astype(np.int8))) == 0
    number = np.where(root, np.cumsum(root) - 1, -1)
    links = graph.tocoo()
    for _ in range(2):
        joins = (number[links.row] < 0) & (number[links.col] >= 0)
        votes = sp.coo_array(
            (links.data[joins], (links.row[joins], number[links.col[joins]])), shape=(count, root.sum())
        )
        votes = sp.csr_array(votes).tocoo()
        order = np.lexsort((np.negative(votes.data), votes.row))
        joining, first = np.unique(votes.row[order], return_index=True)
        number[joining] = votes.col[order][first]
    return number


def tentative_prolongator(
    aggregate: Int[np.ndarray, " nodes"], nodes: Int[np.ndarray, " n"], candidates: Float[np.ndarray, "n k"]
) -> tuple[sp.csr_array, Float[np.ndarray, "coarse k"], Int[np.ndarray, " coarse"]]:
    """T with orthonormal columns and T B_c = B on all aggregated unknowns: per aggregate the QR factors of its rows of B.

    Columns that depend on others in an aggregate (rotations of a single point) are left out.

    **Returns:** T, the coarse candidates B_c, and the node (the aggregate) of every coarse unknown.
    """
    (n, width), count = candidates.shape, int(aggregate.max(initial=-1)) + 1
    of_unknown = aggregate[nodes]
    rows = np.argsort(of_unknown, kind="stable")[np.count_nonzero(of_unknown < 0) :]
    group = of_unknown[rows]
    sizes = np.bincount(group, minlength=count)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    local = np.zeros((count, sizes.max(initial=0), width))
    local[group, place] = candidates[rows]
    factor, kept = np.zeros((count, width, width)), np.zeros((count, width), bool)
    for j in range(width):
        before, column = local[:, :, :j], local[:, :, j]
        size = np.linalg.norm(column, axis=1)
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            parts = np.einsum("aik,ai->ak", before, column)
            factor[:, :j, j] += parts
            column = column - np.einsum("aik,ak->ai", before, parts)
        left = np.linalg.norm(column, axis=1)
        kept[:, j] = left > _DEPENDENT * size
        factor[:, j, j] = np.where(kept[:, j], left, 0)
        local[:, :, j] = np.where(kept[:, j], 1 / np.where(kept[:, j], left, 1), 0)[:, None] * column
    number = np.cumsum(kept).reshape(kept.shape) - 1
    inside = kept[group]
    entries = (local[group, place][inside], (np.repeat(rows, inside.sum(1)), number[group][inside]))
    prolongator = sp.csr_array(sp.coo_array(entries, shape=(n, kept.sum())))
    return prolongator, factor[kept], np.nonzero(kept)[0]


def largest_eigenvalue(matrix: sp.csr_array, steps: int = 15, seed: int = 0) -> float:
    """The largest Ritz value of a symmetric matrix after some steps of Lanczos, a few per cent below the eigenvalue."""
    v = np.random.default_rng(seed).normal(size=matrix.shape[0])
    v, before, beta, diagonal, beside = v / _length(v), 0.0, 0.0, [], []
    for _ in range(min(steps, len(v))):
        w = matrix @ v - beta * before
        diagonal.append((v * w).sum())
        w = w - diagonal[-1] * v
        before, beta = v, _length(w)
        if beta <= np.sqrt(np.finfo(float).eps) * abs(diagonal[0]):
            break
        beside.append(beta)
        v = w / beta
    beside = beside[: len(diagonal) - 1]
    return float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[-1])


def _length(v: Float[np.ndarray, " n"]) -> float:
    return np.sqrt((v * v).sum())  # without BLAS, whose threads wait for each other on busy machines


def scaled(matrix: sp.csr_array, left: Shaped[np.ndarray, " n"], right: Shaped[np.ndarray, " m"]) -> sp.csr_array:
    """diag(left) A diag(right)."""
    found = matrix.copy()
    found.data = found.data * np.repeat(left, np.diff(found.indptr)) * right[found.indices]
    return found


class HostLevel(NamedTuple):
    """One level, scaled so that the row sums of |A| are about 1 and the spectrum of a symmetric A ends at 1: `matrix` A, the
    `prolongation` P from the next level and the `restriction` R to it. `skewness`: the largest Σ_j |a_ij − a_ji| / 2 of a
    row."""

    matrix: sp.csr_array
    prolongation: sp.csr_array
    restriction: sp.csr_array
    skewness: float


class HostHierarchy(NamedTuple):
    """Levels from fine to coarse, the dense (pseudo-)`inverse` of the coarsest matrix (None if that stays large) and the `scale`
    `(n,)` of the finest level: its matrix is diag(scale) A diag(scale)."""

    levels: list[HostLevel]
    inverse: Float[np.ndarray, "coarsest coarsest"] | None
    scale: Float[np.ndarray, " n"]


def hierarchy(
    matrix: sp.csr_array,
    nodes: Int[np.ndarray, " n"],
    candidates: Float[np.ndarray, "n k"],
    *,
    threshold: float,
    symmetric: bool,
    coarsest: int = 400,
    rounding: float = np.finfo(float).eps,
) -> HostHierarchy:
    """The levels of smoothed aggregation.

    P = (I − ω D⁻¹ A) T with ω = 4/3 / λmax, R = Pᵀ; where A is not symmetric R = Tᵀ (I − ω A D⁻¹), which is P of Aᵀ
    (Brezina, Manteuffel et al. 2010), and λmax is that of the symmetric part. Coarse matrices are R A P. Coarse unknowns whose
    energy is rounding (a part without a boundary has become one unknown) are left out.

    **Arguments:** `rounding`: relative error of the entries of A.
    """
    root = _unit_scaling(matrix)
    a, b, scale = scaled(matrix, root, root), candidates / root[:, None], root
    found = []
    while a.shape[0] > coarsest:
        transfers = _transfers(a, nodes, b, threshold, symmetric, rounding)
        if transfers is None:
            break
        down, up, b, coarse_nodes = transfers
        coarse = sp.csr_array(down @ a @ up)
        root = _unit_scaling(coarse)
        found.append((a, scaled(up, np.ones(a.shape[0]), root), scaled(down, root, np.ones(a.shape[0]))))
        a, b, nodes = scaled(coarse, root, root), b / root[:, None], coarse_nodes
    sums = [_l1_roots(level[0]) for level in found] + [_l1_roots(a)]
    levels = [
        HostLevel(
            scaled(a, 1 / own, 1 / own),
            scaled(up, own, 1 / below),
            scaled(down, 1 / below, own),
            float((abs(a - a.T).sum(1) / 2 / own**2).max()),
        )
        for (a, up, down), own, below in zip(found, sums[:-1], sums[1:], strict=True)
    ]
    last = sums[-1]
    dense = (
        pseudo_inverse(a.toarray() / np.outer(last, last), symmetric, rounding) if a.shape[0] <= 4 * coarsest else None
    )
    return HostHierarchy(levels, dense, scale / sums[0])


def pseudo_inverse(matrix: Float[np.ndarray, "n n"], symmetric: bool, rounding: float) -> Float[np.ndarray, "n n"]:
    """A⁺, without the eigenvalues (singular values) that are rounding. For a symmetric matrix also without negative ones, so that
    the result is positive semidefinite."""
    cut = 10 * len(matrix) * rounding
    if not symmetric:
        return np.linalg.pinv(matrix, rcond=cut)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > cut * abs(values).max()
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T


def _unit_scaling(matrix: sp.csr_array) -> Float[np.ndarray, " n"]:
    diagonal = abs(matrix.diagonal())
    return 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))


def _l1_roots(matrix: sp.csr_array) -> Float[np.ndarray, " n"]:
    """√Σ_j |a_ij|, 1 for empty rows."""
    sums = abs(matrix).sum(1)
    return np.sqrt(np.where(sums > 0, sums, 1))


def _transfers(a, nodes, candidates, threshold, symmetric, rounding):
    """R, P, the coarse candidates and nodes; None where nothing can be coarsened."""
    tentative, coarse, coarse_nodes = tentative_prolongator(
        aggregates(strong_connections(a, nodes, threshold)), nodes, candidates
    )
    omega = 4 / 3 / largest_eigenvalue(a if symmetric else sp.csr_array((a + a.T) / 2))
    up = sp.csr_array(tentative - omega * (a @ tentative))
    down = sp.csr_array(up.T if symmetric else (tentative - omega * (a.T @ tentative)).T)
    energy = (down.T * (a @ up)).sum(0)
    kept = abs(energy) > 10 * rounding * (abs(down.T) * (abs(a) @ abs(up))).sum(0)
    if not 0 < kept.sum() < a.shape[0]:
        return None
    return down[kept], up[:, kept], coarse[kept], np.unique(coarse_nodes[kept], return_inverse=True)[1]
