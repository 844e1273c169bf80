"""The Chebyshev semi-iteration with a fixed number of steps, as a preconditioner."""

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, ScalarLike

from ..operators.eigenvalue_bounds import nonzero_diagonal, scaled_upper_bound
from ..preconditioning import AbstractPreconditioner


class ChebyshevPolynomial(AbstractPreconditioner):
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

    **Example:**

        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.CG(sx.linear.ChebyshevPolynomial())).status)).name
        'converged'
    """

    degree: int = eqx.field(static=True, default=4)
    fraction: ScalarLike = 1 / 30
    upper: ScalarLike | None = None

    def __check_init__(self):
        known = not isinstance(self.fraction, Tracer)
        if self.degree < 1 or (known and not 0 < np.asarray(self.fraction) < 1):
            raise ValueError(
                "ChebyshevPolynomial: need degree >= 1 and 0 < fraction < 1, "
                f"got degree {self.degree} and fraction {self.fraction}"
            )

    def bind(self, operator) -> "BoundChebyshevPolynomial":
        upper = scaled_upper_bound(operator) if self.upper is None else self.upper
        return BoundChebyshevPolynomial(self.degree, self.fraction, upper, operator, nonzero_diagonal(operator))


class BoundChebyshevPolynomial(eqx.Module):
    """`ChebyshevPolynomial` for one operator: r ↦ M⁻¹ r."""

    degree: int = eqx.field(static=True)
    fraction: ScalarLike
    upper: ScalarLike
    operator: lx.AbstractLinearOperator
    diagonal: Float[Array, "..."]

    def __call__(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        upper = jnp.asarray(self.upper, r.dtype)
        centre, radius = centre_and_radius(jnp.asarray(self.fraction, r.dtype) * upper, upper, r.dtype)
        alpha, d, x, rest = jnp.ones((), r.dtype), jnp.zeros_like(r), jnp.zeros_like(r), r
        for k in range(self.degree):
            alpha, beta = next_coefficients(alpha, k, centre, radius)
            d = rest / self.diagonal + beta * d
            x = x + alpha * d
            if k < self.degree - 1:
                rest = rest - alpha * self.operator.mv(d)
        return x


def centre_and_radius(lower: ScalarLike, upper: ScalarLike, dtype) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(upper + lower) / 2 and (upper − lower) / 2 of the interval of eigenvalues."""
    lower, upper = jnp.asarray(lower, dtype), jnp.asarray(upper, dtype)
    return (upper + lower) / 2, (upper - lower) / 2


def next_coefficients(
    alpha: Float[Array, ""], k: int | Int[Array, ""], centre: Float[Array, ""], radius: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """α_k and β_k from α_{k−1} of the Chebyshev iteration d_k = D⁻¹ r_k + β_k d_{k−1}, x_{k+1} = x_k + α_k d_k (Gutknecht and
    Röllin 2002). Nothing is divided by the radius, which may be zero."""
    beta = jnp.where(k == 0, 0, jnp.where(k == 1, 0.5, 0.25) * (radius * alpha) ** 2)
    return 1 / (centre - beta / alpha), beta
