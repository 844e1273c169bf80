"""Chebyshev semi-iteration (Golub and Varga 1961)."""

import dataclasses
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, ScalarLike

from ..inner_products import norm
from ..method import bound_part
from ..operators.eigenvalue_bounds import extreme_ritz_values, nonzero_diagonal, scaled_upper_bound
from ..preconditioners.chebyshev_polynomial import centre_and_radius, next_coefficients
from .stationary_method import AbstractStationary, Sweeps


class ChebyshevState(NamedTuple):
    """x, its residual, the last direction d, its step length α, and the number of iterations since the start."""

    x: Array
    r: Array
    d: Array
    alpha: Array
    count: Array


class Chebyshev(AbstractStationary):
    """The polynomial in D⁻¹ A that has the smallest largest value on an interval: x_{k+1} = x_k + α_k d_k.

    With the interval [λmin, λmax] of D⁻¹ A, κ = λmax/λmin, the error falls by (√κ − 1)/(√κ + 1) per iteration, the bound of
    conjugate gradients, without their inner products and recurrences: only the stopping test reduces over the grid.

    **Arguments:**

    - `lower`, `upper`: the interval. A `lower` below λmin costs √(λmin/lower) times the iterations; above it, eigenvalues
      between converge slowly. An `upper` below λmax diverges. May be traced. By default `upper` is the Gershgorin bound of
      `Diffusion` and `Laplacian` operators (guaranteed) and 1.1 times a Lanczos estimate for others; `lower` is a Lanczos
      estimate from 2n products with A, at most 256, for n points along the longest axis (without it the iteration would
      be slow by an unknown factor; pass it where it is known, as in a sequence of similar systems).
    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol). Good values of rtol: 1e-5 in float32, 1e-10 in float64.
    - `max_steps`: limit on iterations, each one product with A.
    - `history`: record ‖b − A x‖₂ per iteration.

    For symmetric operators with a positive diagonal and positive eigenvalues; singular ones if b is orthogonal to the null
    space. Raises `ValueError` unless 0 < lower < upper, where their values are known. Divergence ends as `non_finite` or
    `max_steps`.

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.Chebyshev(rtol=1e-3)).status)).name
        'converged'
    """

    lower: ScalarLike | None = None
    upper: ScalarLike | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        known = [np.asarray(end) for end in (self.lower, self.upper) if end is not None and not isinstance(end, Tracer)]
        if len(known) == 2 and not 0 < known[0] < known[1]:
            raise ValueError(f"Chebyshev: need 0 < lower < upper, got lower {self.lower} and upper {self.upper}")

    def bind(self, operator, *, transpose: bool = False) -> "Chebyshev":
        upper = scaled_upper_bound(operator) if self.upper is None else self.upper
        lower = self.lower
        if lower is None:
            products = min(2 * max(operator.in_structure().shape), 256)
            estimate, _ = extreme_ritz_values(operator, jax.random.key(0), products, nonzero_diagonal(operator))
            # Rounding can find the zero of a singular operator.
            lower = jnp.maximum(estimate, 1e-6 * upper)
        return dataclasses.replace(self, lower=lower, upper=upper)

    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        centre, radius = centre_and_radius(bound_part(self, self.lower), bound_part(self, self.upper), b.dtype)
        diagonal = nonzero_diagonal(operator)

        def start(x, r):
            return ChebyshevState(x, r, jnp.zeros_like(b), jnp.ones((), b.dtype), jnp.asarray(0))

        def step(state: ChebyshevState):
            alpha, beta = next_coefficients(state.alpha, state.count, centre, radius)
            d = state.r / diagonal + beta * state.d
            x = state.x + alpha * d
            r = b - operator.mv(x)
            return ChebyshevState(x, r, d, alpha, state.count + 1), norm(r)

        window = 100 + 2 * jnp.sqrt((centre + radius) / (centre - radius))
        return Sweeps(start, step, lambda state: state.x, window)
