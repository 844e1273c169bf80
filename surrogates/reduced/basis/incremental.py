"""A truncated SVD of rows that arrive in blocks and are never held together."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ....core.precision import in_double
from ....solvers.kernels import thin_svd
from .inner_product import AbstractInnerProduct, MeasuredRows


def incremental_svd(
    blocks: Iterable[np.ndarray], product: AbstractInnerProduct, rank: int
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r points"], Float[np.ndarray, ""]]:
    """Singular values, right singular vectors, and a bound of ‖S − S M VᵀV‖_F for rows S given in blocks `(rows, points)`.

    After each block C ← Σ Vᵀ of the rows (C; block), cut to 2·rank + 20 vectors; what each cut leaves out adds up to the
    bound (incremental HAPOD, Himpe, Leibner & Rave 2018, without its tolerances). One pass; memory for one block and C.

    **Raises:** `ValueError` for blocks of different width, NaN, or a stream of zeros.
    """
    held = svd = None
    bound, size, seen, dtype = 0.0, 0, 0, np.dtype(np.float64)
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 2 or block.dtype.kind not in "biuf":
            raise ValueError(
                f"pod: a block of shape {block.shape} and type {block.dtype}; expected real rows `(rows, points)`"
            )
        if held is None:
            product.check(block.shape[1])
            held = np.zeros((2 * rank + 20, block.shape[1]))
            dtype = block.dtype if block.dtype == np.float32 else dtype
        if block.shape[1] != held.shape[1]:
            raise ValueError(f"pod: a block of {block.shape[1]} points after blocks of {held.shape[1]}")
        size, seen = max(size, len(block)), seen + len(block)
        # Blocks are filled up to one size, so that one program serves all of them.
        rows = np.concatenate([held, block, np.zeros((size - len(block), block.shape[1]))])
        svd, total = _update(rows, product, rank=min(len(held), rows.shape[1]))
        if not np.isfinite(total):
            raise ValueError("pod: a block of the stream holds NaN or infinity")
        held[: len(svd.right)] = svd.values[:, None] * svd.right
        bound += np.sqrt(max(total - (svd.values**2).sum(), 0))
    if svd is None or not svd.values[0]:
        raise ValueError("pod: the stream holds no snapshots, or only zeros")
    if seen < rank:
        raise ValueError(f"pod: rank={rank}, but the stream held only {seen} snapshots")
    kept = int((svd.values[:rank] > 0).sum())
    bound += np.sqrt((svd.values[kept:] ** 2).sum())
    return svd.values[:kept], svd.right[:kept].astype(dtype), np.asarray(bound)


@in_double(promote=False)
def _update(rows, product: AbstractInnerProduct, rank: int):
    return _compiled(product.measured(rows), rank)


@jax.jit(static_argnums=1)
def _compiled(system: MeasuredRows, rank: int):
    """The triplets of held and new rows, and the sum of the squares of all rows."""
    svd = thin_svd.gram_svd(*system, rank=rank, dtype=jnp.float64)
    return svd, system.squared_norms(jnp.float64).sum()
