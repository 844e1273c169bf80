"""Chebyshev semi-iteration (Golub and Varga 1961) as a method and, with a fixed degree, as a preconditioner."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, ScalarLike

from ..method import AbstractMethod, set_up
from ..operators.diffusion import Diffusion
from ..operators.eigenvalue_bounds import gershgorin, lanczos
from ..operators.laplacian import Laplacian, as_diffusion
from ..solution import Stats
from .richardson import check_steps, iterate


class Chebyshev(AbstractMethod):
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
    """

    lower: ScalarLike | None = None
    upper: ScalarLike | None = None
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        check_steps(self)
        known = [np.asarray(end) for end in (self.lower, self.upper) if end is not None and not isinstance(end, Tracer)]
        if len(known) == 2 and not 0 < known[0] < known[1]:
            raise ValueError(f"Chebyshev: need 0 < lower < upper, got lower {self.lower} and upper {self.upper}")

    def bind(self, operator) -> "Chebyshev":
        upper = largest_scaled(operator) if self.upper is None else self.upper
        lower = self.lower
        if lower is None:
            structure = operator.in_structure()
            estimate, _ = lanczos(operator, jax.random.key(0), min(2 * max(structure.shape), 256), _diagonal(operator))
            # Rounding can find the zero of a singular operator.
            lower = jnp.maximum(estimate, 1e-6 * upper)
        return dataclasses.replace(self, lower=lower, upper=upper)

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the ‖b − A x‖₂ to reach instead of max(rtol ‖b‖₂, atol)."""
        bounded = self.bind(operator)
        centre, radius = _centre_and_radius(bounded.lower, bounded.upper, b.dtype)
        diagonal = _diagonal(operator)

        def step(state, k):
            x, r, d, alpha = state
            alpha, beta = _next_coefficients(alpha, k, centre, radius)
            d = r / diagonal + beta * d
            x = x + alpha * d
            r = b - operator.mv(x)
            return (x, r, d, alpha), self.measure(r)

        start = (x0, b - operator.mv(x0), jnp.zeros_like(b), jnp.ones((), b.dtype))
        window = 100 + 2 * jnp.sqrt((centre + radius) / (centre - radius))
        return iterate(self, operator, b, start, step, lambda state: state[0], tolerance, window)


class ChebyshevPolynomial(eqx.Module):
    """M⁻¹ = p(D⁻¹ A) D⁻¹, the result of `degree` Chebyshev iterations from zero on [upper · fraction, upper].

    Symmetric, and positive definite as long as `upper` bounds the spectrum of D⁻¹ A. It costs degree − 1 products with A and no
    inner product, so that conjugate gradients need about as many products as without it but 2 to 6 times fewer
    reductions (128² Poisson to 1e-8: 384 iterations, with degree 2, 4 and 8: 195, 104 and 61). It pays where reductions
    or kernel launches dominate.

    **Arguments:**

    - `degree`: at least 1 (which is Jacobi); 2 to 8.
    - `fraction`: lower end of the interval over the upper one, 1/30; may be traced. Too small a value wastes the degree on
      few eigenvalues.
    - `upper`: as in `Chebyshev`.

    Raises `ValueError` for degree < 1 or a fraction outside (0, 1).
    """

    degree: int = eqx.field(static=True, default=4)
    fraction: ScalarLike = 1 / 30
    upper: ScalarLike | None = None
    operator: lx.AbstractLinearOperator | None = None
    diagonal: Float[Array, "..."] | None = None

    def __check_init__(self):
        known = not isinstance(self.fraction, Tracer)
        if self.degree < 1 or (known and not 0 < np.asarray(self.fraction) < 1):
            raise ValueError(
                "ChebyshevPolynomial: need degree >= 1 and 0 < fraction < 1, "
                f"got degree {self.degree} and fraction {self.fraction}"
            )

    def bind(self, operator) -> "ChebyshevPolynomial":
        if self.operator is not None:
            return self
        upper = largest_scaled(operator) if self.upper is None else self.upper
        return dataclasses.replace(self, upper=upper, operator=operator, diagonal=_diagonal(operator))

    def __call__(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """M⁻¹ r."""
        diagonal, operator = set_up(self, self.diagonal), set_up(self, self.operator)
        upper = jnp.asarray(set_up(self, self.upper), r.dtype)
        centre, radius = _centre_and_radius(jnp.asarray(self.fraction, r.dtype) * upper, upper, r.dtype)
        alpha, d, x, rest = jnp.ones((), r.dtype), jnp.zeros_like(r), jnp.zeros_like(r), r
        for k in range(self.degree):
            alpha, beta = _next_coefficients(alpha, k, centre, radius)
            d = rest / diagonal + beta * d
            x = x + alpha * d
            if k < self.degree - 1:
                rest = rest - alpha * operator.mv(d)
        return x


def largest_scaled(operator: lx.AbstractLinearOperator) -> Float[Array, ""]:
    """Upper bound of λmax(D⁻¹ A): Gershgorin where faces are known, else 1.1 times an estimate from 16 Lanczos steps."""
    if isinstance(operator, Diffusion | Laplacian):
        return gershgorin(as_diffusion(operator, "gershgorin"))
    return 1.1 * lanczos(operator, jax.random.key(0), 16, _diagonal(operator))[1]


def _diagonal(operator):
    diagonal = lx.diagonal(operator).reshape(operator.in_structure().shape)
    return jnp.where(diagonal == 0, 1, diagonal)


def _centre_and_radius(lower, upper, dtype):
    lower, upper = jnp.asarray(lower, dtype), jnp.asarray(upper, dtype)
    return (upper + lower) / 2, (upper - lower) / 2


def _next_coefficients(alpha, k: int | Int[Array, ""], centre, radius):
    """α_k and β_k from α_{k−1} (Gutknecht and Röllin 2002): no division by the radius, which may be zero."""
    beta = jnp.where(k == 0, 0, jnp.where(k == 1, 0.5, 0.25) * (radius * alpha) ** 2)
    return 1 / (centre - beta / alpha), beta
