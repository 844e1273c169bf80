"""`Constraint`: samples that meet equations exactly, inside any sampler."""

import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked, count, number
from .conditions import AbstractCondition, as_condition
from .denoiser import AbstractDenoiser, Level, as_denoiser
from .mixing import Mixing
from .projection import correction


class Constraint(eqx.Module):
    """Equations h(x₀) = 0 that samples meet exactly: `sample(…, constraint=Constraint(h))`.

    At every evaluation the denoised value D becomes one that meets the equations, and so do the samples at the end. With
    Σ = s² K Jᵀ, the covariance of x₀ given the noisy state (Tweedie; J the derivative of D, K the covariance of the noise), and A
    the derivative of h,

        D ← D − Σ Aᵀ (A Σ Aᵀ)⁻¹ h(D),

    the mean of x₀ given h(x₀) = 0 too, so that what is not constrained follows: exact for Gaussian data and linear h, nearly
    exact for others, with the right spread. With metric="euclidean" D moves to the nearest value instead, which costs no
    derivative of the network, but leaves points beside the constrained ones as they were: means and spread are then wrong.

        Constraint(h)                                   # calibrated; a sampler of the ODE or SDE
        Constraint(h, when=0.0)                         # a projection at the end alone
        Constraint.eci(h, mix=5)                        # ECI (Cheng et al. 2024)
        Constraint.pcfm(h)                              # PCFM (Utkarsh et al. 2025)

    **Arguments:**

    - `h`: a condition, `KnownValues`, `LinearCondition`, `Mass`, `DivergenceFree`, several `Together`, or any function h(x) of
      one sample, of any shape, zero where met.
    - `when`: the noise level from which on D is constrained: ∞ always, 0 at the end only.
    - `metric`: "covariance" costs one network evaluation and one vector-Jacobian product per equation up to 64 equations, for
      more one per iteration of conjugate gradients.
    - `mix`: with k ≥ 1 each noise level is evaluated k times, and steps put noise on the constrained value that is not the one of
      the state (see `Mixing`); use it with `DDIM()`. 0: the steps of the solver.
    - `renew`: with `mix`, draw that noise anew after so many evaluations; None keeps the first one.
    - `relax`: λ of PCFM's correction of the next state u: min |d|² + λ |h(u + d + (1 − t) v)|², v the velocity; 0: none.
    - `atol`: what |h| of a sample may be in the end, in the units of `residual`.

    **Raises:** `TypeError` and `ValueError` for wrong settings. `sample` raises `FloatingPointError` where h cannot be met to
    `atol` (equations that contradict each other, too few Newton steps), or is not finite; inside of `jit` these samples are NaN.

    **Example:**

        >>> first = sx.diffusion.Constraint(lambda x: x[:1] - 1.0)                       # x₀ = 1
        >>> x = sx.diffusion.sample(denoise, "auto", schedule=sx.diffusion.EDM(), times=8,
        ...                         shape=(3,), n=4, key=key, constraint=first)
        >>> bool(jnp.abs(x[:, 0] - 1).max() < 1e-3)
        True
    """

    h: AbstractCondition
    when: float = eqx.field(static=True)
    metric: Literal["covariance", "euclidean"] = eqx.field(static=True)
    mix: int = eqx.field(static=True)
    renew: int | None = eqx.field(static=True)
    relax: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)

    @checked
    def __init__(
        self,
        h: Any,
        when: float = math.inf,
        metric: Literal["covariance", "euclidean"] = "covariance",
        mix: int = 0,
        renew: int | None = None,
        relax: float = 0.0,
        atol: float = 1e-4,
    ):
        self.h, self.metric = as_condition(h), metric
        self.when = float(when) if when == math.inf else number("Constraint", "when", when, least=0)
        self.mix = count("Constraint", "mix", mix, least=0)
        self.renew = None if renew is None else count("Constraint", "renew", renew)
        self.relax = number("Constraint", "relax", relax, least=0)
        self.atol = number("Constraint", "atol", atol, above=0)
        if not self.mix and (self.renew is not None or self.relax):
            raise ValueError("Constraint: renew=… and relax=… are for the steps of mix=…; give mix=1 or more")

    @classmethod
    def eci(cls, h: Any, mix: int = 5, renew: int | None = None, atol: float = 1e-4) -> "Constraint":
        """Extrapolation, correction, interpolation (Cheng et al. 2024): the projected value mixed with noise `mix` times a
        level."""
        return cls(h, metric="euclidean", mix=mix, renew=renew, atol=atol)

    @classmethod
    def pcfm(cls, h: Any, relax: float = 1.0, atol: float = 1e-4) -> "Constraint":
        """Physics-constrained flow matching (Utkarsh et al. 2025): one projection per step, a straight line from the first
        noise to it, and the relaxed correction of the next state, minimised exactly where they take 20 steps of descent."""
        return cls(h, metric="euclidean", mix=1, relax=relax, atol=atol)

    @property
    def solver(self) -> Mixing | None:
        """The steps that replace those of the solver; None without `mix`."""
        return Mixing(self.mix, self.renew) if self.mix else None

    def __call__(self, denoiser: Any, covariance: Any = None, centre: Any = None) -> "Constrained":
        """The constrained denoiser. `sample(constraint=…)` makes it, and projects the samples at the end too.

        **Arguments:** `denoiser`: as of `sample`. `covariance`: the product v ↦ K v of coloured noise. `centre`: μ, if the
        denoiser is one of x₀ − μ.
        """
        return Constrained(as_denoiser(denoiser), self, covariance, centre)

    def met(self, x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Array]:
        """The nearest sample that meets the equations, and the largest |h| there."""
        x = self.h.nearest(x)
        return x, jnp.max(jnp.abs(self.h.residual(x)))


class Constrained(AbstractDenoiser):
    """A denoiser whose values meet a constraint. `Constraint` makes it."""

    denoiser: AbstractDenoiser
    constraint: Constraint
    covariance: Callable | None
    centre: Any

    def at(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> Float[Array, "*shape"]:
        return self.both(v, level, condition)[0]

    def both(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> tuple[Array, Array]:
        """The constrained value and the plain one."""
        return self._met(lambda v: self.denoiser.at(v, level, condition), v, level.sigma)

    def __call__(self, x: Float[Array, "*shape"], sigma: Any, condition: Any = None) -> Float[Array, "*shape"]:
        return self._met(lambda x: jnp.asarray(self.denoiser(x, sigma, condition)), x, sigma)[0]

    def velocity(self, v, denoised, level: Level) -> Float[Array, "*shape"]:
        """(D − x)/τ in the frame of flows, in which a state is x = (1 − τ) x₀ + τ ε with τ = s/(1 + s); v = x (scale + share)."""
        size = level.scale + level.share
        return (denoised - v / size) * size / level.share

    def relaxed(self, moved, velocity, level: Level) -> Float[Array, "*shape"]:
        """The next point, at `level`, with the correction of PCFM: x' + τ' velocity is where it would end."""
        size = level.scale + level.share
        end = moved / size + level.share / size * velocity
        return moved + size * correction(self._residual, end, lambda u: u, self.constraint.relax)

    def _residual(self, x):
        return self.constraint.h.residual(x if self.centre is None else x + self.centre)

    def _met(self, plain: Callable, state: Array, sigma: Any) -> tuple[Array, Array]:
        rule, centre = self.constraint, 0 if self.centre is None else self.centre
        if rule.when == 0:
            value = plain(state).astype(state.dtype)
            return value, value
        if rule.metric == "euclidean":
            value = plain(state).astype(state.dtype)
            met = value
        else:
            value, pull = jax.vjp(lambda state: plain(state).astype(state.dtype), state)

            # Σ up to a factor, to which the correction is blind: the derivative is that by v or by x.
            def spread(u):
                moved = pull(u)[0]
                return moved if self.covariance is None else jnp.asarray(self.covariance(moved)).astype(u.dtype)

            met = value + correction(self._residual, value, spread)
        met = rule.h.nearest(met + centre) - centre
        return (met if rule.when == math.inf else jnp.where(sigma <= rule.when, met, value)), value
