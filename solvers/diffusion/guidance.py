"""Guidance: a denoiser E[x₀ | x] and an observation y make the guided denoiser E[x₀ | x, y], which every sampler runs.

With D the denoiser at noise level s, J its derivative and K the covariance of the noise (the identity for white noise),

    D_y(x, s) = D + s² K ∇ₓ log p(y | x),

and a guidance is an approximation of p(y | x). All linear algebra is in the space of observations, in units of their errors, so
that R = 1 below and operators may be singular.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ...core.arguments import check_fields, kind, number
from ..linear import CG
from ..linear import solve as linear_solve
from ..linear.method import AbstractMethod
from .denoiser import AbstractDenoiser, Level, as_denoiser
from .observation import AbstractEvidence, AbstractObservation, Linearised

Product = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]
SAMPLES = "samples"  # the axis of the samples in `sample`, for guidance that looks at all of them


class Here(NamedTuple):
    """Where a guidance is asked: the state x = x₀ + sigma ε of one sample; `plain`, the denoiser at this level as a function of x;
    `colour`, the product with the covariance K of the noise; `key`, a random key, None where there is none."""

    x: Float[Array, "*shape"]
    sigma: Any
    plain: Product
    colour: Product
    key: Any


class AbstractGuidance(eqx.Module):
    """How the observation enters: `guidance(denoiser, observation)` is a denoiser again. Write `denoised`."""

    @abc.abstractmethod
    def denoised(self, here: Here, evidence: Any) -> Float[Array, "*shape"]:
        """D_y at a state of one sample."""

    def check(self, evidence: AbstractEvidence) -> None:
        """**Raises:** `TypeError` for evidence that this guidance cannot use."""
        kind(
            type(self).__name__,
            "observation",
            evidence,
            self.uses,
            f"pass {' or '.join(each.example for each in self.uses)}",
        )

    @property
    def uses(self) -> tuple[type[AbstractEvidence], ...]:
        """The kinds of evidence that this guidance can use."""
        return (AbstractObservation,)

    def __call__(self, denoiser: Any, observation: AbstractEvidence, *, covariance: Callable | None = None) -> "Guided":
        """The denoiser of the posterior.

        **Arguments:**

        - `denoiser`: `denoise(x, sigma, condition)` of one sample, or a network that predicts noise, velocity, ….
        - `observation`: an `Observation`; also several in a `JointObservation`, or an `Event`.
        - `covariance`: the product v ↦ K v with the covariance of coloured noise, if `sample(noise=…)` draws such; else None.
        """
        self.check(observation)
        return Guided(as_denoiser(denoiser), observation, self, covariance)


class Guided(AbstractDenoiser):
    """A denoiser with its guidance. `AbstractGuidance` makes it; a guided denoiser can be guided again, by other evidence."""

    denoiser: AbstractDenoiser
    evidence: AbstractEvidence
    guidance: AbstractGuidance
    covariance: Callable | None

    def _colour(self, x):
        return x if self.covariance is None else jnp.asarray(self.covariance(x)).astype(x.dtype)

    def at(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> Float[Array, "*shape"]:
        def plain(x):
            return jnp.asarray(self.denoiser.at(x * level.scale, level, condition)).astype(x.dtype)

        return self.guidance.denoised(
            Here(v / level.scale, level.sigma, plain, self._colour, level.key), self.evidence
        )

    def __call__(self, x: Float[Array, "*shape"], sigma: Any, condition: Any = None) -> Float[Array, "*shape"]:
        def plain(x):
            return jnp.asarray(self.denoiser(x, sigma, condition)).astype(x.dtype)

        return self.guidance.denoised(Here(x, sigma, plain, self._colour, None), self.evidence)

    def culprit(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> str:
        """Who returned a value that is not finite: the start of a sentence."""
        plain = self.denoiser.at(v, level, condition)
        if not bool(jnp.isfinite(plain).all()):
            inner = isinstance(self.denoiser, Guided)
            return self.denoiser.culprit(v, level, condition) if inner else "the denoiser returned"
        if not bool(jnp.isfinite(self.evidence.probe(plain)).all()):
            return f"the forward model of the {type(self.evidence).__name__}, asked at a finite field, returned"
        return f"the guidance {type(self.guidance).__name__} or a derivative of the denoiser or the forward model returned"


def data_weights(seen: Linearised, spread: Product, method: AbstractMethod) -> Float[Array, " m"]:
    """(H S Hᵀ + 1)⁻¹ r with S = `spread`: what has to be multiplied by S Hᵀ for the correction of x by the observation."""
    structure = jax.ShapeDtypeStruct(seen.residual.shape, seen.residual.dtype)
    tags = lx.positive_semidefinite_tag if method.needs_symmetric else ()
    operator = lx.FunctionLinearOperator(lambda u: u + seen.forward(spread(seen.transposed(u))), structure, tags)
    return linear_solve(operator, seen.residual, method).value


class MomentMatched(AbstractGuidance):
    """p(x₀ | x) as the Gaussian of the denoiser's own mean and covariance, which is s² J K (Tweedie): exact for Gaussian priors
    and linear operators,

        D_y = D + Σ Hᵀ (H Σ Hᵀ + R)⁻¹ (y − A(D)),   Σ = s² K Jᵀ,

    with the operator linearised at D (Finzi et al. 2023; Boys et al. 2024). One network evaluation per call, and one of its
    vector-Jacobian products per iteration of the linear solve and one more.

    It has the right spread where other guidances have not. Of a network whose Jacobian is far from symmetric, the residual of
    the solve does not fall; `method=BiCGStab()` does not ask for symmetry.

    **Arguments:** `method`: of the linear solve in the space of observations. Its `rtol` of 1e-3 suffices for an error of a
      percent.
    """

    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        mean, pull = jax.vjp(here.plain, here.x)

        def spread(u):
            return here.sigma**2 * here.colour(pull(u)[0])

        seen = evidence.linearised(mean)
        return mean + spread(seen.transposed(data_weights(seen, spread, self.method)))


class PiGDM(AbstractGuidance):
    """Pseudo-inverse guidance: p(x₀ | x) as N(D, r² K) with r² = s² d²/(s² + d²), d the standard deviation of the data,

        D_y = D + s² K Jᵀ Hᵀ (r² H K Hᵀ + R)⁻¹ (y − A(D))   (Song et al. 2023).

    One vector-Jacobian product per call. Its spread is too wide where neighbouring points are correlated.
    """

    data_std: float = eqx.field(static=True, default=1.0)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)
        number("PiGDM", "data_std", self.data_std, above=0)

    def denoised(self, here, evidence):
        mean, pull = jax.vjp(here.plain, here.x)
        seen = evidence.linearised(mean)
        variance = isotropic(here.sigma, self.data_std)
        weights = data_weights(seen, lambda u: variance * here.colour(u), self.method)
        return mean + here.sigma**2 * here.colour(pull(seen.transposed(weights))[0])


class DMPS(AbstractGuidance):
    """p(y | x) with an uninformative prior, N(A(x), s² H K Hᵀ + R): D_y = D + s² K Hᵀ (s² H K Hᵀ + R)⁻¹ (y − A(x)) (Meng and
    Kabashima 2022).

    No derivative of the network. The operator acts on the noisy state itself, which suits linear operators alone.
    """

    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        def spread(u):
            return here.sigma**2 * here.colour(u)

        seen = evidence.linearised(here.x)
        return here.plain(here.x) + spread(seen.transposed(data_weights(seen, spread, self.method)))


class DPS(AbstractGuidance):
    """Steps along the gradient of the misfit: D_y = D − ζ (r/d) K ∇ₓ |y − A(D)| with r² = s² d²/(s² + d²), ζ per e-fold of the noise
    level (Chung et al. 2023).

    In the paper every step subtracts ζ' times the gradient. Here the result does not depend on the number of steps once they
    are many, and r/d lets the steps fall with the noise, without which they never settle. With `squared` it is the gradient
    of ½ |y − A(D)|².

    It fits the observations, but its spread is not that of the posterior, and ζ has to be tuned for every problem. One
    vector-Jacobian product per call.

    **Arguments:**

    - `step`: ζ, for the norm about 3 times the largest of the data, for the square about 30 (in units of the data, and of y).
    - `data_std`: d, the standard deviation of the data.
    """

    step: float = eqx.field(static=True, default=24.0)
    squared: bool = eqx.field(static=True, default=False)
    data_std: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_fields(self)
        number("DPS", "step", self.step, above=0)
        number("DPS", "data_std", self.data_std, above=0)

    def denoised(self, here, evidence):
        mean, pull = jax.vjp(here.plain, here.x)
        seen, scale = evidence.linearised(mean), evidence.typical_std
        if self.squared:
            weights = scale**2 * seen.residual
        else:
            size = jnp.sqrt(jnp.sum(seen.residual**2))
            weights = scale * seen.residual / jnp.where(size > 0, size, 1)
        step = self.step * jnp.sqrt(isotropic(here.sigma, self.data_std)) / self.data_std
        return mean + step * here.colour(pull(seen.transposed(weights.astype(mean.dtype)))[0])


def isotropic(sigma: Any, data_std: float) -> Any:
    """r² = s² d²/(s² + d²), the variance of x₀ given x of data N(0, d²)."""
    return sigma**2 * data_std**2 / (sigma**2 + data_std**2)
