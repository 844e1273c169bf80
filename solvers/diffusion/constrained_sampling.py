"""What `sample` does for a constraint: its steps, its denoiser, and the samples at the end."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .coloured_noise import AbstractColouredNoise
from .constraint import Constrained, Constraint
from .denoiser import AbstractDenoiser
from .flow_map import FlowMap
from .multistep import DDIM
from .table import Table


def constrained_solver(solver: Any, constraint: Constraint | None) -> Any:
    """The solver, or the steps of a constraint with `mix`. **Raises:** `ValueError` for another solver than `DDIM()` there."""
    steps = None if constraint is None else constraint.solver
    if steps is None:
        return solver
    if solver != DDIM():
        raise ValueError(f"sample(constraint=Constraint(mix={steps.mix})): it has steps of its own; use it with DDIM()")
    return steps


def constrained(
    denoiser: AbstractDenoiser, constraint: Constraint, table: Table, noise: Callable | None, centre: Array | None
) -> Constrained:
    """**Raises:** `ValueError` for what contradicts a constraint: noise left at the end, noise whose covariance is not known."""
    if table.end > 0:
        raise ValueError(
            "sample(constraint=…): a constraint is for samples without noise, these end at the noise level "
            f"{table.end:.3g}; use a grid with to_zero=True"
        )
    if constraint.mix and isinstance(denoiser, FlowMap):
        raise ValueError("sample(constraint=Constraint(mix=…)): a FlowMap jumps to the next time; leave out mix")
    covariance = None
    if noise is not None and constraint.metric == "covariance" and constraint.when > 0:
        if not isinstance(noise, AbstractColouredNoise):
            raise ValueError(
                "sample(constraint=…): the covariance of noise=… is not known; pass FieldNoise, or Constraint(metric='euclidean')"
            )
        covariance = noise.covariance
    return constraint(denoiser, covariance, centre)


@eqx.filter_jit
def _met(constraint: Constraint, samples: Array) -> tuple[Array, Array]:
    met, worst = jax.vmap(constraint.met)(samples)
    fine = worst <= constraint.atol
    return jnp.where(fine.reshape(-1, *(1,) * (met.ndim - 1)), met, jnp.nan), worst


def met(constraint: Constraint, samples: Float[Array, "n *shape"]) -> Float[Array, "n *shape"]:
    """Samples that meet the constraint. **Raises:** `FloatingPointError` outside of `jit` where some cannot; else these are
    NaN."""
    found, worst = _met(constraint, samples)
    if isinstance(worst, Tracer) or bool((worst <= constraint.atol).all()):
        return found
    missed = np.asarray(worst)
    wrong = np.flatnonzero(~(missed <= constraint.atol))
    if np.isnan(missed).any():
        raise FloatingPointError(
            f"sample(constraint=…): h is not finite for {np.isnan(missed).sum()} of {len(missed)} samples (first: {wrong[0]})"
        )
    raise FloatingPointError(
        f"sample(constraint=…): {len(wrong)} of {len(missed)} samples do not meet the constraint, |h| reaches {missed.max():.2g} "
        f"(atol={constraint.atol:g}); equations that contradict each other cannot be met, others may need more Newton steps, "
        "Equation(h, steps=…), or a larger atol"
    )
