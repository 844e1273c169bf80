"""Split guidance: the prior gives a point by one denoising, and the observation moves it by one linear solve. No derivative of
the network."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from ...core.arguments import check_fields, number
from ..linear import CG
from ..linear.method import AbstractMethod
from .guidance import AbstractGuidance, Here, data_weights, isotropic, proximal
from .observation import AbstractObservation
from .solver import AbstractMultistep
from .table import Row, Table, Update, assemble


class DiffPIR(AbstractGuidance):
    """The proximal point D_y = argmin |y − A(z)|²_R + λ |z − D|²/s² (Zhu et al. 2023).

    The paper adds a part of the noise anew in every step: use it with `DDIM(eta)`, η² about their ζ. One network evaluation
    and one linear solve per call; its spread is not that of the posterior.

    **Arguments:** `weight`: λ, 1 to 30. In the paper 7 to 8 for most tasks.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.DiffPIR()(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
    """

    weight: float = eqx.field(static=True, default=8.0)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)
        number("DiffPIR", "weight", self.weight, above=0)

    def denoised(self, here, evidence):
        return proximal(
            here.plain(here.x), lambda u: here.sigma**2 / self.weight * here.colour(u), evidence, self.method
        )


class DAPS(AbstractGuidance):
    """A draw from N(D, r² K) p(y | ·), with r² = s² d²/(s² + d²), instead of the mean; `Renoised()` then adds all noise of the
    next level anew, x_t = x₀ + t ε (Zhang et al. 2024, decoupled annealing).

    The draw is exact for linear operators, by one linear solve: a draw from N(D, r² K) is moved to a perturbed observation. (The
    paper runs Langevin steps, from a point that some steps of the ODE find.) For others the operator is linearised at the draw.

    With many levels it leaves the modes that a path of the ODE is held in. Its spread is that of the posterior where data are
    white; where neighbours are correlated r² K is too wide.

    **Arguments:** `data_std`: d, the standard deviation of the data.

    **Example:**

        >>> observed = sx.diffusion.Observation(lambda x: x[:1], jnp.array([1.0]), std=0.1)
        >>> isinstance(sx.diffusion.DAPS()(denoise, observed), sx.diffusion.AbstractDenoiser)
        True
    """

    data_std: float = eqx.field(static=True, default=1.0)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)
        number("DAPS", "data_std", self.data_std, above=0)

    def denoised(self, here, evidence):
        variance = isotropic(here.sigma, self.data_std)
        return draw(here, here.plain(here.x), variance, evidence, self.method)


def draw(here: Here, x: Array, variance: Any, observation: AbstractObservation, method: AbstractMethod) -> Array:
    """A draw from N(x, v K) p(y | ·), for a linear operator: one from N(x, v K) is moved to a perturbed observation. Another
    operator is linearised at the draw."""
    drawn = x + variance**0.5 * here.drawn(0)
    seen = observation.linearised(drawn)
    # Residuals are in units of the errors, which are standard normal in them.
    errors = jax.random.normal(jax.random.fold_in(here.key, 1), seen.residual.shape, seen.residual.dtype)
    seen = seen._replace(residual=observation.perturbed(seen.residual, errors))

    def spread(u: Array) -> Array:
        return variance * here.colour(u)

    return drawn + spread(seen.transposed(data_weights(seen, spread, method)))


@dataclass(frozen=True)
class Renoised(AbstractMultistep):
    """x_t = D + t ε: every step forgets the state and adds the noise of the next level to the denoised sample. It is the solver
    of `DAPS`; with a plain denoiser the spread is lost, for D is a mean.

    **Example:**

        >>> sx.diffusion.plan(sx.diffusion.Renoised(), schedule=sx.diffusion.EDM(), times=5).stochastic
        True
    """

    def table(self, levels, split, schedule) -> Table:
        rows = [Row(s, t, Update(denoised=1.0, noise=float(t))) for s, t in pairwise(levels)]
        return assemble(rows, levels[0], solver="Renoised")
