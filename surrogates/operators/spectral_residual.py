"""`SpectralResidual`: the loss of neural spectral methods, the residual of a problem in coefficient space."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, count
from ...core.domains import Grid
from ...solvers.pde.declaration import Problem
from ...solvers.pde.grid_derivatives import OnGrid
from ...solvers.pde.pointwise_derivatives import Jet
from ..task.task import Fields
from ..training.objective import AbstractLeastSquares, Outcome
from .spectral_space import InSpace, SpectralSpace

if TYPE_CHECKING:
    from .neural_spectral import NeuralSpectralSurrogate

_FINER = 2  # points over modes of the grid on which products are formed: quadratic ones are exact


@dataclass(frozen=True)
class SpectralCollocation:
    """Points at which the residual of a problem is formed, for functions of a space. They are a grid with `factor` times as many
    points per axis as modes, and in time `factor` times as many Gauss points as degrees."""

    problem: Problem
    space: SpectralSpace
    factor: float = 1.0

    @property
    def grid(self) -> Grid:
        return self.space.grid(self.factor)

    @property
    def instants(self) -> np.ndarray | None:
        return self.space.instants(self.factor)

    def values(self, hat: Float[Array, "*modes c"], inputs: Fields) -> PyTree:
        """The residual of every equation at these points, from the coefficients of all unknowns and from inputs whose fields are
        given on the grid."""
        problem, grid, instants = self.problem, self.grid, self.instants
        unknowns = {
            name: Jet(InSpace(hat[..., i], self.space, grid, instants)) for i, name in enumerate(problem.unknowns)
        }
        jets = {
            name: Jet(OnGrid(jnp.asarray(value), grid)) if problem.laws[name].is_field else value
            for name, value in inputs.items()
        }
        one = unknowns if len(unknowns) > 1 else unknowns[problem.unknowns[0]]
        shape = grid.shape if instants is None else (len(instants), *grid.shape)
        return jax.tree.map(lambda r: jnp.broadcast_to(r, shape), problem.residual(one, jets))

    def coefficients(self, hat: Float[Array, "*modes c"], inputs: Fields) -> PyTree:
        """The coefficients of `values`, in the shape of the space. The sum of their squares is the integral of the square of that
        part of r that the space holds."""
        return jax.tree.map(
            lambda r: self.space.coefficients(r[..., None], self.grid)[..., 0], self.values(hat, inputs)
        )


class SpectralResidual(AbstractLeastSquares):
    """The mean over random inputs of Σ_k |r̂_k|² / R², for the residual r of a problem's equations at û.

    r is formed on a grid with twice the modes per axis (in time at twice as many Gauss points as degrees), with exact derivatives
    of u, and projected on the modes: products of two unknowns or inputs are free of aliasing. R² is the mean of Σ_k |r̂_k|² for u
    = 0, or for the initial value at all times, so that a loss of 1 is no better than that.

    **Arguments:**

    - `problem`, `space`: of the surrogate that is trained; `surrogate.objective(None)` fills them in.
    - `samples`: random inputs per step, 8 to 64.
    - `norm`: "spectral", the loss above; "grid" is the mean of r² over the grid instead, which equals it up to what of r lies
      beyond the modes.
    """

    problem: Problem = eqx.field(static=True)
    space: SpectralSpace = eqx.field(static=True)
    samples: int = eqx.field(static=True, default=16)
    norm: Literal["spectral", "grid"] = eqx.field(static=True, default="spectral")

    def __check_init__(self):
        check_fields(self)
        count("SpectralResidual", "samples", self.samples)

    @property
    def calls(self) -> int:
        return 1

    @property
    def collocation(self) -> SpectralCollocation:
        """The points and instants of this loss."""
        return SpectralCollocation(self.problem, self.space, _FINER)

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: Fields | None, key: Array) -> Fields:
        """New random inputs, with a leading sample axis."""
        keys = jax.random.split(key, self.samples)
        return jax.vmap(lambda key: self.problem.sample_inputs(key, self.collocation.grid))(keys)

    def residuals(self, model: "NeuralSpectralSurrogate", points: PyTree) -> tuple[PyTree, Outcome]:
        def one(inputs):
            hat = model.coefficients(inputs, self.collocation.grid)
            start = model.start(inputs, self.collocation.grid)
            return self._parts(hat, inputs), jax.lax.stop_gradient(self._parts(start, inputs))

        found, at_zero = jax.vmap(one)(points)
        squares = sum(jnp.sum(r**2) for r in jax.tree.leaves(at_zero)) / self.samples
        scale = jnp.sqrt(2 / (self.samples * jnp.where(squares > 0, squares, 1)))
        return jax.tree.map(lambda r: scale * r, found), Outcome(model.state)

    def _parts(self, hat: Float[Array, "*modes c"], inputs: Fields) -> PyTree:
        own = self.collocation
        if self.norm == "spectral":
            return own.coefficients(hat, inputs)
        weights = np.sqrt(self.space.weights(own.grid, own.instants)).astype(hat.dtype)
        return jax.tree.map(lambda r: r * weights, own.values(hat, inputs))

    def update(self, state: None, points: PyTree, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model: Any, batch: Fields) -> NoReturn:
        raise TypeError(
            "SpectralResidual has no use for validation data; give fit(…, val=measure), a function of the model"
        )
