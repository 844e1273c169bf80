"""The leading singular triplets of a short, wide matrix, from Gram matrices or a random sketch."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .gram import combine, cross_gram, gram
from .norms import safe_sqrt


class Spectrum(NamedTuple):
    """Singular values `(n,)`, descending, and left singular vectors `(n, n)` of rows S in the inner product M.

    A negative value is −√|λ| of a negative eigenvalue: rounding, or an M that is not positive.
    """

    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]


class ThinSVD(NamedTuple):
    """rows ≈ left @ right with right M right^T = I; `left` `(n, r)` holds the singular values, `values` `(r,)`, too."""

    left: Float[Array, "n r"]
    values: Float[Array, " r"]
    right: Float[Array, "r points"]


def gram_spectrum(rows, weights=None, duals=None, *, dtype=None, axis_name: str | None = None) -> Spectrum:
    """Eigenvalues and -vectors of one Gram matrix S M Sᵀ; arguments as of `gram`.

    Values below √ε(dtype) of the first are rounding (Sirovich's method of snapshots).
    """
    return spectrum_of(gram(rows, weights, duals, dtype=dtype, axis_name=axis_name))


def spectrum_of(matrix: Float[Array, "n n"]) -> Spectrum:
    """The spectrum of rows whose Gram matrix is known."""
    values, vectors = symmetric_eigen(matrix)
    return Spectrum(jnp.sign(values) * safe_sqrt(jnp.abs(values)), vectors)


def refine_spectrum(
    rows, weights=None, duals=None, *, first: Spectrum, dtype=None, axis_name: str | None = None
) -> Spectrum:
    """The spectrum with an error of about ε(dtype) of the first value instead of √ε, by a second Gram matrix.

    With T = VᵀS from the first Gram matrix and D the norms of its rows, the Gram matrix of D⁻¹T resolves what is √ε below
    each of them: D⁻¹T = E Qᵀ with E from its eigenvectors, hence S = V D E Qᵀ, and the SVD of D E is small. This is
    CholeskyQR2 with the eigenvalue factorisation in the place of Cholesky's (SVQB, Stathopoulos & Wu 2002), which does not
    break down on singular matrices.
    """
    return _refined(rows, weights, duals, first, dtype, axis_name)


@partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _refined(rows, weights, duals, first: Spectrum, dtype, axis_name: str | None) -> Spectrum:
    second = gram(rows, weights, duals, first.vectors.T, dtype=dtype, axis_name=axis_name)
    norms = safe_sqrt(jnp.diagonal(second))
    inverse = _inverse(norms, 0)
    values, vectors = symmetric_eigen(second * inverse[:, None] * inverse)
    small, sigma, _ = jnp.linalg.svd(norms[:, None] * vectors * safe_sqrt(values))
    return Spectrum(sigma, jnp.matmul(first.vectors, small, precision="highest"))


@_refined.defjvp
def _refined_jvp(dtype, axis_name, primals, tangents):
    """That of the eigenvalues σ² of G = S D, D = (S M)ᵀ, in the basis of the result: through the steps above it would divide by
    numbers that are rounding."""
    (rows, weights, duals, _), (d_rows, d_weights, d_duals, _) = primals, tangents
    spectrum = _refined(*primals, dtype, axis_name)
    turn = spectrum.vectors.T
    kind = {"dtype": dtype, "axis_name": axis_name}
    turned, d_turned = (combine(turn, x, dtype=dtype) for x in (rows, d_rows))
    if duals is None:
        half = cross_gram(d_turned, turned, weights, **kind)
        inner = half + half.T if weights is None else half + half.T + cross_gram(turned, turned, d_weights, **kind)
    else:
        against, d_against = (combine(turn, x, dtype=dtype) for x in (duals, d_duals))
        inner = cross_gram(d_turned, against, **kind) + cross_gram(turned, d_against, **kind)
    rotation = _coupling(spectrum.values**2, (inner + inner.T) / 2)
    slopes = jnp.diagonal(inner) / 2 * _inverse(spectrum.values, 0)
    return spectrum, Spectrum(slopes, jnp.matmul(spectrum.vectors, rotation, precision="highest"))


def right_vectors(
    rows,
    weights=None,
    duals=None,
    *,
    spectrum: Spectrum,
    rank: int,
    floor: float,
    dtype=None,
    axis_name: str | None = None,
) -> ThinSVD:
    """The `rank` leading triplets: right vectors orthonormalised by Cholesky QR, then Rayleigh-Ritz in the space of `spectrum`.

    Values and vectors become more accurate than in `spectrum`: errors of first order in its vectors cancel. Triplets whose
    singular value in `spectrum` is at most `floor` times the first, or turns out to be rounding, are zero and the last.
    """
    dtype = rows.dtype if dtype is None else dtype
    sigma, vectors = spectrum.values[:rank], spectrum.vectors[:, :rank]
    inverse = _inverse(sigma, floor * sigma[0])
    kept = inverse > 0
    raw = combine((vectors * inverse).T, rows, dtype=dtype)
    raw_duals = None if duals is None else combine((vectors * inverse).T, duals, dtype=dtype)
    product = gram(raw, weights, raw_duals, axis_name=axis_name)
    # Vectors of a value that is rounding come out much shorter than one. They depend on the others, where Cholesky fails.
    kept &= jnp.diagonal(product) > 0.25
    factor = jnp.linalg.cholesky(jnp.where(kept[:, None] & kept, product, jnp.eye(rank, dtype=dtype)))
    # S = V Σ raw and raw = L Q with orthonormal rows Q, so the SVD of Σ L gives that of S.
    rotation, values, small = _square_svd(jnp.where(kept, sigma, 0)[:, None] * factor)
    combinations = jax.scipy.linalg.solve_triangular(factor, small.T, lower=True, trans=1).T
    right = combine(jnp.where(kept, combinations, 0), raw)
    values = jnp.where(jnp.arange(rank) < kept.sum(), values, 0)
    return ThinSVD(jnp.matmul(vectors, rotation * values, precision="highest"), values, right)


def gram_svd(
    rows: Float[Array, "n points"],
    weights: Float[Array, " points"] | None = None,
    duals: Float[Array, "n points"] | None = None,
    *,
    rank: int,
    products: int = 1,
    dtype=None,
    axis_name: str | None = None,
) -> ThinSVD:
    """The `rank` leading singular triplets of the rows in the inner product of `gram`, of static shape.

    **Arguments:** `products`: Gram matrices that are formed; 1 finds singular values down to √ε(dtype) of the first, 2 down
    to about √n ε(dtype). Triplets below are zero. `rank` ≤ n.

    Differentiable where the leading singular values are distinct.
    """
    arrays = (rows, weights, duals)
    spectrum = gram_spectrum(*arrays, dtype=dtype, axis_name=axis_name)
    if products == 2:
        spectrum = refine_spectrum(*arrays, first=spectrum, dtype=dtype, axis_name=axis_name)
    limit = floor(rows.dtype if dtype is None else dtype, rows.shape[0], products)
    return right_vectors(*arrays, spectrum=spectrum, rank=rank, floor=limit, dtype=dtype, axis_name=axis_name)


def randomized_svd(
    rows: Float[Array, "n points"],
    weights: Float[Array, " points"] | None = None,
    duals: Float[Array, "n points"] | None = None,
    *,
    rank: int,
    key: jax.Array,
    oversampling: int = 20,
    power: int = 1,
    dtype=None,
    axis_name: str | None = None,
) -> ThinSVD:
    """The `rank` leading singular triplets from a Gaussian sketch (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1).

    Q spans Ωᵀ S for a Gaussian Ω `(n, rank + oversampling)`, after `power` steps Ω ← orth(S M Qᵀ) that sharpen slow decay; the
    SVD of the small S M Qᵀ follows. Worth it where rank + oversampling is far below n. Near-optimal, not optimal: where the
    singular values decay slowly the last ones come out some per cent too small.
    """
    sketch = min(rank + oversampling, rows.shape[0])
    dtype = rows.dtype if dtype is None else dtype
    against = rows if duals is None else duals

    def project(omega):
        raw = combine(omega.T, rows, dtype=dtype)
        raw_duals = None if duals is None else combine(omega.T, duals, dtype=dtype)
        # Two products: sketches of rapidly decaying rows are nearly dependent.
        basis = gram_svd(raw, weights, raw_duals, rank=sketch, products=2, axis_name=axis_name).right
        return basis, cross_gram(against, basis, weights, dtype=dtype, axis_name=axis_name)

    def triplets(matrix):
        # By Gram matrices, whose derivatives stay finite where columns depend on each other; those of LAPACK's QR and SVD do not.
        return gram_svd(matrix.T, rank=sketch, products=2)

    basis, small = project(jax.random.normal(key, (rows.shape[0], sketch), dtype))
    for _ in range(power):
        # Orthonormal, or what is below √ε of the first would be lost in the next product.
        basis, small = project(triplets(small).right.T)
    vt, sigma, u = triplets(small)
    right = combine((vt * _inverse(sigma, 0)).T[:rank], basis)
    return ThinSVD(u[:rank].T * sigma[:rank], sigma[:rank], right)


def floor(dtype, n: int, products: int) -> float:
    """Smallest singular value, relative to the first, that `products` Gram matrices of n rows tell from rounding."""
    eps = float(jnp.finfo(dtype).eps)
    return eps**0.5 if products == 1 else n**0.5 * eps


@jax.custom_jvp
def symmetric_eigen(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues, descending, and orthonormal eigenvectors of a symmetric matrix.

    The derivative leaves out the coupling of eigenvectors whose values agree to rounding, where it has no limit: right for
    functions of the other eigenvectors and of the spaces of equal values, and never NaN.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    return values[::-1], vectors[:, ::-1]


@symmetric_eigen.defjvp
def _symmetric_eigen_jvp(primals, tangents):
    values, vectors = symmetric_eigen(*primals)
    (tangent,) = tangents
    inner = vectors.T @ ((tangent + tangent.T) / 2) @ vectors
    return (values, vectors), (jnp.diagonal(inner), vectors @ _coupling(values, inner))


def _coupling(values, inner):
    """Rotation of eigenvectors, inner_ij/(λ_j − λ_i), without the coupling of those whose values agree to rounding."""
    gap = values - values[:, None]
    coupled = jnp.abs(gap) > jnp.finfo(values.dtype).eps * len(values) * jnp.abs(values).max()
    return jnp.where(coupled, inner / jnp.where(coupled, gap, 1), 0)


def _inverse(x, limit):
    kept = x > limit
    return jnp.where(kept, 1 / jnp.where(kept, x, 1), 0)


@jax.custom_jvp
def _square_svd(matrix: Float[Array, "r r"]) -> tuple[Float[Array, "r r"], Float[Array, " r"], Float[Array, "r r"]]:
    """As `jnp.linalg.svd`, with a derivative that leaves out the coupling of equal singular values (`symmetric_eigen`)."""
    return tuple(jnp.linalg.svd(matrix))


@_square_svd.defjvp
def _square_svd_jvp(primals, tangents):
    u, s, vt = _square_svd(*primals)
    inner = u.T @ tangents[0] @ vt.T
    gap = s**2 - s[:, None] ** 2
    coupled = jnp.abs(gap) > jnp.finfo(s.dtype).eps * len(s) * (s**2).max()
    inverse = jnp.where(coupled, 1 / jnp.where(coupled, gap, 1), 0)
    left, right = inner * s, s[:, None] * inner
    du = u @ (inverse * (left + left.T))
    dv = vt.T @ (inverse * (right + right.T))
    return (u, s, vt), (du, jnp.diagonal(inner), dv.T)
