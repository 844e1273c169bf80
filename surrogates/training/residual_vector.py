"""`ResidualVector`: the residuals of a sum of squares as a function of the parameters, and their derivative."""

from collections.abc import Callable
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .objective import AbstractByRows, AbstractLeastSquares, AbstractObjective, Outcome


class ResidualVector(eqx.Module):
    """`residuals(params) -> (residuals, outcome)` of an objective at the points of a step, and their Jacobian.

    **Fields:** `objective`; `model`, which makes a model of parameters; `points`, those of the step.

    **Raises:** `TypeError`, when it is called, if the objective is no `AbstractLeastSquares`.
    """

    objective: AbstractObjective
    model: Callable[[PyTree], Any]
    points: PyTree

    def __call__(self, params: PyTree) -> tuple[PyTree, Outcome]:
        return self._squares().residuals(self.model(params), self.points)

    def vector(self, params: PyTree) -> Float[Array, " n"]:
        """All residuals in one vector."""
        return ravel_pytree(self(params)[0])[0]

    def jacobian(self, params: PyTree) -> Float[Array, "n d"]:
        """∂r/∂θ, with the columns in the order of `ravel_pytree(params)`.

        It is made row by row where the objective has rows (`AbstractByRows`), else along the shorter side of the matrix.
        """
        objective = self._squares()
        flat, unravel = ravel_pytree(params)
        if not isinstance(objective, AbstractByRows):
            rows = jax.eval_shape(self.vector, params).size
            differentiate = jax.jacfwd if flat.size < rows else jax.jacrev
            return differentiate(lambda v: self.vector(unravel(v)))(flat)
        return jnp.concatenate([self._rows(term, params) for term in objective.terms(self.model(params), self.points)])

    def _rows(self, term, params: PyTree) -> Float[Array, "n d"]:
        def one(row):
            found = jax.jacrev(lambda p: jnp.ravel(term.function(self.model(p), row)))(params)
            return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(found)], 1)

        matrix = jax.vmap(one)(term.rows)
        return matrix.reshape(-1, matrix.shape[-1])

    def _squares(self) -> AbstractLeastSquares:
        if not isinstance(self.objective, AbstractLeastSquares):
            _no_residuals(self.objective)
        return self.objective


def _no_residuals(objective: AbstractObjective) -> NoReturn:
    raise TypeError(f"this optimiser needs a sum of squares, which {type(objective).__name__} is not")
