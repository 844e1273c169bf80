"""Dissimilarities between blocks of snapshots, for example trajectories: by the subspaces that they span."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....core.arguments import checked
from ....core.precision import in_double
from ....solvers.kernels.gram import cross_gram
from ..basis.inner_product import AbstractInnerProduct, Product, inner_product
from ..basis.pod import pod

Blocks = Sequence[Float[np.ndarray, "_ points"] | Float[Array, "_ points"]]

_CLOSE = 1e-6  # squared errors below this are formed anew from the residual itself


@checked
def chordal_sine(
    blocks: Blocks, product: Product = None, *, rank: int | None = None, energy: float = 0.9999
) -> Float[np.ndarray, "n n"]:
    """δ² = (Σ_k sin² θ_k)/min(p, q) of the principal angles θ_k between the POD spaces, of dimensions p and q, of two blocks.

    Zero where one space contains the other; the sine for blocks of one snapshot. Every direction counts the same, so that
    directions of noise must be cut off by `rank` or `energy`; `projection_error` weighs them by size. This is our own
    generalisation of `sine` to several snapshots.

    **Arguments:** `blocks`: arrays `(snapshots, points)`, of any lengths; `product`, `rank`, `energy` as for `pod`.

    **Raises:** `ValueError` as `pod` does, naming the block.

    **Example:**

        >>> planes = [np.eye(4)[:2], np.eye(4)[1:3], np.eye(4)[2:]]                           # two of four axes each
        >>> sx.reduced.chordal_sine(planes).round(3).tolist()
        [[0.0, 0.707, 1.0], [0.707, 0.0, 0.707], [1.0, 0.707, 0.0]]
    """
    m = inner_product(product)
    modes = _modes(blocks, m, rank, energy)
    squared = _left_over(modes, modes, m)
    return _zero_diagonal(np.minimum(squared, squared.T))  # the smaller space projected onto the larger


@checked
def projection_error(
    blocks: Blocks, product: Product = None, *, rank: int | None = None, energy: float = 0.9999
) -> Float[np.ndarray, "n n"]:
    """δ² = (e(i→j)² + e(j→i)²)/2 with e(i→j)² = ‖S_i − P_j S_i‖²/‖S_i‖², the mean-square relative error of the snapshots of
    one block projected onto the POD space of the other.

    The sine for blocks of one snapshot; zero only if the spaces are equal, apart from what `rank` and `energy` cut off. The
    diagonal is set to zero. The definition is ours. Arguments and errors raised are those of `chordal_sine`.

    **Example:**

        >>> planes = [np.eye(4)[:2], np.eye(4)[1:3], np.eye(4)[2:]]                           # two of four axes each
        >>> sx.reduced.projection_error(planes).round(3).tolist()
        [[0.0, 0.707, 1.0], [0.707, 0.0, 0.707], [1.0, 0.707, 0.0]]
    """
    m = inner_product(product)
    modes = _modes(blocks, m, rank, energy)
    squared = _left_over([np.asarray(block, np.float64) for block in blocks], modes, m)
    return _zero_diagonal((squared + squared.T) / 2)


def _modes(
    blocks: Blocks, product: AbstractInnerProduct, rank: int | None, energy: float
) -> list[Float[np.ndarray, "r points"]]:
    modes = []
    for i, block in enumerate(blocks):
        try:
            limit = None if rank is None else min(rank, *block.shape)
            modes.append(np.asarray(pod(np.asarray(block, np.float64), product, rank=limit, energy=energy).modes).T)
        except ValueError as error:
            raise ValueError(f"block {i}: {error}") from None
    return modes


@in_double
def _left_over(parts: list, modes: list, product: AbstractInnerProduct):
    """e_ij² = ‖S_i − P_j S_i‖²/‖S_i‖² for rows S_i of `parts`, P_j the projection onto the rows of `modes`."""
    duals = [product.dual(m) for m in modes]
    rows = jnp.concatenate(parts)
    coefficients = np.asarray(cross_gram(rows, jnp.concatenate(duals)))
    own = [np.asarray(part) for part in parts]
    size = np.array([_square(product, part) for part in own])
    begin_rows = np.cumsum([0, *map(len, parts)])
    begin_modes = np.cumsum([0, *map(len, modes)])
    kept = np.add.reduceat(np.add.reduceat(coefficients**2, begin_rows[:-1], 0), begin_modes[:-1], 1)
    squared = np.maximum(1 - kept / size[:, None], 0)
    for i, j in zip(*np.nonzero(squared < _CLOSE), strict=True):
        c = coefficients[begin_rows[i] : begin_rows[i + 1], begin_modes[j] : begin_modes[j + 1]]
        squared[i, j] = _square(product, own[i] - c @ np.asarray(modes[j])) / size[i]
    return squared


def _square(product: AbstractInnerProduct, rows: Float[np.ndarray, "r points"]) -> float:
    """Σ ⟨s, s⟩ over the rows."""
    return float((rows * product.dual(rows)).sum())


def _zero_diagonal(squared: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0))
