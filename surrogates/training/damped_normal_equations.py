"""(JᵀJ + λ I)⁻¹ Jᵀ r for several λ and r, by whichever of JᵀJ and JJᵀ is smaller."""

import itertools

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

_BLOCKS = 4  # in which the symmetric half of JᵀJ is computed


class DampedNormalEquations(eqx.Module):
    """The smaller of JᵀJ and JJᵀ of a Jacobian J `(n, d)`.

    With fewer residuals than parameters (JᵀJ + λ I)⁻¹ Jᵀ r = Jᵀ (JJᵀ + λ I)⁻¹ r (Jnini et al., arXiv 2505.12149).

    **Fields:** `jacobian`; `gram`; `top`, its largest diagonal entry, of which dampings are shares.
    """

    jacobian: Float[Array, "n d"]
    gram: Float[Array, "k k"]
    top: Float[Array, ""]

    @classmethod
    def of(cls, jacobian: Float[Array, "n d"]) -> "DampedNormalEquations":
        gram = symmetric_product(jacobian if jacobian.shape[0] >= jacobian.shape[1] else jacobian.T)
        return cls(jacobian, gram, jnp.maximum(gram.diagonal().max(), jnp.finfo(gram.dtype).tiny))

    def damped(self, damping: Float[Array, ""]) -> "Damped":
        """The factorised equations with λ = `damping` times the largest diagonal entry."""
        shifted = self.gram + damping * self.top * jnp.eye(len(self.gram), dtype=self.gram.dtype)
        return Damped(self.jacobian, cho_factor(shifted, lower=True)[0])


class Damped(eqx.Module):
    """A Cholesky factor of JᵀJ + λ I or JJᵀ + λ I."""

    jacobian: Float[Array, "n d"]
    factor: Float[Array, "k k"]

    def solve(self, r: Float[Array, " n"]) -> Float[Array, " d"]:
        """(JᵀJ + λ I)⁻¹ Jᵀ r."""
        if self.jacobian.shape[0] >= self.jacobian.shape[1]:
            return cho_solve((self.factor, True), r @ self.jacobian)
        return cho_solve((self.factor, True), r) @ self.jacobian


def symmetric_product(a: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """AᵀA. Only the blocks on and below the diagonal are computed: of 4 by 4, ten."""
    edges = [round(a.shape[1] * i / _BLOCKS) for i in range(_BLOCKS + 1)]
    parts = [a[:, i:j] for i, j in itertools.pairwise(edges)]
    product = {(i, j): parts[i].T @ parts[j] for i in range(_BLOCKS) for j in range(i + 1)}
    return jnp.block([[product[i, j] if j <= i else product[j, i].T for j in range(_BLOCKS)] for i in range(_BLOCKS)])
