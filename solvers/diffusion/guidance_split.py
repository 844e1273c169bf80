"""Split guidance: the prior gives a point by one denoising, and the observation moves it by one linear solve. No derivative of
the network."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ...core.arguments import check_fields, count, number
from ..linear import CG
from ..linear.method import AbstractMethod
from .guidance import AbstractGuidance, Here, data_weights, isotropic, proximal
from .observation import AbstractObservation
from .solver import AbstractMultistep, AbstractSolver
from .table import Row, Table, Update, assemble


class DiffPIR(AbstractGuidance):
    """The proximal point D_y = argmin |y − A(z)|²_R + λ |z − D|²/s² (Zhu et al. 2023).

    The paper adds a part of the noise anew in every step: use it with `DDIM(eta)`, η² about their ζ. One network evaluation
    and one linear solve per call; its spread is not that of the posterior.

    **Arguments:** `weight`: λ, 1 to 30. In the paper 7 to 8 for most tasks.
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
    """

    data_std: float = eqx.field(static=True, default=1.0)
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)
        number("DAPS", "data_std", self.data_std, above=0)

    def denoised(self, here, evidence):
        variance = isotropic(here.sigma, self.data_std)
        return draw(here, here.plain(here.x), variance, evidence, self.method)


class PnPDM(AbstractGuidance):
    """Split Gibbs sampling with a diffusion prior (PnP-DM, Wu et al. 2024): z ~ N(x, ρ²) p(y | z), then x ~ p(x₀ | x₀ + ρ ε = z),
    in turn, with a coupling ρ that falls. Its solver is `SplitGibbs`.

    The draw of z is exact for linear operators, by one linear solve; that of x runs the reverse SDE from the noise level ρ. No
    derivative of the network. As ρ falls slowly the samples become those of the posterior, whatever the prior: the one
    guidance here that is right in that limit. It takes hundreds of evaluations.
    """

    wants_target: ClassVar[bool] = True
    method: AbstractMethod = CG(rtol=1e-3, max_steps=200)

    def __check_init__(self):
        check_fields(self)

    def denoised(self, here, evidence):
        mean = here.plain(here.x)
        if here.target is None:
            raise ValueError("PnPDM: it alternates between noise levels; use it in sample(…, SplitGibbs())")
        # Where the next level is higher a round has ended.
        return jax.lax.cond(
            here.target > here.sigma,
            lambda x: draw(here, x, here.target**2, evidence, self.method),
            lambda x: x,
            mean,
        )


def draw(here: Here, x: Array, variance: Any, observation: AbstractObservation, method: AbstractMethod) -> Array:
    """A draw from N(x, v K) p(y | ·), for a linear operator: one from N(x, v K) is moved to a perturbed observation. Another
    operator is linearised at the draw."""
    drawn = x + variance**0.5 * here.drawn(0)
    seen = observation.linearised(drawn)
    # In units of the errors they are standard normal.
    errors = jax.random.normal(jax.random.fold_in(here.key, 1), seen.residual.shape, seen.residual.dtype)
    seen = seen._replace(residual=observation.perturbed(seen.residual, errors))

    def spread(u: Array) -> Array:
        return variance * here.colour(u)

    return drawn + spread(seen.transposed(data_weights(seen, spread, method)))


@dataclass(frozen=True)
class Renoised(AbstractMultistep):
    """x_t = D + t ε: every step forgets the state and adds the noise of the next level to the denoised sample. It is the solver
    of `DAPS`; with a plain denoiser the spread is lost, for D is a mean."""

    def table(self, levels, split, schedule) -> Table:
        rows = [Row(s, t, Update(denoised=1.0, noise=float(t))) for s, t in pairwise(levels)]
        return assemble(rows, levels[0], solver="Renoised")


@dataclass(frozen=True)
class SplitGibbs(AbstractSolver):
    """The rounds of `PnPDM`: from every noise level ρ of the grid `inner` steps of the reverse SDE (ancestral) bring the point to
    no noise; it then starts again at the next level, from what the guidance has drawn there.

    The number of evaluations is a multiple of `inner`, `times=20 * 5` for 20 levels; `LogSNR(100, …)` from 2 times the size of
    the data down to a tenth of the smallest deviation of the posterior that matters.

    **Arguments:** `inner`: evaluations per round, 3 to 20. `ratio`: of the last level of a round to ρ.
    """

    inner: int = 5
    ratio: float = 0.1

    def __post_init__(self):
        check_fields(self)
        count("SplitGibbs", "inner", self.inner)
        number("SplitGibbs", "ratio", self.ratio, above=0, below=1)

    def split(self, evaluations, ends_clean):
        if evaluations % self.inner:
            raise ValueError(
                f"SplitGibbs(inner={self.inner}) needs a multiple of so many evaluations, got {evaluations}"
            )
        return (self.inner,) * (evaluations // self.inner)

    def whole(self, intervals, ends_clean):
        return (self.inner,) * intervals

    def table(self, levels, split, schedule) -> Table:
        rows = []
        for start, following in pairwise(levels):
            inner = start * self.ratio ** np.linspace(0, 1, self.inner) if self.inner > 1 else np.array([start])
            for s, t in pairwise(inner):
                noise = t * math.sqrt(1 - (t / s) ** 2)
                down = math.sqrt(t**2 - noise**2)
                rows.append(Row(s, t, Update(down, 0.0, 1 - down / s, (), noise)))
            rows.append(Row(inner[-1], following, Update(denoised=1.0)))
        return assemble(rows, levels[0], solver="SplitGibbs")
