"""`AbstractObjective`, the interface of everything that training minimises: with data, without data, for parts of solvers."""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..task.task import Fields


class Outcome(eqx.Module):
    """What an evaluation of an objective returns beside its value.

    **Fields:**

    - `state`: the model's new `state`, None if the model has none.
    - `memory`: what `AbstractObjective.update` needs, for example the residuals at the points of this step.
    - `metrics`: further numbers to record, by name.

    **Example:**

        >>> sx.Outcome(metrics={"penalty": jnp.asarray(0.5)}).state is None
        True
    """

    state: PyTree = None
    memory: PyTree = None
    metrics: dict[str, Float[Array, ""]] = eqx.field(default_factory=dict)


class AbstractObjective(eqx.Module):
    """What training minimises. It is divided into parts, so that one optimiser step can evaluate the same function several times.

    1. `draw` makes all that is random in a step. Its result is called the points of the step.
    2. `value` is a deterministic function of the model and the points, so that line searches and trial steps see one function.
    3. `update` changes the objective's own state, such as a population of points, once per step; while points are held, after
       the last of their steps.
    4. `validate` measures how good a model is on validation data; the best parameters are chosen by it.

    Objectives that are sums of squares derive from `AbstractLeastSquares`. A resumed run must have an objective with the same
    fields; functions among them are compared by name and content.

    **Fields:** `calls`: number of predictions in a row that a training sample must suffice for; 1 without rollout.

    **Example:**

        >>> isinstance(sx.Supervised(), sx.AbstractObjective)
        True
    """

    @property
    @abc.abstractmethod
    def calls(self) -> int: ...

    @abc.abstractmethod
    def init(self, key: Array) -> PyTree:
        """The objective's own state before the first step, such as a population of points; None if it has none."""

    @abc.abstractmethod
    def draw(self, state: PyTree, batch: Fields | None, key: Array) -> PyTree:
        """The points of a step: all that `value` needs beside the model.

        **Arguments:** `state`: the objective's own state. `batch`: arrays by name with a leading sample axis, in physical units;
        None without data. `key`: the random key of the step.
        """

    @abc.abstractmethod
    def value(self, model: Any, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        """The value to minimise, and what else the evaluation found. It must be deterministic in the model and the points."""

    @abc.abstractmethod
    def update(self, state: PyTree, points: PyTree, outcome: Outcome, key: Array) -> PyTree:
        """The objective's own state for the next step; `outcome` is that of `value` in this step."""

    @abc.abstractmethod
    def validate(self, model: Any, batch: Fields) -> Float[Array, " batch"]:
        """The error of every sample of a batch of validation data; lower is better."""

    def __call__(
        self, model: Any, state: PyTree, batch: Fields | None, key: Array
    ) -> tuple[Float[Array, ""], PyTree, Outcome]:
        """`draw`, `value` and `update` for a model that does not change: the value, the next state and the outcome."""
        points = self.draw(state, batch, key)
        loss, outcome = self.value(model, points)
        return loss, self.update(state, points, outcome, update_key(key)), outcome


class AbstractLeastSquares(AbstractObjective):
    """An objective of the form ½‖r‖², which Gauss-Newton methods need.

    The residuals r contain the square roots of quadrature weights and penalties.

    **Example:**

        >>> issubclass(sx.Residual, sx.AbstractLeastSquares)
        True
    """

    @abc.abstractmethod
    def residuals(self, model: Any, points: PyTree) -> tuple[PyTree, Outcome]:
        """The residuals r as a pytree of arrays, and what else the evaluation found."""

    def value(self, model: Any, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        residuals, outcome = self.residuals(model, points)
        return jnp.asarray(0.5 * sum(jnp.sum(r**2) for r in jax.tree.leaves(residuals))), outcome


class Rows(eqx.Module):
    """Residuals of one kind: `function(model, row)`, an array of any shape, for every row of `rows`.

    **Fields:** `function`; `rows`, a pytree of arrays with a leading axis, such as collocation points.
    """

    function: Callable[[Any, PyTree], Array] = eqx.field(static=True)
    rows: PyTree

    def values(self, model: Any) -> Array:
        """The residuals of all rows, with a leading axis."""
        return jax.vmap(lambda row: self.function(model, row))(self.rows)


class AbstractByRows(AbstractLeastSquares):
    """A sum of squares each of whose residuals depends on one row of the points of the step alone.

    The derivative of all residuals by all parameters is then made row by row, by reverse differentiation of one row, which costs
    about as much as a few gradients of the loss.

    **Fields:** `dtype`: "float32", "float64", or None for float64 with optimisers of second order and float32 with others.
    """

    dtype: eqx.AbstractVar[Literal["float32", "float64"] | None]

    @abc.abstractmethod
    def terms(self, model: Any, points: PyTree) -> tuple[Rows, ...]:
        """The residuals, kind by kind."""

    @abc.abstractmethod
    def outcome(self, model: Any, points: PyTree, values: list[Array]) -> Outcome:
        """What else an evaluation found; `values` are the residuals of every kind."""

    def residuals(self, model: Any, points: PyTree) -> tuple[PyTree, Outcome]:
        values = [term.values(model) for term in self.terms(model, points)]
        return values, self.outcome(model, points, values)


def update_key(key: Array) -> Array:
    """The random key of `update`, from the key of `draw` in the same step."""
    return jax.random.fold_in(key, 2**31 - 1)
