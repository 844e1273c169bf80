"""What the viscosity of a compressible fluid adds to `finite_volume`: exchange of momentum and energy through the faces of cells.

The stress is σ = η (∇v + ∇vᵀ − ⅔ ∇·v) + ζ ∇·v, and (ρv)_t gains ∇·σ, E_t gains ∇·(σv). Both are differences of fluxes, so that
momentum and energy are conserved to rounding. Derivatives at a face are central differences, second order; those along the face
are means of the two cells beside it.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, ScalarLike

from .finite_volume import AbstractConservationLaw, Averages, Sides

_SHARE = 0.8  # of the longest stable step


class ViscousStress(eqx.Module):
    """The stress of a fluid with the primitive variables w = (ρ, v_1 … v_d, p) and the conserved ones (ρ, ρv, E).

    **Arguments:** `shear`, `bulk`: η and ζ, at least 0.
    """

    shear: Float[Array, ""]
    bulk: Float[Array, ""]

    def __init__(self, shear: ScalarLike, bulk: ScalarLike):
        self.shear, self.bulk = jnp.asarray(shear, float), jnp.asarray(bulk, float)

    def rate(self, law: AbstractConservationLaw, w: Averages, spacing: Sequence[float], sides: Sides) -> Averages:
        """dq/dt of every cell, `(d + 2, *n)`; `sides` as `finite_volume.rate_of_change` has them."""
        wide = w
        for axis, (first, last) in enumerate(sides):
            beyond = first.beyond(law, wide, axis, False, 1), last.beyond(law, wide, axis, True, 1)
            wide = jnp.concatenate([beyond[0], wide, beyond[1]], axis=axis + 1)
        v, rate = wide[1:-1], jnp.zeros_like(w)
        for axis, h in enumerate(spacing):
            others = [a for a in range(len(spacing)) if a != axis]
            inner = _inside(v, others)
            slopes = {axis: _ahead(inner, axis) / h}
            for a in others:
                kept = _inside(v, [b for b in others if b != a])
                along = (_cut(kept, a, 2, 0) - _cut(kept, a, 0, 2)) / (2 * spacing[a])
                slopes[a] = _mean(along, axis)
            divergence = sum((slopes[a][a] for a in others), slopes[axis][axis])
            stress = [self.shear * (slopes[axis][i] + slopes[i][axis]) for i in range(len(spacing))]
            stress[axis] = stress[axis] + (self.bulk - 2 * self.shear / 3) * divergence
            flux = jnp.stack(stress)
            work = (flux * _mean(inner, axis)).sum(0)
            gained = jnp.concatenate([flux, work[None]])
            rate = rate.at[1:].add((_ahead(gained, axis) / h).astype(w.dtype))
        return rate

    def longest_step(self, w: Averages, spacing: Sequence[float]) -> Array:
        """The longest stable step of Runge-Kutta methods of second or third order, with a margin."""
        nu = (4 / 3 * self.shear + self.bulk) / w[0].min()
        rate = 2 * nu * sum(h**-2 for h in spacing) / _SHARE
        return (1 / jnp.maximum(rate, jnp.finfo(w.dtype).tiny * 1e4)).astype(w.dtype)


def _cut(x: Array, axis: int, before: int, after: int) -> Array:
    """Without the first and last entries of a space axis; components come first."""
    return lax.slice_in_dim(x, before, x.shape[axis + 1] - after, axis=axis + 1)


def _inside(x: Array, axes: Sequence[int]) -> Array:
    for axis in axes:
        x = _cut(x, axis, 1, 1)
    return x


def _ahead(x: Array, axis: int) -> Array:
    return _cut(x, axis, 1, 0) - _cut(x, axis, 0, 1)


def _mean(x: Array, axis: int) -> Array:
    return (_cut(x, axis, 1, 0) + _cut(x, axis, 0, 1)) / 2
