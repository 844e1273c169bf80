"""Guidance by a Gaussian approximation of p(x₀ | x): `MomentMatched`, `PiGDM`, `DMPS`; and by gradients alone: `DPS`, `MCG`."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from ...core.arguments import check_fields, number
from ..linear import CG
from ..linear.method import AbstractMethod
from .guidance import AbstractGuidance, Here, data_weights, isotropic, proximal
from .observation import AbstractEvidence, AbstractObservation, Event


class MomentMatched(AbstractGuidance):
    """p(x₀ | x) as the Gaussian of the denoiser's own mean and covariance, which is s² J K (Tweedie): exact for Gaussian priors
    and linear operators,

        D_y = D + Σ Hᵀ (H Σ Hᵀ + R)⁻¹ (y − A(D)),   Σ = s² K Jᵀ,

    with the operator linearised at D (Finzi et al. 2023; Boys et al. 2024). One network evaluation per call, and one of its
    vector-Jacobian products per iteration of the linear solve and one more. Of an `Event` C(x₀) > 0 with c = ∇C(D),
    p(E | x) = Φ(C(D)/√(cᵀ Σ c)); its gradient goes through everything and takes second derivatives of the network.

    It has the right spread where other guidances have not. Of a network whose Jacobian is far from symmetric, as after a short
    training at high noise levels, the residual of the solve does not fall and the observations are not heard: see the misfit of
    the samples. `PriorCovariance` takes no Jacobian; `method=BiCGStab()` does not ask for symmetry.

    **Arguments:** `method`: of the linear solve in the space of observations. Its `rtol` of 1e-3 suffices for an error of a
      percent.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> guided = sx.diffusion.MomentMatched()(denoise, observed)
        >>> x = sx.diffusion.sample(guided, "auto", schedule=sx.diffusion.EDM(), times=20, shape=(2,), n=64, key=key)
        >>> bool(abs(x[:, 0].mean() - 1) < 0.1)                                          # the prior is N(0, 4)
        True
    """

    uses: ClassVar[tuple[type[AbstractEvidence], ...]] = (AbstractObservation, Event)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        if isinstance(evidence, Event):
            return here.plain(here.x) + here.sigma**2 * here.colour(
                jax.grad(lambda x: _log_chance(x, here, evidence))(here.x)
            )
        mean, pull = jax.vjp(here.plain, here.x)

        def spread(u):
            return here.sigma**2 * here.colour(pull(u)[0])

        seen = evidence.linearised(mean)
        return mean + spread(seen.transposed(data_weights(seen, spread, self.method)))


class PiGDM(AbstractGuidance):
    """Pseudo-inverse guidance: p(x₀ | x) as N(D, r² K) with r² = s² d²/(s² + d²), d the standard deviation of the data,

        D_y = D + s² K Jᵀ Hᵀ (r² H K Hᵀ + R)⁻¹ (y − A(D))   (Song et al. 2023).

    One vector-Jacobian product per call. Its spread is too wide where neighbouring points are correlated, 3 times on 64 points
    with 8 sensors, and the more of them are, the more it overshoots: with 500 sensors on 64² points 20 steps diverge. Use
    `MomentMatched` for fields.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.PiGDM()(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
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

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.DMPS()(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
    """

    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        def spread(u):
            return here.sigma**2 * here.colour(u)

        seen = evidence.linearised(here.x)
        return here.plain(here.x) + spread(seen.transposed(data_weights(seen, spread, self.method)))


class MCG(AbstractGuidance):
    """`DPS`, whose point is then moved onto the observations as far as their errors allow (manifold constraints, Chung et al.
    2022): argmin over z of ½ |y − A(z)|²_R + ½ |z − D'|²/d².

    The paper projects the noisy state onto noisy observations; here the denoised point is projected. It fits the observations
    best of all and has the least spread.

    **Arguments:** as of `DPS`.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.MCG()(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
    """

    step: float = eqx.field(static=True, default=24.0)
    data_std: float = eqx.field(static=True, default=1.0)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        moved = DPS(self.step, False, self.data_std).denoised(here, evidence)
        return proximal(moved, lambda u: self.data_std**2 * here.colour(u), evidence, self.method)


class DPS(AbstractGuidance):
    """Steps along the gradient of the misfit: D_y = D − ζ (r/d) K ∇ₓ |y − A(D)| with r² = s² d²/(s² + d²), ζ per e-fold of the
    noise level (Chung et al. 2023).

    In the paper every step subtracts ζ' times the gradient. Here the result does not depend on the number of steps once they
    are many, and r/d lets the steps fall with the noise, without which they never settle. With `squared` it is the gradient
    of ½ |y − A(D)|².

    It fits the observations, but its spread is not that of the posterior, and ζ has to be tuned for every problem. One
    vector-Jacobian product per call.

    **Arguments:**

    - `step`: ζ, for the norm about 3 times the largest of the data, for the square about 30 (in units of the data, and of y).
    - `data_std`: d, the standard deviation of the data.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> guided = sx.diffusion.DPS(step=24.0)(denoise, observed)
        >>> x = sx.diffusion.sample(guided, sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=40, shape=(2,), n=8, key=key)
        >>> x.shape
        (8, 2)
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


def _log_chance(x, here: Here, event: Event):
    """log p(E | x) of a Gaussian with the mean and covariance of the denoiser, C linearised at the mean."""
    mean, pull = jax.vjp(here.plain, x)
    value, slope = jax.value_and_grad(event.function)(mean)
    # The floor keeps the gradient finite where the denoiser says that nothing can change.
    variance = jnp.abs(jnp.vdot(slope, here.colour(pull(slope)[0]))) + 1e-3 * jnp.vdot(slope, here.colour(slope))
    tiny = jnp.finfo(x.dtype).tiny
    return norm.logcdf(value / jnp.maximum(here.sigma * jnp.sqrt(jnp.maximum(variance, tiny)), tiny))
