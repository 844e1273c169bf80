"""Proper orthogonal decomposition of snapshots."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...solvers.precision import in_double


@in_double
def pod(
    snapshots: Float[Array, "n points"], weights: Float[Array, " points"], rank: int
) -> tuple[Float[Array, "points r"], Float[Array, " r"]]:
    """The `rank` leading modes of the snapshots, orthonormal in ⟨u, v⟩ = Σ w u v, and their singular values.

    Method of snapshots: eigenvectors of the n × n Gram matrix, accumulated in float64, then one re-orthonormalisation by
    QR. Singular values below √(n ε) of the first, 1e-7 for n = 50, are rounding; modes beyond them are dropped (r ≤ rank).
    """
    scaled = snapshots * jnp.sqrt(weights)
    values, vectors = jnp.linalg.eigh(scaled @ scaled.T)
    order = jnp.argsort(-values)[:rank]
    sigma = jnp.sqrt(jnp.maximum(values[order], 0))
    keep = int((sigma > jnp.sqrt(len(values) * jnp.finfo(values.dtype).eps) * sigma[0]).sum())
    modes, _ = jnp.linalg.qr(scaled.T @ vectors[:, order[:keep]] / sigma[:keep])
    return modes / jnp.sqrt(weights)[:, None], sigma[:keep]
