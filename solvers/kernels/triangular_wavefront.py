"""Triangular parts of the finite-volume operator of `stencil` in natural order, by wavefronts.

With L the couplings to neighbours of smaller index, D + ω L is solved from the first point to the last, and all points with the
same sum of indices are independent: 2n − 1 anti-diagonal fronts of an n² grid, 3n − 2 planes of an n³ grid. Fields are
stored skewed, front t as row t, so that every neighbour lies in the row before or after and one `lax.scan` over rows solves
the triangular system. Which axis comes first does not matter: the result is the same for every lexicographic order.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, ScalarLike

from ...core.domains import Boundary
from .stencil import couplings, diffusion_diagonal, pad_axis


class WavefrontOperator(eqx.Module):
    """The operator −∇·(a∇·) + shift in skewed storage (`pack`).

    **Fields:** `diagonal`; `before` and `after`, the couplings to the neighbours in the front before and after, one array
    per axis in the order of `order` (the longest axis last, it becomes the fronts).
    """

    diagonal: Float[Array, "fronts *rest"]
    before: tuple[Float[Array, "fronts *rest"], ...]
    after: tuple[Float[Array, "fronts *rest"], ...]
    shape: tuple[int, ...] = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)

    def skew(self, u: Float[Array, "*n"]) -> Float[Array, "fronts *rest"]:
        """A field by fronts: entry [t, i, …] is the point (i, …, t − i − …), zero where that is outside."""
        return _skew(u.transpose(self.order))

    def unskew(self, fronts: Float[Array, "fronts *rest"]) -> Float[Array, "*n"]:
        """The field whose fronts these are."""
        order = sorted(range(len(self.order)), key=self.order.__getitem__)
        return _unskew(fronts).transpose(order)


def pack(
    faces: Sequence[Float[Array, "..."]],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
    shift: Float[Array, "..."],
) -> WavefrontOperator:
    """Coefficients of `stencil.apply_diffusion` plus `shift` (a scalar or a field), skewed.

    The diagonal of a zero row (a point without an open face, shift 0) is taken as 1.

    Raises `ValueError` for periodic axes, whose two ends are neighbours that no front order can have.
    """
    if "periodic" in boundaries:
        raise ValueError(
            f"wavefronts need axes with two ends, got boundaries {tuple(boundaries)}; along periodic axes use red-black order "
            "or a preconditioner without an ordering (ChebyshevPolynomial, Multigrid, FastPoisson)"
        )
    diagonal = diffusion_diagonal(faces, spacing, boundaries) + shift
    shape = diagonal.shape
    order = tuple(sorted(range(len(shape)), key=shape.__getitem__))
    before, after = zip(*couplings(faces, spacing, boundaries), strict=True)
    # Outside the grid the diagonal is 1 and nothing is coupled, so zeros stay zero.
    fronts = _skew(diagonal.transpose(order))
    diagonal = jnp.where(fronts == 0, 1, fronts)
    before, after = (tuple(_skew(c[a].transpose(order)) for a in order) for c in (before, after))
    return WavefrontOperator(diagonal, before, after, shape, order)


def solve_lower(
    operator: WavefrontOperator, r: Float[Array, "fronts *rest"], omega: ScalarLike
) -> Float[Array, "fronts *rest"]:
    """(D + ω L)⁻¹ r, all in skewed storage; L has the negative couplings `before`."""
    return _substitute(operator.diagonal, operator.before, r, omega, 1)


def solve_upper(
    operator: WavefrontOperator, r: Float[Array, "fronts *rest"], omega: ScalarLike
) -> Float[Array, "fronts *rest"]:
    """(D + ω Lᵀ)⁻¹ r, all in skewed storage; Lᵀ has the negative couplings `after`."""
    return _substitute(operator.diagonal, operator.after, r, omega, -1)


def apply(operator: WavefrontOperator, u: Float[Array, "fronts *rest"]) -> Float[Array, "fronts *rest"]:
    """A u, all in skewed storage."""
    before, after = pad_axis(u, 0, 1, -1), pad_axis(u, 0, -1, 1)
    result = operator.diagonal * u
    for axis in range(len(operator.shape)):
        result -= operator.before[axis] * _beside(before, axis + 1, 1)
        result -= operator.after[axis] * _beside(after, axis + 1, -1)
    return result


def _substitute(diagonal, couplings, r, omega, direction):
    """Front by front; `direction` 1 starts with the first one."""
    omega = jnp.asarray(omega, r.dtype)

    def front(previous, row):
        d, coupling, value = row
        known = sum(c * _beside(previous, axis, direction) for axis, c in enumerate(coupling))
        result = (value + omega * known) / d
        return result, result

    start = jnp.zeros(r.shape[1:], r.dtype)
    return lax.scan(front, start, (diagonal, couplings, r), reverse=direction < 0)[1]


def _beside(u, axis: int, direction: int):
    """The neighbours along an axis; along the axis of the fronts they have the same place in the row."""
    return u if axis == u.ndim else pad_axis(u, axis, direction, -direction)


def _skew(u):
    """(n_1, …, n_d) to (fronts, n_1, …, n_{d-1}): per axis, rows of an array with too long rows start one entry later."""
    fronts = jnp.moveaxis(u, -1, 0)
    for axis in range(1, u.ndim):
        rows = jnp.moveaxis(jnp.moveaxis(fronts, 0, -1), axis - 1, -2)
        *rest, n, t = rows.shape
        flat = pad_axis(rows, rows.ndim - 1, 0, n).reshape(*rest, n * (t + n))
        rows = flat[..., : n * (t + n - 1)].reshape(*rest, n, t + n - 1)
        fronts = jnp.moveaxis(jnp.moveaxis(rows, -2, axis - 1), -1, 0)
    return fronts


def _unskew(fronts):
    """The inverse of `_skew`."""
    for axis in reversed(range(1, fronts.ndim)):
        rows = jnp.moveaxis(jnp.moveaxis(fronts, 0, -1), axis - 1, -2)
        *rest, n, t = rows.shape
        flat = pad_axis(rows.reshape(*rest, n * t), len(rest), 0, n)
        rows = flat.reshape(*rest, n, t + 1)[..., : t + 1 - n]
        fronts = jnp.moveaxis(jnp.moveaxis(rows, -2, axis - 1), -1, 0)
    return jnp.moveaxis(fronts, 0, -1)
