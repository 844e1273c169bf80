"""The laws that `kernels.finite_volume` solves: Burgers without viscosity, shallow water, gas dynamics."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..kernels.finite_volume import AbstractConservationLaw, Averages, hll, rusanov

GasFlux = Literal["hllc", "hll", "rusanov"]


class QuadraticAdvection(AbstractConservationLaw):
    """u_t + (u²/2)_x = 0. q = w = (u,), with the exact Riemann solution at the faces (Godunov 1959), which satisfies the
    entropy condition."""

    def primitive(self, q):
        return q

    def conserved(self, w):
        return w

    def flux(self, w, axis):
        return w * w / 2

    def speeds(self, left, right, axis):
        return jnp.minimum(left[0], right[0]), jnp.maximum(left[0], right[0])

    def interface(self, left, right, axis):
        flux = jnp.maximum(jnp.maximum(left, 0) ** 2, jnp.minimum(right, 0) ** 2) / 2
        return flux, flux

    def source(self, start, end, axis):
        return 0.0

    def admissible(self, w):
        return jnp.ones_like(w, bool)

    def mirrored(self, w, axis):
        return -w


class ShallowWater(AbstractConservationLaw):
    """h_t + ∇·(h v) = 0 and (h v)_t + ∇·(h v⊗v + ½ g h²) = −g h ∇b over a bed b.

    w = (h + b, v_1 … v_d, b) and q = (h, h v, b). `hll` at the faces with the velocity along them carried by the mass flux,
    and the hydrostatic reconstruction of Audusse, Bouchut, Bristeau, Klein and Perthame (2004), which keeps a lake at rest
    at rest over any bed. The depth must stay positive.
    """

    gravity: Float[Array, ""]

    def __init__(self, gravity: ScalarLike):
        self.gravity = jnp.asarray(gravity, float)

    def primitive(self, q):
        return jnp.concatenate([q[:1] + q[-1:], q[1:-1] / q[:1], q[-1:]])

    def conserved(self, w):
        h = w[:1] - w[-1:]
        return jnp.concatenate([h, h * w[1:-1], w[-1:]])

    def flux(self, w, axis):
        h, normal = w[0] - w[-1], w[1 + axis]
        moved = jnp.concatenate([h[None], h * w[1:-1], jnp.zeros_like(w[:1])]) * normal
        return moved.at[1 + axis].add(self.gravity * h * h / 2)

    def speeds(self, left, right, axis):
        c_left, c_right = (jnp.sqrt(self.gravity * (w[0] - w[-1])) for w in (left, right))
        u_left, u_right = left[1 + axis], right[1 + axis]
        return jnp.minimum(u_left - c_left, u_right - c_right), jnp.maximum(u_left + c_left, u_right + c_right)

    def interface(self, left, right, axis):
        bed = jnp.maximum(left[-1], right[-1])
        sides = [jnp.concatenate([jnp.maximum(w[0], bed)[None], w[1:-1], bed[None]]) for w in (left, right)]
        flux = hll(self, sides[0], sides[1], axis)
        along = [a for a in range(flux.ndim - 1) if a != axis]
        for a in along:
            flux = flux.at[1 + a].set(flux[0] * jnp.where(flux[0] > 0, left[1 + a], right[1 + a]))

        def seen(w, side):
            h, cut = w[0] - w[-1], side[0] - side[-1]
            return flux.at[1 + axis].add(self.gravity * (h * h - cut * cut) / 2)

        return seen(left, sides[0]), seen(right, sides[1])

    def source(self, start, end, axis):
        depths = start[0] - start[-1] + end[0] - end[-1]
        push = self.gravity * depths * (start[-1] - end[-1]) / 2
        return jnp.zeros_like(start).at[1 + axis].set(push)

    def admissible(self, w):
        return w[:1] > w[-1:]

    def mirrored(self, w, axis):
        return w.at[1 + axis].multiply(-1)


class Gas(AbstractConservationLaw):
    """The Euler equations of an ideal gas: ρ_t + ∇·(ρv) = 0, (ρv)_t + ∇·(ρ v⊗v + p) = 0, E_t + ∇·((E + p) v) = 0 with
    E = p/(γ − 1) + ½ρ|v|².

    w = (ρ, v_1 … v_d, p) and q = (ρ, ρv, E). Speeds of the outer waves are those of Einfeldt (1988), with Roe's mean; with them
    `hll` keeps density and pressure positive, and so does HLLC (Batten, Clarke, Lambert and Causon 1997).

    **Arguments:** `gamma`: γ, the ratio of heat capacities. `riemann`: "hllc" resolves contacts and shear, "hll" and "rusanov"
    smear them.
    """

    gamma: Float[Array, ""]
    riemann: GasFlux = "hllc"

    def __init__(self, gamma: ScalarLike, riemann: GasFlux = "hllc"):
        self.gamma, self.riemann = jnp.asarray(gamma, float), riemann

    def primitive(self, q):
        v = q[1:-1] / q[:1]
        return jnp.concatenate([q[:1], v, (self.gamma - 1) * (q[-1:] - (q[1:-1] * v).sum(0, keepdims=True) / 2)])

    def conserved(self, w):
        return jnp.concatenate([w[:1], w[:1] * w[1:-1], self._energy(w)[None]])

    def flux(self, w, axis):
        q, normal = self.conserved(w), w[1 + axis]
        return (q * normal).at[1 + axis].add(w[-1]).at[-1].add(w[-1] * normal)

    def speeds(self, left, right, axis):
        share = jnp.sqrt(left[0]) / (jnp.sqrt(left[0]) + jnp.sqrt(right[0]))
        c_left, c_right = (jnp.sqrt(self.gamma * w[-1] / w[0]) for w in (left, right))
        u_left, u_right = left[1 + axis], right[1 + axis]
        u = share * u_left + (1 - share) * u_right
        spread = share * (1 - share) * (u_right - u_left) ** 2 / 2
        c = jnp.sqrt(share * c_left**2 + (1 - share) * c_right**2 + (self.gamma - 1) * spread)
        return jnp.minimum(u_left - c_left, u - c), jnp.maximum(u_right + c_right, u + c)

    def interface(self, left, right, axis):
        plain = {"hll": hll, "rusanov": rusanov}
        if self.riemann in plain:
            flux = plain[self.riemann](self, left, right, axis)
            return flux, flux
        flux = self._hllc(left, right, axis)
        return flux, flux

    def source(self, start, end, axis):
        return 0.0

    def admissible(self, w):
        return (w[:1] > 0) & (w[-1:] > 0)

    def mirrored(self, w, axis):
        return w.at[1 + axis].multiply(-1)

    def _energy(self, w: Averages) -> Array:
        return w[-1] / (self.gamma - 1) + w[0] * (w[1:-1] ** 2).sum(0) / 2

    def _hllc(self, left: Averages, right: Averages, axis: int) -> Averages:
        """Two mean states beside the contact (Toro, Spruce and Speares 1994)."""
        slowest, fastest = self.speeds(left, right, axis)
        inward = [w[0] * (s - w[1 + axis]) for w, s in ((left, slowest), (right, fastest))]
        momentum = inward[0] * left[1 + axis] - inward[1] * right[1 + axis]
        contact = (right[-1] - left[-1] + momentum) / (inward[0] - inward[1])
        from_left = contact >= 0
        w = jnp.where(from_left, left, right)
        s = jnp.where(from_left, jnp.minimum(slowest, 0), jnp.maximum(fastest, 0))
        outer = jnp.where(from_left, slowest, fastest)
        q, normal = self.conserved(w), w[1 + axis]
        # The state between the outer wave and the contact, from the jump conditions over the wave.
        density = w[0] * (outer - normal) / (outer - contact)
        work = (contact - normal) * (contact + w[-1] / (w[0] * (outer - normal)))
        star = (
            (density * jnp.concatenate([jnp.ones_like(w[:1]), w[1:-1], (q[-1] / w[0] + work)[None]]))
            .at[1 + axis]
            .set(density * contact)
        )
        return self.flux(w, axis) + s * (star - q)
