"""Triangular parts of a sparse matrix, colour by colour.

Unknowns of one colour are not coupled, so that a sweep over a matrix takes as many steps as it has colours: 2 for a 5-point
stencil (red-black order), 6 to 8 for a mesh of triangles. With the unknowns ordered by colours, A = D + L + U, where L
couples to earlier colours.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, Int, ScalarLike

from ...core.arrays import AnyArray
from .sparse_rows import RowMatrix, RowPattern


class Part(eqx.Module):
    """The rows of one colour in L or U: their pattern, and the positions of their values among those of the matrix."""

    pattern: RowPattern
    entries: Int[AnyArray, " k"]


class ColourPattern(eqx.Module):
    """The pattern of a matrix sorted by colour, made on the host (`colour_pattern`).

    **Fields:** `order`: the unknowns, colour by colour; `places`: where each unknown is in it; `diagonal`: positions of the
    diagonal entries among the values, their number where there is none; `lower` and `upper`: per colour its rows of L and
    U, None where there are none; `ends`: of the colours in the order.
    """

    order: Int[AnyArray, " n"]
    places: Int[AnyArray, " n"]
    diagonal: Int[AnyArray, " n"]
    lower: tuple[Part | None, ...]
    upper: tuple[Part | None, ...]
    ends: tuple[int, ...] = eqx.field(static=True)


class ColouredMatrix(eqx.Module):
    """D, L and U of one matrix."""

    pattern: ColourPattern
    diagonal: Float[Array, " n"]
    lower: tuple[RowMatrix | None, ...]
    upper: tuple[RowMatrix | None, ...]

    def sort(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The unknowns by colours."""
        return x[self.pattern.order]

    def unsort(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The inverse of `sort`."""
        return x[self.pattern.places]

    def spans(self) -> list[slice]:
        """The places of every colour."""
        ends = self.pattern.ends
        return [slice(start, end) for start, end in zip((0, *ends), ends, strict=False)]


def colour_pattern(rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], n: int) -> ColourPattern:
    """Host code. Each unknown in turn takes the first colour that none of its neighbours has; entries in any order."""
    colours = greedy_colours(rows, cols, n)
    order = np.argsort(colours, kind="stable").astype(np.int32)
    places = np.empty(n, np.int32)
    places[order] = np.arange(n)
    ends = np.cumsum(np.bincount(colours)).tolist()
    diagonal = np.full(n, len(rows), np.int32)
    on = np.flatnonzero(rows == cols)
    diagonal[places[rows[on]]] = on

    def parts(chosen: np.ndarray) -> tuple[Part | None, ...]:
        entries = np.flatnonzero(chosen)
        entries = entries[np.lexsort((places[cols[entries]], places[rows[entries]]))]
        cuts = np.searchsorted(places[rows[entries]], ends)
        found = []
        for start, end, first, last in zip((0, *ends), ends, (0, *cuts), cuts, strict=False):
            own = entries[first:last]
            pattern = (
                RowPattern.of(places[rows[own]] - start, places[cols[own]], (end - start, n)) if own.size else None
            )
            found.append(None if pattern is None else Part(pattern, own.astype(np.int32)))
        return tuple(found)

    before = colours[cols] < colours[rows]
    after = colours[cols] > colours[rows]
    return ColourPattern(order, places, diagonal, parts(before), parts(after), tuple(ends))


def greedy_colours(rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], n: int) -> Int[np.ndarray, " n"]:
    """The colour of every unknown, 0 first."""
    off = rows != cols
    links = sp.csr_array(sp.coo_array((np.ones(off.sum(), bool), (rows[off], cols[off])), shape=(n, n)))
    links = sp.csr_array(links + links.T)
    neighbours = [part.tolist() for part in np.split(links.indices, links.indptr[1:-1])]
    colours = [-1] * n
    for i, near in enumerate(neighbours):
        taken = {colours[j] for j in near}
        colour = 0
        while colour in taken:
            colour += 1
        colours[i] = colour
    return np.array(colours)


def coloured(pattern: ColourPattern, values: Float[Array, " nnz"]) -> ColouredMatrix:
    """The matrix with these values. A zero on the diagonal is taken as 1."""
    diagonal = jnp.append(values, 0)[pattern.diagonal]
    lower, upper = (
        tuple(None if part is None else part.pattern.with_values(values[part.entries]) for part in parts)
        for parts in (pattern.lower, pattern.upper)
    )
    return ColouredMatrix(pattern, jnp.where(diagonal == 0, 1, diagonal), lower, upper)


def solve_lower(matrix: ColouredMatrix, r: Float[Array, " n"], omega: ScalarLike) -> Float[Array, " n"]:
    """(D + ω L)⁻¹ r, sorted by colour."""
    return _substitute(matrix, matrix.lower, r, omega, 1)


def solve_upper(matrix: ColouredMatrix, r: Float[Array, " n"], omega: ScalarLike) -> Float[Array, " n"]:
    """(D + ω U)⁻¹ r, sorted by colour."""
    return _substitute(matrix, matrix.upper, r, omega, -1)


def apply_upper(matrix: ColouredMatrix, x: Float[Array, " n"]) -> Float[Array, " n"]:
    """U x, sorted by colour."""
    spans = matrix.spans()
    parts = [_product(rows, x, span) for rows, span in zip(matrix.upper, spans, strict=True)]
    return jnp.concatenate(parts)


def sor_sweep(
    matrix: ColouredMatrix, x: Float[Array, " n"], above: Float[Array, " n"], b: Float[Array, " n"], omega: ScalarLike
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """One iteration of successive over-relaxation, x ← x + ω D⁻¹ (b − A x) colour after colour, for the price of one product.

    What a colour meets needs L x of the new x and U x of the old one. The latter is kept: after the sweep U x is computed
    anew, and with it the residual, of which each colour's own step leaves (1 − ω).

    **Arguments:** `above`: U x. **Returns:** x, U x and the residual b − A x, all sorted by colour.
    """
    omega, met = jnp.asarray(omega, x.dtype), []
    rest = b - matrix.diagonal * x - above
    for rows, span in zip(matrix.lower, matrix.spans(), strict=True):
        met.append(rest[span] - _product(rows, x, span))
        x = x.at[span].add(omega * met[-1] / matrix.diagonal[span])
    new = apply_upper(matrix, x)
    return x, new, (1 - omega) * jnp.concatenate(met) - (new - above)


def _substitute(matrix: ColouredMatrix, parts, r, omega, direction: int):
    x, omega = jnp.zeros_like(r), jnp.asarray(omega, r.dtype)
    for rows, span in list(zip(parts, matrix.spans(), strict=True))[::direction]:
        x = x.at[span].set((r[span] - omega * _product(rows, x, span)) / matrix.diagonal[span])
    return x


def _product(rows: RowMatrix | None, x: Float[Array, " n"], span: slice) -> Float[Array, " k"]:
    return jnp.zeros(span.stop - span.start, x.dtype) if rows is None else rows(x)
