"""Dissimilarities between snapshots, from one Gram matrix: sine, L2 distance, normalised L2 distance."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ....core.arguments import checked, kind
from ....core.precision import in_double
from ..basis.compiled_svd import OneDevice, gram_matrix
from ..basis.inner_product import MeasuredRows, Product, inner_product

Products = Product | Mapping[str, Product]
"""One product for all fields, or a mapping with the names of the fields."""

Snapshots = Float[Array | np.ndarray, "n points"] | Mapping[str, Array | np.ndarray]
"""Rows `(n, points)`, or such arrays of several fields by name, with points of their own."""

# Squared dissimilarities of unit snapshots below this are formed anew from differences: from the Gram matrix their relative
# error of about 1e-16 / δ² would exceed 1e-10.
_CLOSE = 1e-6
_PAIRS = 4096  # of these are refined in one call


@checked
@in_double(promote=False)
def gram(snapshots: Float[Array | np.ndarray, "n points"], product: Product = None) -> Float[np.ndarray, "n n"]:
    """G_ij = ⟨u_i, u_j⟩ = u_iᵀ M u_j of the rows, accumulated in float64 also from float32, without a converted copy.

    The one product with all points that `pod(…, gram=G)` and the dissimilarities need; it costs n² · points
    multiplications, everything after it is of size n.

    **Arguments:** `product`: M as for `pod`, None for the Euclidean product.

    **Raises:** `ValueError` for snapshots with NaN or infinity (naming the row), a product of the wrong size, one that is not
    symmetric, or under which a snapshot has a negative square.

    **Example:**

        >>> snapshots = np.eye(3, 5)
        >>> sx.reduced.gram(snapshots).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return _gram(inner_product(product).checked(snapshots))


@checked
def sine(
    snapshots: Snapshots, product: Products = None, *, gram: Float[np.ndarray, "_ _"] | None = None
) -> Float[np.ndarray, "n n"]:
    """δ(u, v) = √(1 − ⟨u, v⟩²/(‖u‖²‖v‖²)), the sine of the angle between the lines through two snapshots.

    It is the relative error min_α ‖u − αv‖/‖u‖ of u in the basis of v alone, whatever their sizes and signs; so k-medoids on
    sines chooses the k snapshots with the least mean error as local bases of one vector. [A short derivation, not a
    statement of the paper: put α = ⟨u, v⟩/‖v‖².]

    Pairs with δ < 1e-3 are formed as ‖û − ⟨û, v̂⟩ v̂‖ of the normalised snapshots, since 1 − ⟨û, v̂⟩² cancels to a floor of
    1e-8; angles are right down to 1e-15 for float64 snapshots. That costs a few operations per point for every such pair.

    **Arguments:**

    - `snapshots`: rows `(n, points)`, float32 or float64. A mapping of several fields gives √(mean of δ² over the fields).
    - `product`: M as for `pod`; for several fields one for all, or a mapping with the names of the fields.
    - `gram`: the matrix of `gram(snapshots, product)` if it is known already (one field).

    Returns a symmetric matrix in float64 with zero diagonal.

    **Raises:** `ValueError` as `gram` does, and for a zero snapshot, whose line is not defined (naming its row).

    T. Daniel, F. Casenave, N. Akkari, A. Ketata, D. Ryckelynck, Physics-informed cluster analysis and a priori efficiency
    criterion for the construction of local reduced-order bases, arXiv:2103.13683, propose it for clustering snapshots.

    **Example:**

        >>> sx.reduced.sine(np.array([[1.0, 0], [0, 1], [1, 0]])).round(6).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """

    def squared(system, g):
        size = _norms(g)
        cosine = g / np.outer(size, size)
        return _refined(system, 1 - cosine**2, 1 / size, cosine)

    return _over_fields(squared, snapshots, product, gram)


@checked
def normalized_l2(
    snapshots: Snapshots, product: Products = None, *, gram: Float[np.ndarray, "_ _"] | None = None
) -> Float[np.ndarray, "n n"]:
    """‖u/‖u‖ − v/‖v‖‖ in [0, 2]; blind to sizes but not to signs. Arguments, accuracy and errors raised are those of `sine`.

    **Example:**

        >>> sx.reduced.normalized_l2(np.array([[1.0, 0], [2, 0], [0, 1]])).shape
        (3, 3)
    """

    def squared(system, g):
        size = _norms(g)
        return _refined(system, 2 - 2 * g / np.outer(size, size), 1 / size, np.ones_like(g))

    return _over_fields(squared, snapshots, product, gram)


@checked
def l2(
    snapshots: Snapshots, product: Products = None, *, gram: Float[np.ndarray, "_ _"] | None = None
) -> Float[np.ndarray, "n n"]:
    """‖u − v‖; of several fields √(mean of ‖u − v‖²/mean_i ‖u_i‖²), each measured by its mean size over the snapshots.

    Arguments, accuracy and errors raised are those of `sine`; zero snapshots are allowed.

    **Example:**

        >>> sx.reduced.l2(np.array([[0.0, 0], [3, 4]])).round(5).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    several = isinstance(snapshots, Mapping)

    def squared(system, g):
        square = g.diagonal()
        distance = square + square[:, None] - 2 * g
        close = distance < _CLOSE * (square + square[:, None])
        distance = _refined(system, distance, np.ones(len(g)), np.ones_like(g), close)
        return distance / (square.mean() or 1) if several else distance

    return _over_fields(squared, snapshots, product, gram)


def _over_fields(squared: Callable, snapshots: Snapshots, product: Products, gram) -> Float[np.ndarray, "n n"]:
    """√ of the mean over the fields of `squared(system, Gram matrix)`."""
    fields: list[Any] = list(snapshots.values()) if isinstance(snapshots, Mapping) and snapshots else [snapshots]
    for rows in fields:
        advice = "pass an array (snapshots, points), or a dict of them"
        kind("dissimilarity", "snapshots", rows, (np.ndarray, jax.Array), advice)
        if rows.ndim != 2 or rows.dtype.kind not in "fiub":
            raise ValueError(f"snapshots: expected real numbers (snapshots, points), got {rows.dtype} {rows.shape}")
    if not isinstance(snapshots, Mapping):
        if isinstance(product, Mapping):
            raise ValueError(f"product: fields {sorted(product)}, but the snapshots are one array")
        return np.sqrt(_one_field(squared, snapshots, product, gram))
    if gram is not None:
        raise ValueError("gram: one matrix cannot serve several fields; leave it out")
    products = product if isinstance(product, Mapping) else dict.fromkeys(snapshots, product)
    if set(products) != set(snapshots):
        raise ValueError(f"product: fields {sorted(products)} for snapshots of {sorted(snapshots)}")
    total = 0
    for name, field in snapshots.items():
        try:
            total = total + _one_field(squared, field, products[name], None)
        except ValueError as error:
            raise ValueError(f"field {name!r}: {error}") from None
    return np.sqrt(total / len(snapshots))


@in_double(promote=False)
def _one_field(squared: Callable, snapshots, product: Product, gram):
    system = inner_product(product).checked(snapshots)
    n = len(snapshots)
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"gram: shape {gram.shape} for {n} snapshots")
    return squared(system, _gram(system) if gram is None else gram)


def _gram(system: MeasuredRows) -> Float[np.ndarray, "n n"]:
    g = np.asarray(gram_matrix(system, OneDevice()))
    bad = np.flatnonzero(~np.isfinite(g.diagonal()))
    if len(bad):
        raise ValueError(f"snapshot {bad[0]} holds NaN, infinity or values whose squares overflow")
    if g.diagonal().min() < 0:
        raise ValueError(f"product: not positive definite, snapshot {g.diagonal().argmin()} has a negative square")
    return (g + g.T) / 2


def _norms(g) -> Float[np.ndarray, " n"]:
    zero = np.flatnonzero(g.diagonal() <= 0)
    if len(zero):
        raise ValueError(f"snapshot {zero[0]} is zero and has no direction; leave it out")
    return np.sqrt(g.diagonal())


def _refined(system, squared, scale, factor, close=None) -> Float[np.ndarray, "n n"]:
    """`squared` with zero diagonal, the entries of `close` pairs replaced by ‖a_j u_j − f_ij a_i u_i‖²; a is `scale`, f is
    `factor`."""
    close = squared < _CLOSE if close is None else close
    i, j = np.nonzero(np.triu(close, 1))
    squared = np.maximum(squared, 0)
    np.fill_diagonal(squared, 0)
    for begin in range(0, len(i), _PAIRS):
        pairs = np.stack([i[begin : begin + _PAIRS], j[begin : begin + _PAIRS]], 1)
        f = factor[pairs[:, 0], pairs[:, 1]]
        padding = _PAIRS - len(pairs)  # one shape, one compilation
        values = _differences(system, scale, np.pad(pairs, ((0, padding), (0, 0))), np.pad(f, (0, padding)))
        values = np.asarray(values)[: len(pairs)]
        squared[pairs[:, 0], pairs[:, 1]] = squared[pairs[:, 1], pairs[:, 0]] = values
    return squared


@jax.jit
def _differences(system: MeasuredRows, scale, pairs, factor):
    rows, weights, duals = system

    def of_pair(pair_and_factor):
        (i, j), f = pair_and_factor
        difference, dual = (
            scale[j] * x[j].astype(jnp.float64) - f * scale[i] * x[i].astype(jnp.float64)
            for x in (rows, rows if duals is None else duals)
        )
        return (difference * (dual if weights is None else dual * weights)).sum()

    together = max(1, 2**20 // rows.shape[1])
    return jnp.maximum(jax.lax.map(of_pair, (pairs, factor), batch_size=min(together, len(pairs))), 0)
