"""The probability of an event under a diffusion model, by importance sampling with guided samples."""

import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

from ...core.arguments import checked, count, kind, random_key
from .denoiser import as_denoiser
from .guidance import AbstractGuidance
from .guidance_moments import MomentMatched
from .likelihood import log_likelihood
from .observation import Event
from .sampling import sample
from .schedule import AbstractSchedule
from .solver import AbstractSolver
from .times import LogSNR


class EventProbability(NamedTuple):
    """What `event_probability` found.

    **Fields:**

    - `log_probability`: log P(E), −∞ where no sample reached the event.
    - `lower_bound`: a lower bound on log P(E) in expectation, from the samples in E alone; the closer, the better the guidance.
    - `effective_samples`: (Σw)²/Σw² of the importance weights. Below ten the estimate is poor.
    - `inside`: whether each guided sample lies in E.
    - `samples` `(n, *shape)`: the guided samples; with their `log_weights` `(n,)`, log p − log q, they stand for p(x | E).
    """

    log_probability: Float[Array, ""]
    lower_bound: Float[Array, ""]
    effective_samples: Float[Array, ""]
    inside: Bool[Array, " n"]
    samples: Float[Array, "n *shape"]
    log_weights: Float[Array, " n"]


@checked
def event_probability(
    denoiser: Any,
    event: Event,
    *,
    schedule: AbstractSchedule,
    shape: tuple[int, ...],
    n: int = 256,
    key: Any,
    guidance: AbstractGuidance | None = None,
    solver: AbstractSolver | Literal["auto"] = "auto",
    times: int = 50,
    steps: int = 30,
    probes: int | None = None,
    condition: Any = None,
) -> EventProbability:
    """P(C(x₀) > 0) for events that are too rare to be met by chance, with samples of them.

    Samples are drawn from the guided model q and weighted by the densities of both models along their ODEs: P(E) = E_q[1_E p/q].
    So the estimate is consistent whatever the guidance does; a good one makes the weights even. `Finzi et al. (2023)` take the
    mean of log p − log q instead, which is a lower bound.

    **Arguments:**

    - `denoiser`, `schedule`, `shape`, `key`, `solver`, `condition`: as in `sample`.
    - `n`: samples; `times`: evaluations of each.
    - `guidance`: `MomentMatched()` by default.
    - `steps`, `probes`: of `log_likelihood`, twice. With `probes` the densities are random, and so are the weights: exact traces
      (None) are for up to some hundred entries.

    **Raises:** `FloatingPointError` as `sample`. An event that no sample reaches has the log-probability −∞.

    **Example:**

        >>> large = sx.diffusion.Event(lambda x: x[0] - 2.0)                               # of N(0, 4): probability 0.16
        >>> found = sx.diffusion.event_probability(denoise, large, schedule=sx.diffusion.EDM(), shape=(1,), n=64, times=20,
        ...                                        key=key)
        >>> bool(abs(jnp.exp(found.log_probability) - 0.16) < 0.08)
        True
    """
    kind("event_probability", "event", event, Event, "pass an Event(function)")
    count("event_probability", "times", times)
    key = random_key("event_probability", key)
    guided = (MomentMatched() if guidance is None else guidance)(as_denoiser(denoiser), event)
    grid = LogSNR(count("event_probability", "times", times), to_zero=False)
    drawing, probing = jax.random.split(key)
    states = sample(
        guided, solver, schedule=schedule, times=grid, shape=shape, n=count("event_probability", "n", n), key=drawing,
        condition=condition,
    )  # fmt: skip
    assert isinstance(states, Array)
    x = states / float(schedule.alpha(schedule.end))
    options: Any = {"schedule": schedule, "steps": steps, "probes": probes, "condition": condition}
    options["key"] = None if probes is None else probing
    log_p = log_likelihood(as_denoiser(denoiser), x, **options)
    log_q = log_likelihood(guided, x, **options)
    return _weighed(event, x, log_p - log_q)


@eqx.filter_jit
def _weighed(event: Event, x, log_ratio) -> EventProbability:
    inside = jax.vmap(event.probe)(x) > 0
    weights = jnp.where(inside, log_ratio, -jnp.inf)
    total = logsumexp(weights)
    effective = jnp.where(inside.any(), jnp.exp(2 * total - logsumexp(2 * weights)), 0.0)
    share = jnp.mean(inside)
    mean = jnp.sum(jnp.where(inside, log_ratio, 0)) / jnp.maximum(jnp.sum(inside), 1)
    bound = jnp.where(inside.any(), mean + jnp.log(share), -jnp.inf)
    return EventProbability(total - math.log(len(x)), bound, effective, inside, x, log_ratio)
