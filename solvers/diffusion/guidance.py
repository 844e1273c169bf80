"""Guidance: a denoiser E[x₀ | x] and an observation y make the guided denoiser E[x₀ | x, y], which every sampler runs.

With D the denoiser at noise level s, J its derivative and K the covariance of the noise (the identity for white noise),

    D_y(x, s) = D + s² K ∇ₓ log p(y | x),

and a guidance is an approximation of p(y | x). All linear algebra is in the space of observations, in units of their errors, so
that R = 1 below and operators may be singular.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ...core.arguments import kind
from ..linear import Solution, Status
from ..linear import solve as linear_solve
from ..linear.method import AbstractMethod
from .coloured_noise import AbstractColouredNoise
from .denoiser import AbstractDenoiser, Level, as_denoiser
from .observation import AbstractEvidence, AbstractObservation, Linearised

Product = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]
SAMPLES = "samples"  # the axis of the samples in `sample`, for guidance that looks at all of them


class Here(NamedTuple):
    """Where a guidance is asked: the state x = x₀ + sigma ε of one sample; `plain`, the denoiser at this level as a function of
    x; `noise`, the law of ε, None for white noise; `key`, a random key, None where there is none."""

    x: Float[Array, "*shape"]
    sigma: Any
    plain: Product
    noise: AbstractColouredNoise | None
    key: Any = None

    def colour(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """K x, the product with the covariance of the noise."""
        return x if self.noise is None else jnp.asarray(self.noise.covariance(x)).astype(x.dtype)

    def drawn(self, number: int) -> Float[Array, "*shape"]:
        """A draw of the noise, another one for every number. **Raises:** `ValueError` without a key."""
        if self.key is None:
            raise ValueError("this guidance draws random numbers: give sample(…, key=…)")
        key = jax.random.fold_in(self.key, number)
        shape, dtype = self.x.shape, self.x.dtype
        return jax.random.normal(key, shape, dtype) if self.noise is None else self.noise(key, shape).astype(dtype)


class AbstractGuidance(eqx.Module):
    """How the observation enters: `guidance(denoiser, observation)` is a denoiser again. Write `denoised`.

    **Fields** of the class: `uses`, the kinds of evidence that it can use.

    **Example:**

        >>> isinstance(sx.diffusion.MomentMatched(), sx.diffusion.AbstractGuidance)
        True
    """

    uses: ClassVar[tuple[type[AbstractEvidence], ...]] = (AbstractObservation,)

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

    def __call__(
        self, denoiser: Any, observation: AbstractEvidence, *, noise: AbstractColouredNoise | None = None
    ) -> "Guided":
        """The denoiser of the posterior.

        **Arguments:**

        - `denoiser`: `denoise(x, sigma, condition)` of one sample, or a network that predicts noise, velocity, ….
        - `observation`: an `Observation`; also several in a `JointObservation`, or an `Event`.
        - `noise`: the noise of `sample(noise=…)`, which must know its covariance; None for white noise.
        """
        self.check(observation)
        if noise is not None:
            kind(type(self).__name__, "noise", noise, AbstractColouredNoise, "pass noise that knows its covariance")
        return Guided(as_denoiser(denoiser), observation, self, noise)


class Guided(AbstractDenoiser):
    """A denoiser with its guidance. `AbstractGuidance` makes it; a guided denoiser can be guided again, by other evidence.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> type(sx.diffusion.MomentMatched()(denoise, observed)).__name__
        'Guided'
    """

    denoiser: AbstractDenoiser
    evidence: AbstractEvidence
    guidance: AbstractGuidance
    noise: AbstractColouredNoise | None

    def at(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> Float[Array, "*shape"]:
        def plain(x):
            return jnp.asarray(self.denoiser.at(x * level.scale, level, condition)).astype(x.dtype)

        return self.guidance.denoised(Here(v / level.scale, level.sigma, plain, self.noise, level.key), self.evidence)

    def __call__(self, x: Float[Array, "*shape"], sigma: Any, condition: Any = None) -> Float[Array, "*shape"]:
        def plain(x):
            return jnp.asarray(self.denoiser(x, sigma, condition)).astype(x.dtype)

        return self.guidance.denoised(Here(x, sigma, plain, self.noise), self.evidence)

    def culprit(self, v: Float[Array, "*shape"], level: Level, condition: Any) -> str:
        """Who returned a value that is not finite: the start of a sentence."""
        plain = self.denoiser.at(v, level, condition)
        if not bool(jnp.isfinite(plain).all()):
            if isinstance(self.denoiser, Guided):
                return self.denoiser.culprit(v, level, condition)
            return "the denoiser returned"
        if not bool(jnp.isfinite(self.evidence.probe(plain)).all()):
            return f"the forward model of the {type(self.evidence).__name__}, asked at a finite field, returned"
        return (
            f"the guidance {type(self.guidance).__name__} or a derivative of the denoiser or the forward model returned"
        )


def data_weights(seen: Linearised, spread: Product, method: AbstractMethod) -> Float[Array, " m"]:
    """(H S Hᵀ + 1)⁻¹ r with S = `spread`: what has to be multiplied by S Hᵀ for the correction of x by the observation."""
    return finite_or_nan(data_solution(seen, spread, method))


def data_solution(seen: Linearised, spread: Product, method: AbstractMethod) -> Solution:
    """The linear solve of `data_weights`."""
    return solved_beside_errors(lambda u: seen.forward(spread(seen.transposed(u))), seen.residual, method)


def solved_beside_errors(product: Product, residual: Float[Array, " m"], method: AbstractMethod) -> Solution:
    """(P + 1)⁻¹ r with P a symmetric positive semidefinite `product` in the space of observations."""
    structure = jax.ShapeDtypeStruct(residual.shape, residual.dtype)
    tags = lx.positive_semidefinite_tag if method.needs_symmetric else ()
    return linear_solve(lx.FunctionLinearOperator(lambda u: u + product(u), structure, tags), residual, method)


def finite_or_nan(solution: Solution) -> Float[Array, "..."]:
    """The value, NaN where the solve met NaN: its best point is then the start, which would be no guidance at all."""
    return jnp.where(solution.stats.status == Status.non_finite, jnp.nan, solution.value)


def proximal(
    x: Float[Array, "*shape"], spread: Product, observation: AbstractObservation, method: AbstractMethod
) -> Float[Array, "*shape"]:
    """argmin over z of ½ |y − A(z)|²_R + ½ |z − x|²_S, which is x + S Hᵀ (H S Hᵀ + R)⁻¹ (y − A(x)), with A linearised at x: one
    linear solve in the space of observations. `spread` is the product with S."""
    seen = observation.linearised(x)
    return x + spread(seen.transposed(data_weights(seen, spread, method)))


def isotropic(sigma: Any, data_std: float) -> Any:
    """r² = s² d²/(s² + d²), the variance of x₀ given x of data N(0, d²)."""
    return sigma**2 * data_std**2 / (sigma**2 + data_std**2)
