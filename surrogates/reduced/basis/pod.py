"""Proper orthogonal decomposition: one entry, four algorithms."""

import functools
from collections.abc import Callable, Iterable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Num

from ....core.precision import in_double
from ....solvers.kernels import thin_svd
from ....solvers.kernels.gram import gram as gram_matrix
from ....solvers.kernels.norms import safe_sqrt
from ....solvers.kernels.thin_svd import Spectrum, ThinSVD
from .incremental import incremental_svd
from .inner_product import Product, apply, metric

Method = Literal["auto", "gram", "two_grams", "randomized"]

_OVERSAMPLING, _POWER = 20, 2
_RANK_STEP = 16


class POD(eqx.Module):
    """What `pod` returns: snapshots ≈ `coefficients` @ `modes`ᵀ.

    **Fields:**

    - `modes` `(points, r)`, orthonormal in the product; `singular_values` `(r,)`, descending.
    - `coefficients` `(n, r)` of the snapshots; None for a stream.
    - `tail`: √Σ_{j>r} σ_j², the error of the snapshots' projection in the Frobenius norm; for a stream an upper bound.
    - `floor`: singular values below `floor` · σ₁ cannot be told from rounding and are not returned.
    - `method`: the algorithm that ran, and `reason` why.
    """

    modes: Float[Array | np.ndarray, "points r"]
    singular_values: Float[Array | np.ndarray, " r"]
    coefficients: Float[Array | np.ndarray, "n r"] | None
    tail: Float[Array | np.ndarray, ""]
    floor: float = eqx.field(static=True)
    method: str = eqx.field(static=True)
    reason: str = eqx.field(static=True)

    @property
    def rank(self) -> int:
        return self.modes.shape[1]


def pod(
    snapshots: Num[Array | np.ndarray, "n points"] | Iterable[np.ndarray],
    product: Product = None,
    *,
    rank: int | None = None,
    energy: float | None = None,
    tail: float | None = None,
    method: Method = "auto",
    gram: Float[Array | np.ndarray, "rows rows"] | None = None,
    key: jax.Array | None = None,
) -> POD:
    """The basis Φ, ΦᵀMΦ = I, that minimises Σ_i ‖s_i − ΦΦᵀM s_i‖²_M among all of its rank; snapshots s_i are rows.

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
          the singular values decay slowly the last ones come out some per cent too small.
        - "auto": "gram", and the second pass if a wanted mode lies below √(n ε) σ₁, where the first is no longer accurate;
          "randomized" if only a rank is asked for that is far below n > 1000.
    - `gram`: S M Sᵀ in float64 if it is known already (`dissimilarity.gram`); saves the first pass.
    - `key`: of the sketch; fixed by default.

    Gram matrices are accumulated in float64, also from float32 snapshots, whose own rounding is about 1e-8 σ₁, and the
    modes are re-orthonormalised once. They come back as NumPy arrays in the precision of the snapshots, fewer than
    `rank` where the rest is rounding.

    Under jit, vmap and grad `rank` must be given, the product is None or weights, the arithmetic is that of the
    snapshots, modes below the floor are zero, and "auto" is "two_grams" in float32, "gram" in float64.

    **Raises:** `ValueError` for snapshots with NaN or infinity (naming the row), for zero snapshots only, for more modes than
    snapshots or points, and for a product that is not symmetric positive definite or has another size.
    """
    if rank is not None and rank < 1:
        raise ValueError(f"pod: rank={rank}; expected at least 1")
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"pod: energy={energy}; expected a fraction in (0, 1], for example 0.9999")
    if not isinstance(snapshots, np.ndarray | jax.Array):
        if rank is None:
            raise ValueError("pod: a stream of row blocks needs `rank`")
        values, right, bound = incremental_svd(snapshots, product, rank)
        kept, floor = _truncate(values, (rank, energy, tail), 0.0), thin_svd.floor(np.float64, rank, 1)
        bound = np.asarray(bound + np.sqrt((values[kept:] ** 2).sum()))
        return POD(right[:kept].T, values[:kept], None, bound, floor, "incremental", "a stream")
    if not jnp.issubdtype(snapshots.dtype, jnp.floating):
        if jnp.issubdtype(snapshots.dtype, jnp.complexfloating):
            raise TypeError("pod: complex snapshots; stack real and imaginary parts along the points")
        snapshots = np.asarray(snapshots, np.float64)
    n, points = snapshots.shape
    if not n * points:
        raise ValueError(f"pod: snapshots of shape {snapshots.shape} hold nothing")
    if rank is not None and rank > min(n, points):
        raise ValueError(f"pod: rank={rank}, but {n} snapshots of {points} points have at most {min(n, points)} modes")
    if isinstance(snapshots, Tracer):
        return _traced(snapshots, product, rank, method, key)
    few = rank is not None and n > 1000 and 16 * (rank + _OVERSAMPLING) < n and energy is None and tail is None
    if method == "randomized" or (method == "auto" and few and gram is None):
        if rank is None:
            raise ValueError("pod: method='randomized' needs `rank`")
        reason = "as asked" if method == "randomized" else f"{rank} modes of {n} snapshots"
        return _randomized(snapshots, product, rank, reason, jax.random.key(0) if key is None else key)
    return _gram(snapshots, product, (rank, energy, tail), method, gram)


@in_double(promote=False)
def _gram(snapshots, product, criteria, method: str, gram) -> POD:
    n, points = snapshots.shape
    rows = jnp.asarray(snapshots)
    weights, duals = metric(product, snapshots)
    # The Gram matrix is formed on the side with fewer rows.
    if gram is not None and gram.shape != (n, n):
        raise ValueError(f"pod: a Gram matrix of shape {gram.shape} for {n} snapshots")
    turned = n > points and gram is None
    system = (_transposed(rows, product), None, None) if turned else (rows, weights, duals)
    # Two programs: in one with the eigenvalues the product takes half as long again (XLA for CPU).
    spectrum = _spectrum_of(_run(gram_matrix, system) if gram is None else jnp.asarray(gram))
    values = np.asarray(spectrum.values)
    _check(snapshots, values)
    count, floor = len(values), thin_svd.floor(np.float64, n, 1)
    wanted = _truncate(values, criteria, 0.0)
    reliable = (count * np.finfo(np.float64).eps) ** 0.5
    reason = "as asked" if method != "auto" else f"the wanted modes lie above {reliable:.0e} of the first"
    if method == "auto" and rows.dtype == np.float64 and values[wanted - 1] < reliable * values[0]:
        method, reason = "two_grams", f"mode {wanted} lies below {reliable:.0e} of the first"
    if method == "two_grams":
        spectrum = _run(thin_svd.refine_spectrum, system, first=spectrum)
        values, floor = np.asarray(spectrum.values), thin_svd.floor(np.float64, count, 2)
    kept = _truncate(values, criteria, floor)
    # Ranks that depend on the data are rounded up, so that one compiled program serves many data sets.
    static = kept if kept == criteria[0] else min(-(-kept // _RANK_STEP) * _RANK_STEP, count)
    if turned:
        svd = _run(thin_svd.right_vectors, system, spectrum=spectrum, rank=static, floor=floor)
        spectrum = Spectrum(svd.values, svd.right.T)
    svd = _run(thin_svd.right_vectors, (rows, weights, duals), spectrum=spectrum, rank=static, floor=floor)
    if static > kept:
        svd = ThinSVD(svd.left[:, :kept], svd.values[:kept], svd.right[:kept])
    left_out = np.sqrt((np.maximum(values[kept:], 0) ** 2).sum())
    return _result(svd, left_out, floor, "two_grams" if method == "two_grams" else "gram", reason, rows.dtype)


@in_double(promote=False)
def _randomized(snapshots, product, rank: int, reason: str, key) -> POD:
    rows = jnp.asarray(snapshots)
    weights, duals = metric(product, snapshots)
    squares = np.asarray(_squares(rows, weights, duals))
    _check(snapshots, np.sort(squares)[::-1])
    svd = _run(
        thin_svd.randomized_svd, (rows, weights, duals), rank=rank, key=key, oversampling=_OVERSAMPLING, power=_POWER
    )
    left_out = np.sqrt(max(squares.sum() - (np.asarray(svd.values) ** 2).sum(), 0))
    floor = thin_svd.floor(np.float64, rank, 2)
    kept = max(int((svd.values > floor * svd.values[0]).sum()), 1)
    svd = ThinSVD(svd.left[:, :kept], svd.values[:kept], svd.right[:kept])
    return _result(svd, left_out, floor, "randomized", reason, rows.dtype)


_spectrum_of = jax.jit(thin_svd.spectrum_of)


def _traced(rows, product, rank: int | None, method: str, key) -> POD:
    if rank is None:
        raise ValueError("pod: under jit, vmap or grad the number of modes must be given as `rank`")
    if product is not None and getattr(product, "ndim", 0) != 1:
        raise ValueError("pod: under jit, vmap or grad the product is None or weights")
    if method == "randomized":
        svd = thin_svd.randomized_svd(rows, product, rank=rank, key=jax.random.key(0) if key is None else key)
    else:
        products = 2 if method == "two_grams" or (method == "auto" and rows.dtype == jnp.float32) else 1
        svd = thin_svd.gram_svd(rows, product, rank=rank, products=products)
        method = "two_grams" if products == 2 else "gram"
    squares = (rows - jnp.matmul(svd.left, svd.right, precision="highest")) ** 2
    left_out = safe_sqrt((squares if product is None else squares * product).sum())
    return _result(
        svd, left_out, thin_svd.floor(rows.dtype, len(rows), 2 - (method == "gram")), method, "traced", rows.dtype
    )


def _result(svd: ThinSVD, left_out, floor: float, method: str, reason: str, dtype) -> POD:
    right = svd.right.astype(dtype)
    right = right if isinstance(right, Tracer) else np.asarray(right)  # a transposed view costs no copy
    return POD(right.T, svd.values, svd.left, jnp.asarray(left_out), floor, method, reason)


def _run(function: Callable, system, **options):
    """`function` compiled, in float64; over the devices that the rows are distributed on."""
    rows, weights, duals = system
    axis = _distributed_axis(rows)
    static = {k: v for k, v in options.items() if isinstance(v, int | float)}
    arrays = {k: v for k, v in options.items() if k not in static}
    if axis is None:
        return _compiled(function, tuple(static.items()), None, None)(system, arrays)
    if duals is not None:
        raise ValueError("pod: snapshots distributed over devices take weights or no product")
    weights = None if weights is None else jnp.asarray(weights)
    return _compiled(function, tuple(static.items()), rows.sharding.mesh, axis)((rows, weights, None), arrays)


@functools.cache
def _compiled(function: Callable, static: tuple, mesh, axis: str | None):
    def call(system, arrays):
        return function(*system, **arrays, **dict(static), dtype=jnp.float64, axis_name=axis)

    if axis is None:
        return jax.jit(call)
    along, everywhere = PartitionSpec(None, axis), PartitionSpec()
    vectors = ThinSVD(everywhere, everywhere, along)  # type: ignore[arg-type]
    replicated = {gram_matrix: everywhere, thin_svd.refine_spectrum: Spectrum(everywhere, everywhere)}  # type: ignore
    out = replicated.get(function, vectors)
    specs = ((along, PartitionSpec(axis), along), everywhere)
    return jax.jit(jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False))


def _distributed_axis(rows) -> str | None:
    sharding = rows.sharding
    if not isinstance(sharding, NamedSharding) or len(sharding.device_set) == 1 or len(sharding.spec) < 2:
        return None
    return sharding.spec[1]


def _transposed(rows, product: Product):
    """The snapshots as columns of A = S L with M = L Lᵀ, so that A Aᵀ = S M Sᵀ."""
    if product is None:
        return rows.T
    if getattr(product, "ndim", None) == 1:
        return (rows * jnp.sqrt(jnp.asarray(product))).T
    factor = np.linalg.cholesky(np.asarray(apply(product, np.eye(rows.shape[1]))))
    return (rows @ factor).T


@jax.jit
def _squares(rows, weights, duals):
    other = rows if duals is None else duals
    terms = rows.astype(jnp.float64) * other
    return (terms if weights is None else terms * weights).sum(1)


def _check(snapshots, values):
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(np.asarray(_squares(jnp.asarray(snapshots), None, None))))
        where = (
            f"snapshot {bad[0]} holds NaN, infinity or"
            if len(bad)
            else "the inner product of the snapshots gives NaN or"
        )
        raise ValueError(f"pod: {where} values whose squares overflow")
    if values[0] <= 0:
        raise ValueError("pod: all snapshots are zero (in the given product)")
    if values[-1] < -1e-5 * values[0]:
        raise ValueError("pod: the product is not positive definite: it gives a snapshot combination a negative square")


def _truncate(values, criteria, floor: float) -> int:
    rank, energy, tail = criteria
    values = np.where(values > floor * values[0], values, 0)
    counts, squares = [max(int((values > 0).sum()), 1)], np.maximum(values, 0) ** 2
    if rank is not None:
        counts.append(rank)
    left_out = np.append(squares[::-1].cumsum()[::-1], 0)  # left_out[r] = Σ_{j ≥ r} σ²
    if energy is not None:
        counts.append(max(int(np.argmax(left_out <= (1 - energy) * left_out[0])), 1))
    if tail is not None:
        counts.append(max(int(np.argmax(left_out <= tail**2)), 1))
    return min(counts)
