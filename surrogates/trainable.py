"""`AbstractTrainable`, the interface of everything that `fit` trains, and which arrays of a model are trained."""

import abc
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..core.storage import register
from .parameter_range import ParameterRange
from .task.task import Task


@register("Buffer")
class Buffer(eqx.Module):
    """Arrays that belong to a model but are not trained by an optimiser, such as a basis or statistics.

    **Example:**

        >>> sx.Buffer(jnp.ones(3)).value.shape
        (3,)
    """

    value: PyTree


class AbstractTrainable(eqx.Module):
    """Anything that `fit` trains by an optimiser: a network surrogate, a search direction, a preconditioner.

    **Fields:** `state`: arrays that training changes without an optimiser, such as running statistics; None if there are none.

    **Example:**

        >>> isinstance(sx.FNO(task, width=4, modes=4, depth=1, key=key), sx.AbstractTrainable)
        True
    """

    state: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def objective(self, data: Any, **options: Any) -> Any:
        """The `AbstractObjective` that `fit` minimises unless it is given another one.

        **Arguments:** `data`: the training data of `fit`, None without data. `options`: the keywords that `fit` does not know
        itself.

        **Raises:** `TypeError` for an unknown option.
        """

    @abc.abstractmethod
    def renewed(self, key: Array) -> "AbstractTrainable":
        """A model of the same form with new initial weights, for another seed."""


Model = TypeVar("Model", bound=AbstractTrainable)


def with_state(model: Model, state: PyTree) -> Model:
    """A copy of the model with this `state`. If the model has no state and `state` is None, the model itself."""
    if state is None and model.state is None:
        return model
    return eqx.tree_at(lambda m: m.state, model, state, is_leaf=lambda x: x is None)


def trainable(model: PyTree) -> PyTree:
    """Mark the arrays of a model that an optimiser trains, for `equinox.partition`.

    **Returns:** a pytree of booleans with the structure of `model`: True at floating-point arrays; False at integers, at
    everything inside a `Buffer`, a `Task` or a `ParameterRange`, and at the model's `state`.

    **Example:**

        >>> model = sx.trainable(sx.FNO(task, width=4, modes=4, depth=1, key=key))
        >>> len(jax.tree.leaves(model)) > 4
        True
    """

    def mark(node):
        if isinstance(node, Buffer | Task | ParameterRange):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    marks = jax.tree.map(mark, model, is_leaf=lambda node: isinstance(node, Buffer | Task | ParameterRange))
    if isinstance(model, AbstractTrainable) and model.state is not None:
        marks = eqx.tree_at(lambda m: m.state, marks, jax.tree.map(lambda _: False, model.state))
    return marks


def is_double(model: PyTree) -> bool:
    """Whether a model was trained in float64."""
    if not any(eqx.is_inexact_array(x) and x.dtype == jnp.float64 for x in jax.tree.leaves(model)):
        return False  # most are not, and `trainable` takes a millisecond
    return any(x.dtype == jnp.float64 for x in jax.tree.leaves(eqx.filter(model, trainable(model))))


def count_parameters(model: PyTree) -> int:
    """Number of trainable real parameters (a complex entry counts 2).

    Models without trainable parameters (POD, Galerkin) report the size of their stored arrays instead, so that tables can
    compare memory.

    **Example:**

        >>> sx.count_parameters(sx.FNO(task, width=8, modes=6, depth=2, key=key))
        2985
    """
    trained = jax.tree.leaves(eqx.filter(model, trainable(model)))
    if not trained:
        buffers = [b for b in jax.tree.leaves(model, is_leaf=_is_buffer) if _is_buffer(b)]
        trained = [x for x in jax.tree.leaves(buffers) if eqx.is_inexact_array(x)]
    return sum(x.size * (2 if jnp.iscomplexobj(x) else 1) for x in trained)


def _is_buffer(node) -> bool:
    return isinstance(node, Buffer)
