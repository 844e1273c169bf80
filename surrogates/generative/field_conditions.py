"""Constraints on the named fields of a task, in physical units, as constraints on normalised samples."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import check_fields
from ...solvers.diffusion import AbstractCondition, Constraint, Equation, Together
from ..task.task import Task


class OnField(AbstractCondition):
    """A condition on one field of a task, in physical units: `Constraint(OnField("u", KnownValues.at((64, 64), np.s_[0], u0)))`.

    **Arguments:** `name`: the field. `condition`: on its array `([frames], *space, [component])`.

    **Example:**

        >>> sx.generative.OnField("u", sx.diffusion.KnownValues.at((16,), 0, 1.0)).name
        'u'
    """

    name: str = eqx.field(static=True)
    condition: AbstractCondition

    def __check_init__(self):
        check_fields(self)

    def residual(self, x):
        raise TypeError(
            f"OnField({self.name!r}, …) is for the fields of a task: pass it to posterior(constraint=…) of a Denoiser"
        )

    def nearest(self, x):
        return self.residual(x)


class _Bound(AbstractCondition):
    """`OnField` for the normalised samples of a task."""

    name: str = eqx.field(static=True)
    condition: AbstractCondition
    task: Task

    def _fields(self, x):
        return self.task.split(self.task.decode(x, {}))

    def residual(self, x):
        return self.condition.residual(self._fields(x)[self.name])

    def nearest(self, x):
        fields = self._fields(x)
        moved = self.condition.nearest(fields[self.name]) - fields[self.name]
        # Only the change is scaled back: what is not changed keeps all its digits.
        change = self.task.join({name: moved if name == self.name else jnp.zeros_like(v) for name, v in fields.items()})
        scale = self.task.decode(jnp.ones_like(x), {}) - self.task.decode(jnp.zeros_like(x), {})
        return x + (change / scale).reshape(x.shape)


class _Physical(eqx.Module):
    """h of named fields as a function of normalised samples."""

    function: Callable
    task: Task

    def __call__(self, x: Float[Array, "*shape"]) -> Array:
        return self.function(self.task.split(self.task.decode(x, {})))


def on_task(constraint: Constraint | None, task: Task) -> Constraint | None:
    """The constraint for normalised samples `(*space, c)` of a task. Its h is a function of the named fields in physical units,
    or consists of `OnField`.

    **Raises:** `ValueError` for another field; `TypeError` for a condition on arrays, which knows no fields.
    """
    if constraint is None:
        return None
    return eqx.tree_at(
        lambda c: c.h, constraint, _bound(constraint.h, task), is_leaf=lambda h: isinstance(h, AbstractCondition)
    )


def _bound(h: AbstractCondition, task: Task) -> AbstractCondition:
    if isinstance(h, Equation):
        return Equation(_Physical(h.function, task), h.steps)
    if isinstance(h, Together):
        return Together(*(_bound(part, task) for part in h.parts), steps=h.steps)
    if isinstance(h, OnField):
        if h.name not in task.targets:
            raise ValueError(f"OnField({h.name!r}, …): the fields of this task are {list(task.targets)}")
        return _Bound(h.name, h.condition, task)
    raise TypeError(
        f"constraint: {type(h).__name__} is for arrays; say of which field it is, OnField('{task.targets[0]}', …)"
    )
