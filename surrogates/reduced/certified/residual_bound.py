"""Dual norms of residuals, online: three ways to evaluate one quadratic form, which differ in their rounding.

A reduced solution has the residual with coefficients x̂ = (φ(μ), −c_1 θ(μ), …, −c_N θ(μ)) in fixed functionals, so ‖r‖_X' is the
square root of x̂ᵀ G x̂ with their Gram matrix G. The terms of that sum are of the size of the right-hand side while the
sum goes to zero with the error: the direct evaluation has the floor √ε ‖b‖_X'.
"""

import warnings
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ....core.arguments import checked
from ....core.storage import register
from ..interpolation.eim import eim
from .reduced_space import ReducedSpace

Values = Float[Array | np.ndarray, "*batch p"]
Matrix = Float[Array | np.ndarray, "k p"]


def contract(subscripts: str, *arrays):
    """`einsum` on the host for NumPy arrays, in full precision by JAX otherwise."""
    if any(isinstance(a, jax.Array) for a in arrays):
        return jnp.einsum(subscripts, *arrays, precision="highest")
    return np.einsum(subscripts, *arrays, optimize=True)


def residual_coefficients(c, theta, phi):
    """x̂ `(…, R + N Q)` from coefficients `(…, N)`, θ `(…, Q)` and φ `(…, R)`."""
    xp = jnp if isinstance(c, jax.Array) else np
    products = -(c[..., :, None] * theta[..., None, :])
    return xp.concatenate([phi, products.reshape(*c.shape[:-1], -1)], -1)


def reduced_coefficients(matrices, rhs, theta, phi):
    """c `(…, N)` with Σ_q θ_q A_q^N c = Σ_r φ_r b_r^N."""
    xp = jnp if isinstance(theta, jax.Array) else np
    matrix, b = contract("...q,qij->...ij", theta, matrices), contract("...r,ri->...i", phi, rhs)
    return xp.linalg.solve(matrix, b[..., None])[..., 0]


@register("OrthonormalResidual")
class OrthonormalResidual(eqx.Module):
    """‖F x̂‖ with the coefficients F of the functionals in an orthonormal basis of their Riesz representers
    (Buhr, Engwer, Ohlberger and Rave 2014). The floor is about ε ‖b‖_X', in float32 about 1e-7 ‖b‖_X'."""

    floor: ClassVar[float] = 0.0  # no tolerance is refused; the bound says itself where it stops
    factor: Matrix

    @classmethod
    def of(cls, space: ReducedSpace) -> "OrthonormalResidual":
        """The form for the solutions of a reduced space."""
        return cls(space.factor)

    def __call__(self, x: Values):
        return _root((contract("kp,...p->...k", self.factor, x) ** 2).sum(-1))


@register("GramResidual")
class GramResidual(eqx.Module):
    """√(x̂ᵀ G x̂ + 2pε s²), s = Σ_i |x̂_i| √G_ii. The first term is the form of text books; the second bounds its rounding (p
    products each to form G, G x̂ and x̂ᵀ(G x̂), all with terms of at most s² in sum), and its root is the floor, at which the
    form warns on the host. In float32 the floor is above 3e-4, too high to be of use.

    **Raises:** `ValueError` in float32.
    """

    floor: ClassVar[float] = float(np.finfo(np.float64).eps) ** 0.5
    gram: Float[Array | np.ndarray, "p p"]

    @classmethod
    def of(cls, space: ReducedSpace) -> "GramResidual":
        """The form for the solutions of a reduced space."""
        return cls(space.factor.T @ space.factor)

    def square(self, x: Values):
        """x̂ᵀ G x̂ without a correction; below the floor it is noise of either sign."""
        return (contract("...p,pq->...q", x, self.gram) * x).sum(-1)

    def rounding(self, x: Values):
        """2pε s², the bound of the rounding of `square` in its precision."""
        scale = abs(x) @ self.gram.diagonal() ** 0.5
        return 2 * len(self.gram) * float(jnp.finfo(x.dtype).eps) * scale**2

    def __call__(self, x: Values):
        if x.dtype != np.float64:
            raise ValueError("the Gram form of the residual has a floor of 3e-4 in float32; use OrthonormalResidual")
        xp = jnp if isinstance(x, jax.Array) else np
        square, rounding = self.square(x), self.rounding(x)
        if xp is np and (square < rounding).any():
            warnings.warn("the Gram form of the residual has reached its floor, which it returns", stacklevel=2)
        return _root(xp.maximum(square, 0) + rounding)


@register("EIMResidual")
class EIMResidual(eqx.Module):
    """‖r(μ)‖² ≈ Σ_k λ_k(μ) ‖r(μ_k)‖², the exact norms of d residuals known (Casenave 2012; Casenave, Ern and Lelièvre 2014).

    The square is linear in the p(p + 1)/2 products x̂_i x̂_j, and empirical interpolation of these finds few parameters μ_k
    whose products combine to those of any other. No Riesz representer of a single functional is needed. Not a strict bound: an
    interpolation, whose sum may be negative by rounding (`square`); the norm returned is then at the size of that rounding,
    and on the host it warns.

    Made by `eim_residual`. **Fields:** `pairs` `(2, d)` the products read off, `lower`, `upper` `(d, d)` their values at the μ_k
    factorised, `squares` `(d,)`.
    """

    pairs: Int[Array | np.ndarray, "2 d"]
    lower: Matrix
    upper: Matrix
    squares: Float[Array | np.ndarray, " d"]

    def square(self, x: Values):
        """Σ_k λ_k ‖r(μ_k)‖² without a correction; rounding can make it negative."""
        return (self._terms(x)).sum(-1)

    def __call__(self, x: Values):
        xp = jnp if isinstance(x, jax.Array) else np
        terms = self._terms(x)
        if xp is np and (terms.sum(-1) < 0).any():
            warnings.warn("the interpolated square of a residual is negative; its rounding is returned", stacklevel=2)
        return _root(xp.maximum(terms.sum(-1), jnp.finfo(x.dtype).eps * abs(terms).sum(-1)))

    def _terms(self, x):
        xp = jnp if isinstance(x, jax.Array) else np
        products = x[..., self.pairs[0]] * x[..., self.pairs[1]]
        weights = xp.linalg.solve(self.upper, xp.linalg.solve(self.lower, products[..., None]))[..., 0]
        return weights * self.squares


@checked
def eim_residual(
    space: ReducedSpace, theta: Float[np.ndarray, "n q"], phi: Float[np.ndarray, "n r"], *, rtol: float | None = None
) -> EIMResidual:
    """The interpolated form from θ and φ at training parameters; one full residual and one X⁻¹ for each of its d terms.

    **Arguments:** `rtol` of the interpolation of the products, see `eim`.
    """
    c = reduced_coefficients(space.matrices, space.rhs, theta, phi)
    x = residual_coefficients(c, theta, phi)
    first, second = np.triu_indices(x.shape[1])
    interpolation = eim(x[:, first] * x[:, second], rtol=rtol)
    norms = [space.residual_norm(c[i], theta[i], phi[i]) for i in interpolation.snapshots]
    pairs = np.stack([first, second])[:, interpolation.points]
    return EIMResidual(pairs, interpolation.lower, interpolation.upper, np.square(norms))


def _root(square):
    """√s with derivative 0 at 0. NaN stays NaN."""
    xp = jnp if isinstance(square, jax.Array) else np
    positive = ~(square <= 0)
    return xp.where(positive, xp.where(positive, square, 1) ** 0.5, 0)
