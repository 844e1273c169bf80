"""Linear systems that depend on parameters through a few scalar functions."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.storage import register


class AffineSystem(eqx.Module):
    """A(μ) u = b(μ) with A(μ) = Σ_q θ_q(μ) A_q and b(μ) = Σ_r φ_r(μ) b_r.

    **Fields:**

    - `operators`: the Q parts A_q, symmetric: lineax operators (our `Diffusion`) on arrays `(*n)`, or all of them matrices
      `(m, m)`, dense or of `scipy.sparse`.
    - `rhs`: the R parts b_r, of the shape of the unknowns.
    - `coefficients`, `rhs_coefficients`: `parameters -> (Q,)` and `parameters -> (R,)`, functions that JAX can trace; the
      parameters are any pytree, as a rule a dict of numbers by name.

    **Example:**

        >>> block = sx.problem("thermal_block", blocks=(2, 2))
        >>> system = block.affine(block.box.grid(9))
        >>> len(system.operators), len(system.rhs)
        (4, 1)
    """

    operators: tuple[Any, ...]
    rhs: tuple[Any, ...]
    coefficients: Callable
    rhs_coefficients: Callable

    def __check_init__(self):
        if not self.operators or not self.rhs:
            raise ValueError("AffineSystem needs at least one operator and one right-hand side")


@register("Stacked")
class Stacked(eqx.Module):
    """Coefficients that are the parameters themselves, (μ_name₁, μ_name₂, …)."""

    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, parameters) -> Float[Array, " q"]:
        return jnp.stack([1.0 * parameters[name] for name in self.names])


@register("Constants")
class Constants(eqx.Module):
    """Coefficients that depend on nothing."""

    values: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, parameters) -> Float[Array, " r"]:
        return jnp.asarray(self.values, jnp.result_type(float))
