"""Proper orthogonal decomposition: one entry, four algorithms (stream, traced, randomised, Gram matrix)."""

import os
from collections.abc import Iterable
from functools import partial
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Shaped

from ....core.arguments import checked, count, kind
from ....core.precision import in_double
from ....core.storage import register, save
from ....solvers.kernels import thin_svd
from ....solvers.kernels.norms import safe_sqrt
from ....solvers.kernels.thin_svd import ThinSVD
from .compiled_svd import (
    OneDevice,
    gram_matrix,
    placement_of,
    refined_spectrum,
    sketched_triplets,
    spectrum_of,
    squared_norms,
    triplets,
)
from .incremental import incremental_svd
from .inner_product import AbstractInnerProduct, Back, Euclidean, MeasuredRows, Product, inner_product
from .truncation import Truncation

Method = Literal["auto", "gram", "two_grams", "randomized"]

_OVERSAMPLING, _POWER = 20, 2
_RANK_STEP = 16


@register("POD")
class POD(eqx.Module):
    """What `pod` returns: snapshots ≈ `coefficients` @ `modes`ᵀ.

    **Fields:**

    - `modes` `(points, r)`, orthonormal in the product; `singular_values` `(r,)`, descending.
    - `coefficients` `(n, r)` of the snapshots; None for a stream.
    - `tail`: √Σ_{j>r} σ_j², the error of the snapshots' projection in the Frobenius norm; for a stream an upper bound.
    - `floor`: singular values below `floor` · σ₁ cannot be told from rounding and are not returned.
    - `method`: the algorithm that ran, and `reason` why.
    - `product`: the inner product.

    **Example:**

        >>> basis = sx.reduced.pod(np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50)), rank=4)
        >>> basis.rank, basis.truncated(2).rank, basis.singular_values.shape
        (4, 2, (4,))
    """

    modes: Float[Array | np.ndarray, "points r"]
    singular_values: Float[Array | np.ndarray, " r"]
    coefficients: Float[Array | np.ndarray, "n r"] | None
    tail: Float[Array | np.ndarray, ""]
    floor: float = eqx.field(static=True)
    method: str = eqx.field(static=True)
    reason: str = eqx.field(static=True)
    product: AbstractInnerProduct = Euclidean()

    @property
    def rank(self) -> int:
        """Number of modes."""
        return self.modes.shape[1]

    def project(self, u: Float[Array | np.ndarray, "*n points"]) -> Float[Array, "*n r"]:
        """Coefficients ΦᵀMu of one field `(points,)` or of many, a row each; under jit, vmap and grad.

        **Raises:** `ValueError` for another number of points."""
        points = self.modes.shape[0]
        if u.shape[-1] != points or u.ndim > 2:
            raise ValueError(
                f"project: fields of shape {u.shape}; expected ({points},), or a row of {points} points for each field"
            )
        return jnp.matmul(jnp.asarray(u), self.product.of_modes(self.modes), precision="highest")

    def lift(self, z: Float[Array | np.ndarray, "*n r"]) -> Float[Array, "*n points"]:
        """The fields Φz of coefficients `(r,)`, or of many, a row each; under jit, vmap and grad.

        **Raises:** `ValueError` for another number of coefficients."""
        if z.shape[-1] != self.rank or z.ndim > 2:
            raise ValueError(
                f"lift: coefficients of shape {z.shape}; expected ({self.rank},), or a row of {self.rank} for each field"
            )
        return jnp.matmul(jnp.asarray(z), jnp.asarray(self.modes).T, precision="highest")

    def truncated(self, rank: int) -> "POD":
        """The first `rank` modes.

        **Raises:** `ValueError` for more modes than there are, or fewer than 1."""
        if count("POD.truncated", "rank", rank) > self.rank:
            raise ValueError(f"truncated(rank={rank}): the basis has {self.rank} modes")
        coefficients = None if self.coefficients is None else self.coefficients[:, :rank]
        tail = safe_sqrt(jnp.asarray(self.tail) ** 2 + (jnp.asarray(self.singular_values)[rank:] ** 2).sum())
        return POD(self.modes[:, :rank], self.singular_values[:rank], coefficients, tail, self.floor, self.method, self.reason,
                   self.product)  # fmt: skip

    def plot(self):
        """A matplotlib figure: the singular values over the first, and the relative error √(Σ_{j>r} σ_j²/Σσ_j²) of r modes."""
        import matplotlib.pyplot as plt

        values, tail = np.asarray(self.singular_values, np.float64), float(self.tail)
        left = np.sqrt(np.append((values**2)[::-1].cumsum()[::-1], 0)[1:] + tail**2)
        total = np.sqrt((values**2).sum() + tail**2) or 1.0
        figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
        modes = np.arange(1, len(values) + 1)
        axes.semilogy(modes, np.maximum(values / (values[0] or 1), 1e-300), "o-", markersize=3, label="σ / σ₁")
        shown = left > 0
        axes.semilogy(modes[shown], left[shown] / total, "--", label="error of the snapshots' projection")
        if self.floor:
            axes.axhline(self.floor, color="grey", linewidth=0.8, label="rounding")
        axes.set(xlabel="modes", title=f"POD of {len(values)} modes, {self.modes.shape[0]} points")
        axes.legend()
        return figure

    def save(self, path: str | os.PathLike) -> None:
        """Write the basis to one file, which `core.storage.load` reads. A product that is a function cannot be written."""
        save(path, self)

    def __repr__(self) -> str:
        source = "a stream" if self.coefficients is None else f"{self.coefficients.shape[0]} snapshots"
        return f"POD({source} of {self.modes.shape[0]} points → {self.rank} modes; {self.method}: {self.reason})"


@checked
def pod(
    snapshots: Shaped[Array | np.ndarray, "..."] | Iterable[np.ndarray],
    product: Product = None,
    *,
    rank: int | None = None,
    energy: float | None = None,
    tail: float | None = None,
    method: Method = "auto",
    gram: Float[Array | np.ndarray, "rows rows"] | None = None,
    key: jax.Array | None = None,
) -> POD:
    """The basis Φ, ΦᵀMΦ = I, that minimises Σ_i ‖s_i − ΦΦᵀM s_i‖²_M among all of its rank.

    Snapshots s_i are ROWS: an array `(snapshots, points)`. Pass the transpose of a matrix whose columns are snapshots; the
    result's repr says what was read ("120 snapshots of 5000 points").

    **Arguments:**

    - `snapshots`: an array, also one distributed over devices along its points; or an iterable of row blocks such as
      `dataset.snapshots("u")`, which is read once and never held (`incremental_svd`; needs `rank`).
    - `product`: M; None for the Euclidean one, non-negative weights `(points,)`, a symmetric positive definite matrix (dense,
      scipy sparse), or a function that applies it to columns `(points, k)`.
    - `rank`, `energy`, `tail`: that many modes; the fewest with Σ_{j≤r} σ² ≥ energy · Σσ² (0.9999, say); the fewest with
      √Σ_{j>r} σ² ≤ tail. The smallest wins; without any, all modes above the floor.
    - `method`:
        - "gram": method of snapshots (Sirovich 1987). One pass; singular values down to 1.5e-8 σ₁.
        - "two_grams": a second pass resolves what the first leaves under rounding, down to √n 2e-16 σ₁, at two to three times
          the cost (`thin_svd.refine_spectrum`).
        - "randomized": Gaussian sketch with two power steps (Halko, Martinsson & Tropp 2011); needs `rank`. Near-optimal: where
          the singular values decay slowly the last ones are some per cent too small.
        - "auto": "gram", and the second pass if a wanted mode lies below √(n ε) σ₁, where the first is no longer accurate;
          "randomized" if only a rank is asked for that is far below n > 1000.
    - `gram`: S M Sᵀ in float64 if it is known already (`dissimilarity.gram`); saves the first pass.
    - `key`: of the sketch; fixed by default.

    Gram matrices are accumulated in float64, also from float32 snapshots, and the modes are re-orthonormalised once. What is
    below the rounding of float32 snapshots themselves, about (√n + √points)/√(n·points) 7e-8 ‖S‖, is no mode either. They are
    returned as NumPy arrays in the precision of the snapshots, fewer than `rank` where the rest is rounding.

    Under jit, vmap and grad `rank` must be given, the product is None or weights, the arithmetic is that of the
    snapshots, modes below the floor are zero, and "auto" is "two_grams" in float32, "gram" in float64.

    **Raises:** `ValueError` for snapshots with NaN or infinity (naming the row), for zero snapshots only, for more modes than
    snapshots or points, for a product that is not symmetric positive definite or has another size, and for
    arguments that would be ignored (a `gram` for a sketch, `energy` under jit).

    **Example:**

        >>> snapshots = np.exp(-np.linspace(1, 5, 20)[:, None] * np.linspace(0, 1, 50))       # a row each
        >>> basis = sx.reduced.pod(snapshots, rank=4)
        >>> basis.modes.shape, bool(np.abs(basis.lift(basis.project(snapshots)) - snapshots).max() < 1e-3)
        ((50, 4), True)
    """
    m, wanted = inner_product(product), Truncation(rank, energy, tail)
    key = jax.random.key(0) if key is None else key
    if not isinstance(snapshots, np.ndarray | jax.Array):
        kind(
            "pod", "snapshots", snapshots, Iterable, "pass an array (snapshots, points), or an iterable of such blocks"
        )
        _refuse("a stream of row blocks", method=method != "auto", gram=gram is not None)
        return _of_stream(snapshots, m, wanted)
    snapshots = _checked(snapshots, wanted)
    if isinstance(snapshots, Tracer):
        _refuse("jit, vmap and grad", energy=energy is not None, tail=tail is not None, gram=gram is not None)
        return _traced(snapshots, m, wanted, method, key)
    if method == "randomized":
        _refuse("method='randomized'", gram=gram is not None)
        return _randomized(snapshots, m, wanted, "as asked", key)
    if method == "auto" and gram is None and _few(snapshots, wanted):
        return _randomized(snapshots, m, wanted, f"{rank} modes of {len(snapshots)} snapshots", key)
    return _by_gram_matrix(snapshots, m, wanted, method, gram)


# The four algorithms --------------------------------------------------------------------------------------------------


def _of_stream(blocks: Iterable[np.ndarray], product: AbstractInnerProduct, wanted: Truncation) -> POD:
    if wanted.rank is None:
        raise ValueError("pod: a stream of row blocks needs `rank`")
    values, right, bound = incremental_svd(blocks, product, wanted.rank)
    kept, floor = wanted.count(values, 0.0), thin_svd.floor(np.float64, wanted.rank, 1)
    bound = np.asarray(bound + np.sqrt((values[kept:] ** 2).sum()))
    return POD(right[:kept].T, values[:kept], None, bound, floor, "incremental", "a stream", product)


def _traced(rows, product: AbstractInnerProduct, wanted: Truncation, method: Method, key) -> POD:
    """With static shapes and in the precision of the rows, so that JAX can transform it."""
    if wanted.rank is None:
        raise ValueError("pod: under jit, vmap or grad the number of modes must be given as `rank`")
    system = product.measured(rows)
    if method == "randomized":
        svd = thin_svd.randomized_svd(*system, rank=wanted.rank, key=key)
    else:
        products = 2 if method == "two_grams" or (method == "auto" and rows.dtype == jnp.float32) else 1
        svd = thin_svd.gram_svd(*system, rank=wanted.rank, products=products)
        method = "two_grams" if products == 2 else "gram"
    rest = rows - jnp.matmul(svd.left, svd.right, precision="highest")
    left_out = safe_sqrt(system._replace(rows=rest).squared_norms().sum())
    floor = thin_svd.floor(rows.dtype, len(rows), 1 if method == "gram" else 2)
    return POD(svd.right.astype(rows.dtype).T, svd.values, svd.left, left_out, floor, method, "traced", product)


@in_double(promote=False)
def _randomized(snapshots, product: AbstractInnerProduct, wanted: Truncation, reason: str, key) -> POD:
    """By a sketch: a few passes over the snapshots whose cost is proportional to the rank."""
    if wanted.rank is None:
        raise ValueError("pod: method='randomized' needs `rank`")
    system = product.checked(snapshots)
    squares = np.asarray(squared_norms(system))
    _check(snapshots, np.sort(squares)[::-1])
    svd = sketched_triplets(system, key, wanted.rank, _OVERSAMPLING, _POWER, placement_of(system.rows))
    left_out = np.sqrt(max(squares.sum() - (np.asarray(svd.values) ** 2).sum(), 0))
    own = _own_rounding(snapshots, np.append(np.asarray(svd.values) ** 2, left_out**2))
    floor = max(thin_svd.floor(np.float64, wanted.rank, 2), own)
    kept = max(int((svd.values > floor * svd.values[0]).sum()), 1)
    return _result(_leading(svd, kept), left_out, floor, "randomized", reason, system.rows.dtype, product)


@in_double(promote=False)
def _by_gram_matrix(snapshots, product: AbstractInnerProduct, wanted: Truncation, method: Method, gram) -> POD:
    """By the eigenvalues of one Gram matrix, or two, formed on the side with fewer rows."""
    n, points = snapshots.shape
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"pod: a Gram matrix of shape {gram.shape} for {n} snapshots")
    if n > points and gram is None:
        product.check(points)
        isometric, back = product.isometric(jnp.asarray(snapshots))
        system, placement, finish = MeasuredRows(isometric.T), OneDevice(), partial(_turned_back, back=back)
    else:
        system, finish = product.checked(snapshots), lambda svd: svd
        placement = placement_of(system.rows)
    dtype = jnp.asarray(snapshots).dtype
    spectrum = spectrum_of(gram_matrix(system, placement) if gram is None else jnp.asarray(gram))
    values = np.asarray(spectrum.values)
    _check(snapshots, values)
    number, own = len(values), _own_rounding(snapshots, np.maximum(values, 0) ** 2)
    floor = max(thin_svd.floor(np.float64, n, 1), own)
    last = wanted.count(values, 0.0)
    reliable = (number * np.finfo(np.float64).eps) ** 0.5
    reason = "as asked" if method != "auto" else f"the wanted modes lie above {reliable:.0e} of the first"
    if method == "auto" and dtype == np.float64 and values[last - 1] < reliable * values[0]:
        method, reason = "two_grams", f"mode {last} lies below {reliable:.0e} of the first"
    if method == "two_grams":
        spectrum = refined_spectrum(system, spectrum, placement)
        values, floor = np.asarray(spectrum.values), max(thin_svd.floor(np.float64, number, 2), own)
    kept = wanted.count(values, floor)
    # Ranks that depend on the data are rounded up, so that one compiled program serves many data sets.
    static = kept if kept == wanted.rank else min(-(-kept // _RANK_STEP) * _RANK_STEP, number)
    svd = triplets(system, spectrum, static, floor, placement)
    kept = max(min(kept, int((np.asarray(svd.values) > 0).sum())), 1)
    svd = finish(_leading(svd, kept))
    left_out = np.sqrt((np.maximum(values[kept:], 0) ** 2).sum())
    return _result(svd, left_out, floor, "two_grams" if method == "two_grams" else "gram", reason, dtype, product)


# Parts of them --------------------------------------------------------------------------------------------------------


def _refuse(where: str, **given: bool) -> None:
    if ignored := [name for name, is_given in given.items() if is_given]:
        raise ValueError(f"pod: {where} cannot take {' and '.join(ignored)}; leave out what would be ignored")


def _checked(snapshots, wanted: Truncation):
    """The snapshots in floating point."""
    if jnp.issubdtype(snapshots.dtype, jnp.complexfloating):
        raise TypeError("pod: complex snapshots; stack real and imaginary parts along the points")
    if not jnp.issubdtype(snapshots.dtype, jnp.floating):
        if snapshots.dtype.kind not in "biu":
            raise TypeError(f"pod: snapshots of type {snapshots.dtype}; expected real numbers")
        snapshots = np.asarray(snapshots, np.float64)
    if snapshots.ndim != 2:
        raise ValueError(
            f"pod: snapshots of shape {snapshots.shape}; expected a row of all points per snapshot: s.reshape(n, -1)"
        )
    n, points = snapshots.shape
    if not n * points:
        raise ValueError(f"pod: snapshots of shape {snapshots.shape} hold nothing")
    if wanted.rank is not None and wanted.rank > min(n, points):
        most = f"{n} snapshots of {points} points have at most {min(n, points)} modes"
        raise ValueError(f"pod: rank={wanted.rank}, but {most}")
    return snapshots


def _few(snapshots, wanted: Truncation) -> bool:
    """Whether a sketch of the wanted modes is much smaller than the snapshots."""
    n = len(snapshots)
    return n > 1000 and wanted.rank_alone and 16 * ((wanted.rank or 0) + _OVERSAMPLING) < n


def _leading(svd: ThinSVD, kept: int) -> ThinSVD:
    return ThinSVD(svd.left[:, :kept], svd.values[:kept], svd.right[:kept])


def _turned_back(svd: ThinSVD, back: Back) -> ThinSVD:
    """The triplets of S from those of (S L)ᵀ = W Σ Uᵀ: S L = U Σ Wᵀ, hence S = (U Σ) Φᵀ M with Φ = L⁻ᵀ W."""
    values, u = np.asarray(svd.values), np.asarray(svd.right).T
    directions = np.asarray(svd.left) / values
    return ThinSVD(jnp.asarray(u * values), svd.values, jnp.asarray(back(directions, u / values).T))


def _result(
    svd: ThinSVD, left_out, floor: float, method: str, reason: str, dtype, product: AbstractInnerProduct
) -> POD:
    modes = np.asarray(svd.right.astype(dtype)).T  # a transposed view costs no copy
    return POD(modes, svd.values, svd.left, jnp.asarray(left_out), floor, method, reason, product)


def _own_rounding(snapshots, squares) -> float:
    """The largest singular value of the rounding of the snapshots' own numbers over σ₁, for float32; 0 for float64.

    Entries rounded to a relative ε have errors of a deviation of up to ε/√12 · rms, and a random matrix the norm (√n + √points)
    times its deviation; twice that is safe. `squares`: the σ² of the snapshots, descending.
    """
    if snapshots.dtype == np.float64:
        return 0.0
    n, points = snapshots.shape
    relative = float(jnp.finfo(snapshots.dtype).eps) / 3**0.5 * (n**0.5 + points**0.5) / (n * points) ** 0.5
    return relative * float(np.sqrt(np.maximum(squares, 0).sum() / squares[0]))


def _check(snapshots, values):
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(np.asarray(squared_norms(MeasuredRows(jnp.asarray(snapshots))))))
        found = f"snapshot {bad[0]} holds" if len(bad) else "the inner product of the snapshots gives"
        raise ValueError(f"pod: {found} NaN, infinity or values whose squares overflow")
    if values[0] <= 0:
        raise ValueError(
            "pod: all snapshots are zero (in the given product): a constant field minus its mean, points of weight zero, or "
            "numbers whose squares underflow (below 1e-154)"
        )
    if values[-1] < -1e-5 * values[0]:
        raise ValueError("pod: the product is not positive definite: it gives a snapshot combination a negative square")
