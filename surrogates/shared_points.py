"""Point clouds and meshes that all samples of a dataset share."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Shaped

from ..core.domains import AbstractDomain
from ..datasets.dataset import Dataset

_SAME = 1e-5  # distance of two points that count as one, relative to the extent of the cloud


def first_with_other_points(data: Dataset, domain: AbstractDomain) -> int | None:
    """Position of the first sample whose real points differ from those of sample 0; None if there is none, as on a grid."""
    if domain.fixed:
        return None
    first = domain.sites(data[0])
    for positions, block in data.blocks(list(domain.arrays)):
        sites = domain.sites(block)
        other = _apart(np.asarray(first.points), np.asarray(sites.points))
        if first.mask is not None:
            own, masks = np.asarray(first.mask), np.asarray(sites.mask)
            other = (other & own) | (masks != own)
        if other.any():
            return int(positions[other.any(1).argmax()])
    return None


def check_points(name: str, own: Float[Array, "n d"], data: Dataset, domain: AbstractDomain) -> None:
    """**Raises:** `ValueError`, which begins with `name`, unless all samples have the points `own`."""
    sites = domain.sites(data[0])
    try:
        nan_unless_same(own, sites.mask, sites.points)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if (other := first_with_other_points(data, domain)) is not None:
        raise ValueError(
            f"{name}: sample {other} has other points than the training data, at which alone it can predict"
        )


def nan_unless_same(
    own: Float[Array, "n d"], mask: Bool[Array, " n"] | None, given: Shaped[Array | np.ndarray, "m e"]
) -> float | Float[Array, ""]:
    """1 if the points `given` are the real ones of `own`; traced points that differ give NaN.

    **Raises:** `ValueError` for other points that are not traced, or another number of them."""
    if given.shape == own.shape:
        other = _apart(own, jnp.asarray(given))
        same = ~(other if mask is None else other & mask).any()
        if isinstance(same, Tracer):
            return jnp.where(same, 1.0, jnp.nan)
        if same:
            return 1.0
    raise ValueError(
        "the points of the data are not those of the training data, at which alone this surrogate can predict"
    )


def _apart(own, given):
    """Which points `(…, n)` are not the same, of coordinates `(n, d)` and `(…, n, d)`."""
    return abs(given - own).max(-1) > _SAME * (own.max(0) - own.min(0)).max()
