"""Conservation laws q_t + Σ_a ∂F_a(q)/∂x_a = 0 by finite volumes on a uniform grid in any number of dimensions.

Arrays are `(c, *n)`: components first, because every formula here works on one component at a time, then one cell average
per cell. The law is an argument (`AbstractConservationLaw`). A step of the scheme:

1. `primitive` variables w of the cells, continued beyond the sides of the box by `AbstractSide`s;
2. states at both ends of every cell along an axis by an `AbstractReconstruction`, `Muscl` or `Weno5`;
3. a numerical flux at every face from the two states there (`law.interface`), for example `hll` or `rusanov`;
4. the rate of change of a cell: what comes in at its start less what goes out at its end, over h.

With `Muscl` second order where the solution is smooth and monotone, first order at extrema, which the limiter cuts, and at
shocks. What leaves a cell enters the next one, so that sums over the cells change by what passes the sides alone.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .strong_stability import SECOND_ORDER, THIRD_ORDER, Scheme

Averages = Float[Array, "c *n"]  # of conserved or primitive variables, or of fluxes
Slope = Callable[[Array, Array], Array]  # from the differences to the cell before and the one after


class AbstractConservationLaw(eqx.Module):
    """The functions of a law that the scheme needs, elementwise in space. q are conserved variables, w primitive ones."""

    @abstractmethod
    def primitive(self, q: Averages) -> Averages:
        """w of q."""

    @abstractmethod
    def conserved(self, w: Averages) -> Averages:
        """q of w."""

    @abstractmethod
    def flux(self, w: Averages, axis: int) -> Averages:
        """F_axis."""

    @abstractmethod
    def speeds(self, left: Averages, right: Averages, axis: int) -> tuple[Array, Array]:
        """Bounds of the speeds of the waves between two states: the slowest (signed) and the fastest."""

    @abstractmethod
    def interface(self, left: Averages, right: Averages, axis: int) -> tuple[Averages, Averages]:
        """The numerical flux at a face as the cells before and after it see it; both are the same but for laws with
        sources that must balance, such as the bed of shallow water."""

    @abstractmethod
    def source(self, start: Averages, end: Averages, axis: int) -> Averages | float:
        """The source over a cell of length 1 between states w at its two ends along an axis."""

    @abstractmethod
    def admissible(self, w: Averages) -> Bool[Array, "..."]:
        """Whether the law admits w in every cell, `(1, *n)`: gas, for example, where density and pressure are positive."""

    @abstractmethod
    def mirrored(self, w: Averages, axis: int) -> Averages:
        """The state that a wall across `axis` reflects."""


class AbstractSide(eqx.Module):
    """What lies beyond a side of the box."""

    @abstractmethod
    def beyond(self, law: AbstractConservationLaw, w: Averages, axis: int, at_end: bool, depth: int) -> Averages:
        """The `depth` cells beyond, in the order of the axis."""


class Periodic(AbstractSide):
    """The other end of the axis."""

    def beyond(self, law, w, axis, at_end, depth):
        n = w.shape[axis + 1]
        return lax.slice_in_dim(w, 0 if at_end else n - depth, depth if at_end else n, axis=axis + 1)


class Outflow(AbstractSide):
    """The outermost cell again and again: waves leave, with weak reflections where they meet the side at an angle."""

    def beyond(self, law, w, axis, at_end, depth):
        n = w.shape[axis + 1]
        edge = lax.slice_in_dim(w, n - 1 if at_end else 0, n if at_end else 1, axis=axis + 1)
        return jnp.repeat(edge, depth, axis + 1)


class Wall(AbstractSide):
    """A wall without friction."""

    def beyond(self, law, w, axis, at_end, depth):
        n = w.shape[axis + 1]
        near = lax.slice_in_dim(w, n - depth if at_end else 0, n if at_end else depth, axis=axis + 1)
        return law.mirrored(jnp.flip(near, axis + 1), axis)


class Inflow(AbstractSide):
    """A prescribed state; of it what the waves at the side carry inwards enters.

    **Arguments:** `state`: w, `(c,)`.
    """

    state: Float[Array, " c"]

    def beyond(self, law, w, axis, at_end, depth):
        shape = [depth if a == axis + 1 else n for a, n in enumerate(w.shape)]
        return jnp.broadcast_to(self.state.reshape(-1, *[1] * (w.ndim - 1)).astype(w.dtype), shape)


Sides = Sequence[tuple[AbstractSide, AbstractSide]]  # at the start and at the end of every axis


def minmod(a: Array, b: Array) -> Array:
    """The smaller difference, 0 at extrema: the most careful limiter."""
    return jnp.where(a * b > 0, jnp.where(abs(a) < abs(b), a, b), 0)


def van_leer(a: Array, b: Array) -> Array:
    """The harmonic mean of the differences, 0 at extrema; its derivative jumps at extrema alone."""
    same = a * b > 0
    return jnp.where(same, 2 * a * b / jnp.where(same, a + b, 1), 0)


def monotonized_central(a: Array, b: Array) -> Array:
    """The mean of the differences, at most twice the smaller one, 0 at extrema: the sharpest (van Leer 1977)."""
    bound, mean = 2 * jnp.minimum(abs(a), abs(b)), (a + b) / 2
    return jnp.where(a * b > 0, jnp.where(abs(mean) < bound, mean, jnp.sign(a) * bound), 0)


class AbstractReconstruction(eqx.Module):
    """States at both ends of every cell from the averages of the cell and its neighbours."""

    depth: ClassVar[int]  # cells that are needed beyond every side
    scheme: ClassVar[Scheme]  # in time, of an order that suits

    @abstractmethod
    def ends(self, law: AbstractConservationLaw, wide: Array, axis: int) -> tuple[Array, Array]:
        """w at the start and at the end of all cells but the outermost `depth` − 1, along array axis `axis` of w `wide`."""


class Muscl(AbstractReconstruction):
    """Limited slopes of the primitive variables (van Leer 1979). The states lie between those of the cell and its neighbours, so
    that positive quantities stay positive."""

    slope: Slope = eqx.field(static=True)
    depth = 2
    scheme = SECOND_ORDER

    def ends(self, law, wide, axis):
        steps = _cut(wide, axis, 1, 0) - _cut(wide, axis, 0, 1)
        half = self.slope(_cut(steps, axis, 0, 1), _cut(steps, axis, 1, 0)) / 2
        middle = _cut(wide, axis, 1, 1)
        return middle - half, middle + half


class Weno5(AbstractReconstruction):
    """Weighted means of three parabolas through the conserved averages of five cells (Jiang and Shu 1996) with the weights of
    Borges, Carmona, Costa and Don (2008): of fifth order in one dimension, also at extrema, with almost no overshoots at jumps.
    Where the law does not admit the state, that of the cell takes its place. In more dimensions of second order with a small
    constant, as fluxes are taken at the middle of the faces."""

    depth = 3
    scheme = THIRD_ORDER

    def ends(self, law, wide, axis):
        q, middle = law.conserved(wide), _cut(wide, axis, 2, 2)
        n = middle.shape[axis]
        cells = [lax.slice_in_dim(q, k, k + n, axis=axis) for k in range(5)]

        def state(cells):
            w = law.primitive(_weno(cells))
            return jnp.where(law.admissible(w), w, middle)

        return state(cells[::-1]), state(cells)


def _weno(cells: Sequence[Array]) -> Array:
    """The value at the face towards the last of five cells of the one in the middle."""
    a, b, c, d, e = cells
    values = (2 * a - 7 * b + 11 * c) / 6, (-b + 5 * c + 2 * d) / 6, (2 * c + 5 * d - e) / 6
    rough = (
        13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4,
        13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4,
        13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4,
    )
    # Relative, so that units do not matter; it bounds the weights' ratio, whose square must be a number.
    least = 1e-6 * (rough[0] + rough[1] + rough[2]) + jnp.finfo(a.dtype).tiny * 1e4
    weights = [
        w * (1 + (abs(rough[0] - rough[2]) / (r + least)) ** 2) for w, r in zip((0.1, 0.6, 0.3), rough, strict=True)
    ]
    mixed = [w * v for w, v in zip(weights, values, strict=True)]
    return jnp.divide(mixed[0] + mixed[1] + mixed[2], weights[0] + weights[1] + weights[2])


RECONSTRUCTIONS: dict[str, AbstractReconstruction] = {
    "minmod": Muscl(minmod),
    "van_leer": Muscl(van_leer),
    "monotonized_central": Muscl(monotonized_central),
    "weno5": Weno5(),
}


def rate_of_change(
    law: AbstractConservationLaw,
    q: Averages,
    spacing: Sequence[float],
    sides: Sides,
    reconstruction: AbstractReconstruction,
) -> Averages:
    """dq/dt of every cell, `(c, *n)`, see the module."""
    w, rate, depth = law.primitive(q), jnp.zeros_like(q), reconstruction.depth
    for axis, (h, (first, last)) in enumerate(zip(spacing, sides, strict=True)):
        beyond = first.beyond(law, w, axis, False, depth), last.beyond(law, w, axis, True, depth)
        wide = jnp.concatenate([beyond[0], w, beyond[1]], axis=axis + 1)
        start, end = reconstruction.ends(law, wide, axis + 1)
        before, after = law.interface(_cut(end, axis + 1, 0, 1), _cut(start, axis + 1, 1, 0), axis)
        inside = law.source(_cut(start, axis + 1, 1, 1), _cut(end, axis + 1, 1, 1), axis)
        inflow, outflow = _cut(after, axis + 1, 0, 1), _cut(before, axis + 1, 1, 0)
        rate += (inflow - outflow + inside) * jnp.asarray(1 / h, q.dtype)
    return rate


def longest_step(law: AbstractConservationLaw, q: Averages, spacing: Sequence[float], courant: float) -> Array:
    """The time step of a Courant number: courant / max Σ_a (speed_a / h_a)."""
    w, crossings = law.primitive(q), jnp.zeros((), q.dtype)
    for axis, h in enumerate(spacing):
        slowest, fastest = law.speeds(w, w, axis)
        crossings = crossings + jnp.maximum(abs(slowest), abs(fastest)) * jnp.asarray(1 / h, q.dtype)
    return courant / jnp.maximum(crossings.max(), jnp.finfo(q.dtype).tiny * 1e4)


def rusanov(law: AbstractConservationLaw, left: Averages, right: Averages, axis: int) -> Averages:
    """½ (F_l + F_r) − ½ s (q_r − q_l) with the largest speed s: robust, and the most diffusive flux."""
    slowest, fastest = law.speeds(left, right, axis)
    s = jnp.maximum(abs(slowest), abs(fastest))
    mean = law.flux(left, axis) + law.flux(right, axis)
    return (mean - s * (law.conserved(right) - law.conserved(left))) / 2


def hll(law: AbstractConservationLaw, left: Averages, right: Averages, axis: int) -> Averages:
    """The flux of one mean state between the slowest and the fastest wave (Harten, Lax and van Leer 1983); contacts smear."""
    slowest, fastest = law.speeds(left, right, axis)
    low, high = jnp.minimum(slowest, 0), jnp.maximum(fastest, 0)
    jump = low * high * (law.conserved(right) - law.conserved(left))
    mixed = high * law.flux(left, axis) - low * law.flux(right, axis) + jump
    return mixed / jnp.maximum(high - low, jnp.finfo(left.dtype).tiny * 1e4)


def _cut(x: Array, axis: int, before: int, after: int) -> Array:
    """Without the first and last entries of an axis."""
    return lax.slice_in_dim(x, before, x.shape[axis] - after, axis=axis)
