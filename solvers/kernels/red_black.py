"""Red-black relaxation of the finite-volume operator of `stencil`, in compact storage.

A point is red if the sum of its indices is even and black otherwise; every neighbour of a red point is black. Each colour
lives in an array of half the size along the last axis: entry j of a row holds its point 2j or 2j + 1, whichever has the
colour. Rows of an odd number of points are filled up by a point that couples to nothing. A half sweep then touches half of
the memory, where a masked sweep over the full grid computes both colours and throws one away.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, ScalarLike

from ...core.domains import Boundary
from .stencil import couplings, diffusion_diagonal, pad_axis

Halves = tuple[Float[Array, "*half"], Float[Array, "*half"]]


class RedBlackOperator(eqx.Module):
    """The operator −∇·(a∇·) + shift, sorted by colour (`pack`).

    **Fields:** `diagonal` (red, black); `couplings` (red, black), each with 2 arrays per axis: to the points before and
    after along the leading axes, then to the two points of the own row, first the one with the same j.
    """

    diagonal: Halves
    couplings: tuple[tuple[Float[Array, "*half"], ...], tuple[Float[Array, "*half"], ...]]
    shape: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)


def pack(
    faces: Sequence[Float[Array, "..."]],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
    shift: Float[Array, "..."],
) -> RedBlackOperator:
    """Coefficients of `stencil.apply_diffusion` plus `shift` (a scalar or a field), sorted by colour.

    The diagonal of a zero row (a point without an open face, shift 0) is taken as 1: such a row has a solution for b = 0
    alone, and zero then stays zero.

    Raises `ValueError` for a periodic axis with an odd number of points, whose points cannot be two-coloured.
    """
    diagonal = diffusion_diagonal(faces, spacing, boundaries) + shift
    shape = diagonal.shape
    for axis, (n, boundary) in enumerate(zip(shape, boundaries, strict=True)):
        if boundary == "periodic" and n % 2 and n > 1:
            raise ValueError(
                f"red-black order needs an even number of points along periodic axes, axis {axis} has {n}; "
                "use an even grid, or a method without an ordering (Jacobi, Chebyshev, CG)"
            )
    *leading, (left, right) = couplings(faces, spacing, boundaries)
    across = [split(c) for pair in leading for c in pair]
    odd = _odd_rows(shape)
    left, right = split(left), split(right)
    red, black = (
        (
            *(c[colour] for c in across),
            jnp.where(rows, left[colour], right[colour]),
            jnp.where(rows, right[colour], left[colour]),
        )
        for colour, rows in enumerate((odd, ~odd))
    )
    halves = split(jnp.where(diagonal == 0, 1, diagonal), fill=1)
    return RedBlackOperator(halves, (red, black), shape, tuple(b == "periodic" for b in boundaries))


def split(u: Float[Array, "*n"], fill: float = 0) -> Halves:
    """The red and the black half of a field; `fill` is the value of the points that complete odd rows."""
    n = u.shape[-1]
    padding = [(0, 0, 0)] * (u.ndim - 1) + [(0, n % 2, 0)]
    pairs = lax.pad(u, jnp.asarray(fill, u.dtype), padding).reshape(*u.shape[:-1], -1, 2)
    odd = _odd_rows(u.shape)
    return jnp.where(odd, pairs[..., 1], pairs[..., 0]), jnp.where(odd, pairs[..., 0], pairs[..., 1])


def merge(red: Float[Array, "*half"], black: Float[Array, "*half"], shape: tuple[int, ...]) -> Float[Array, "*n"]:
    """The field of `shape` whose halves these are."""
    odd = _odd_rows(shape)
    pairs = jnp.stack([jnp.where(odd, black, red), jnp.where(odd, red, black)], -1)
    return pairs.reshape(*shape[:-1], -1)[..., : shape[-1]]


def residual_red(operator: RedBlackOperator, red, black, b_red) -> Float[Array, "*half"]:
    """b − A x on the red points."""
    neighbours = _coupled(operator, black, operator.couplings[0], _odd_rows(operator.shape))
    return b_red + neighbours - operator.diagonal[0] * red


def residual_black(operator: RedBlackOperator, red, black, b_black) -> Float[Array, "*half"]:
    """b − A x on the black points."""
    neighbours = _coupled(operator, red, operator.couplings[1], ~_odd_rows(operator.shape))
    return b_black + neighbours - operator.diagonal[1] * black


def sor_sweep(
    operator: RedBlackOperator,
    x: Halves,
    b: Halves,
    r_red: Float[Array, "*half"],
    omega: ScalarLike,
) -> tuple[Halves, Float[Array, "*half"], Float[Array, ""]]:
    """One iteration of successive over-relaxation, x ← x + ω D⁻¹ (b − A x) on the red, then on the black points.

    The residual after it costs nothing: on the red points it is what the next iteration starts with, on the black points
    their own update leaves (1 − ω) of what it met.

    **Arguments:** `r_red`: the residual of x on the red points.

    **Returns:** x, its residual on the red points, and ‖b − A x‖₂².
    """
    red, black = x
    red = red + omega * r_red / operator.diagonal[0]
    r_black = residual_black(operator, red, black, b[1])
    black = black + omega * r_black / operator.diagonal[1]
    r_red = residual_red(operator, red, black, b[0])
    square = _square(r_red) + (1 - omega) ** 2 * _square(r_black)
    return (red, black), r_red, square


def _coupled(operator: RedBlackOperator, other, coefficients, odd):
    """Σ coefficient · neighbour for the points of one colour, whose neighbours are `other`. `odd`: rows in which the point
    at j stands after its neighbour at j."""
    *across, same, beside = coefficients
    *leading, last = operator.periodic
    result = same * other
    for axis, periodic in enumerate(leading):
        result += across[2 * axis] * _shifted(other, axis, 1, periodic)
        result += across[2 * axis + 1] * _shifted(other, axis, -1, periodic)
    return result + beside * jnp.where(odd, _shifted(other, -1, -1, last), _shifted(other, -1, 1, last))


def _shifted(x, axis: int, by: int, periodic: bool):
    """x moved along an axis by one entry; zeros come in, or the other end on periodic axes."""
    axis %= x.ndim
    moved = pad_axis(x, axis, by, -by)
    if periodic:
        n = x.shape[axis]
        moved += pad_axis(x, axis, by * (1 - n), by * (n - 1))
    return moved


def _odd_rows(shape: tuple[int, ...]) -> Bool[Array, "*rows"]:
    """Rows along the last axis that start with a black point, `(*n[:-1], 1)`."""
    rows = (*shape[:-1], 1)
    return reduce(add, (lax.broadcasted_iota(jnp.int32, rows, axis) for axis in range(len(rows)))) % 2 == 1


def _square(r):
    return jnp.vdot(r, r, precision=lax.Precision.HIGHEST)
