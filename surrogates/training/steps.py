"""One step of an optimiser inside the training loop: optax, and methods that evaluate the objective themselves."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from ...core.minimize import optimizer_step
from .objective import Outcome

Value = Callable[[PyTree], tuple[Float[Array, ""], Outcome]]
Residuals = Callable[[PyTree], tuple[PyTree, Outcome]]


class Taken(eqx.Module):
    """What one step did.

    **Fields:**

    - `params`, `memory`: new parameters and new memory of the optimiser.
    - `loss`, `outcome`: of the objective at the parameters before the step.
    - `finite`: False where the loss or its gradient was not finite; training then stops.
    - `accepted`: False where the step kept the parameters because no trial improved them; that is no failure.
    """

    params: PyTree
    memory: PyTree
    loss: Float[Array, ""]
    outcome: Outcome
    finite: Bool[Array, ""]
    accepted: Bool[Array, ""]


class AbstractStep(eqx.Module):
    """An optimiser as the training loop runs it.

    **Fields:** `hold`, for how many steps the points of the objective stay the same. Methods with a memory of gradients
    (quasi-Newton) hold them for 20 to 200 steps; when they change, `reset` is called.
    """

    hold: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, params: PyTree) -> PyTree:
        """The optimiser's memory before the first step."""

    @abc.abstractmethod
    def __call__(self, params: PyTree, memory: PyTree, value: Value, residuals: Residuals) -> Taken:
        """One step. `value` and `residuals` are deterministic functions of the parameters.

        `residuals` raises `TypeError` for objectives that are no sum of squares.
        """

    @abc.abstractmethod
    def reset(self, memory: PyTree) -> PyTree:
        """The memory when the points have changed."""


class OptaxStep(AbstractStep):
    """Any optax optimiser; schedules count steps."""

    optimizer: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    hold: int = eqx.field(static=True, default=1)

    def init(self, params: PyTree) -> PyTree:
        return self.optimizer.init(params)

    def __call__(self, params: PyTree, memory: PyTree, value: Value, residuals: Residuals) -> Taken:
        params, memory, (loss, outcome), gradient = optimizer_step(self.optimizer, value, params, memory)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        return Taken(params, memory, loss, outcome, finite, jnp.asarray(True))

    def reset(self, memory: PyTree) -> PyTree:
        return memory


def as_step(optimizer: optax.GradientTransformation | AbstractStep) -> AbstractStep:
    """The optimiser as a step. **Raises:** `TypeError` for anything else, for example a learning rate."""
    if isinstance(optimizer, AbstractStep):
        return optimizer
    if isinstance(optimizer, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
        return OptaxStep(optimizer=optax.with_extra_args_support(optimizer))
    raise TypeError(f"optimizer={optimizer!r} is no optimiser; pass for example optax.adam(1e-3)")
