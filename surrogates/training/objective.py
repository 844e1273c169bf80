"""What training minimises: one interface for supervised, data-free and generative training and for parts of solvers."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..task.task import Fields


class Outcome(eqx.Module):
    """What an evaluation of an objective leaves beside its value.

    **Fields:**

    - `state`: the model's new `state`.
    - `memory`: what `AbstractObjective.update` needs, for example the residuals of this step's points.
    - `metrics`: numbers to log, by name.
    """

    state: PyTree = None
    memory: PyTree = None
    metrics: dict[str, Float[Array, ""]] = eqx.field(default_factory=dict)


class AbstractObjective(eqx.Module):
    """What training minimises, in four parts, so that a step of an optimiser may evaluate it several times.

    1. `draw` makes everything that is random in a step: the points.
    2. `value` is deterministic in the model and the points: line searches and trial steps see one function.
    3. `update` moves populations and weights on, once per step, after the step was accepted.
    4. `validate` says how good a model is on held-out data; the best parameters are chosen by it.

    An objective is identified by its fields (numbers, strings, arrays, functions by name and contents): a run that is
    resumed compares them. `value` of a sum of squares is defined by `AbstractLeastSquares`.

    **Fields:** `calls`, how many predictions in a row a training sample must reach over; 1 if the objective does not roll out.
    """

    @property
    @abc.abstractmethod
    def calls(self) -> int: ...

    @abc.abstractmethod
    def init(self, key: Array) -> PyTree:
        """The objective's own state before the first step: a population of points, a curriculum; None without any."""

    @abc.abstractmethod
    def draw(self, state: PyTree, batch: Fields | None, key: Array) -> PyTree:
        """The points of a step. `batch` is a dict of arrays with a leading sample axis, None without data."""

    @abc.abstractmethod
    def value(self, model: Any, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        """The value to minimise, for a model (its `state` included) at these points."""

    @abc.abstractmethod
    def update(self, state: PyTree, points: PyTree, outcome: Outcome, key: Array) -> PyTree:
        """The objective's state for the next step."""

    @abc.abstractmethod
    def validate(self, model: Any, batch: Fields) -> Float[Array, " batch"]:
        """Errors of the samples of a batch, the lower the better."""

    def __call__(
        self, model: Any, state: PyTree, batch: Fields | None, key: Array
    ) -> tuple[Float[Array, ""], PyTree, Outcome]:
        """Value, next state and outcome of one step at a fixed model."""
        points = self.draw(state, batch, key)
        loss, outcome = self.value(model, points)
        return loss, self.update(state, points, outcome, update_key(key)), outcome


class AbstractLeastSquares(AbstractObjective):
    """An objective ½‖r‖²: residuals r with quadrature roots and roots of penalties inside. Gauss-Newton methods need it."""

    @abc.abstractmethod
    def residuals(self, model: Any, points: PyTree) -> tuple[PyTree, Outcome]:
        """A pytree of arrays of residuals."""

    def value(self, model: Any, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        residuals, outcome = self.residuals(model, points)
        return jnp.asarray(0.5 * sum(jnp.sum(r**2) for r in jax.tree.leaves(residuals))), outcome


def update_key(key: Array) -> Array:
    """The key of `update` in the step whose `draw` has this key."""
    return jax.random.fold_in(key, 2**31 - 1)
