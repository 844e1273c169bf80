"""`AbstractStep`: an optimiser inside the training loop, from optax or one that evaluates the objective itself."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from ...core.minimize import optimizer_step
from .objective import Outcome
from .residual_vector import ResidualVector

Value = Callable[[PyTree], tuple[Float[Array, ""], Outcome]]
Residuals = ResidualVector


class Taken(eqx.Module):
    """The result of one optimiser step.

    **Fields:**

    - `params`: the new parameters.
    - `memory`: the new memory of the optimiser.
    - `loss`, `outcome`: value and outcome of the objective at the parameters before the step.
    - `finite`: False if the loss or its gradient was not finite. Training then stops.
    - `accepted`: False if the step kept the old parameters because no trial improved them. Training goes on.
    """

    params: PyTree
    memory: PyTree
    loss: Float[Array, ""]
    outcome: Outcome
    finite: Bool[Array, ""]
    accepted: Bool[Array, ""]


class AbstractStep(eqx.Module):
    """An optimiser as the training loop uses it. optax optimisers are wrapped by `OptaxStep`; write a subclass for methods that
    need several evaluations of the objective or its residuals.

    **Fields:** `hold`: number of steps for which the points of the objective stay the same; 1 draws new points in every step.
    Methods that remember gradients (quasi-Newton) hold the points for 20 to 200 steps. When the points change, `reset` is called.

    **Example:**

        >>> isinstance(sx.GaussNewton(), sx.AbstractStep)
        True
    """

    hold: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, params: PyTree) -> PyTree:
        """The optimiser's memory before the first step."""

    @abc.abstractmethod
    def __call__(self, params: PyTree, memory: PyTree, value: Value, residuals: Residuals) -> Taken:
        """Take one step.

        **Arguments:**

        - `params`: the parameters, a pytree of arrays.
        - `memory`: the optimiser's memory.
        - `value`: a deterministic function `params -> (loss, outcome)`.
        - `residuals`: a deterministic function `params -> (residuals, outcome)`, with the Jacobian `residuals.jacobian(params)`.
          It raises `TypeError` if the objective is no `AbstractLeastSquares`.
        """

    @abc.abstractmethod
    def reset(self, memory: PyTree) -> PyTree:
        """The memory to continue with after the points of the objective have changed."""


class AbstractDoubleStep(AbstractStep):
    """An optimiser of second order, which `fit` runs in float64 unless the objective asks for another precision."""


class OptaxStep(AbstractStep):
    """An optax optimiser as a step. Learning-rate schedules count steps. Its memory is kept when points change."""

    optimizer: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    hold: int = eqx.field(static=True, default=1)

    def init(self, params: PyTree) -> PyTree:
        return self.optimizer.init(params)

    def __call__(self, params: PyTree, memory: PyTree, value: Value, residuals: Residuals) -> Taken:
        params, memory, (loss, outcome), gradient = optimizer_step(self.optimizer, value, params, memory)
        norm = optax.tree.norm(gradient)
        outcome = with_metrics(outcome, gradient_norm=norm, **_learning_rate(memory))
        return Taken(params, memory, loss, outcome, jnp.isfinite(loss) & jnp.isfinite(norm), jnp.asarray(True))

    def reset(self, memory: PyTree) -> PyTree:
        return memory


def _learning_rate(memory: PyTree) -> dict[str, Array]:
    """The learning rate in the memory of an optimiser made by `optax.inject_hyperparams`; empty if there is none, or several."""
    found = [x for _, x in optax.tree.get_all_with_path(memory, "learning_rate") if eqx.is_inexact_array(x)]
    return {"learning_rate": found[0]} if len(found) == 1 else {}


def with_metrics(outcome: Outcome, **metrics: Array) -> Outcome:
    """An outcome with further metrics, which become floating-point numbers."""
    added = {name: jnp.asarray(x, jnp.result_type(float)) for name, x in metrics.items()}
    return Outcome(outcome.state, outcome.memory, outcome.metrics | added)


def as_step(optimizer: optax.GradientTransformation | AbstractStep) -> AbstractStep:
    """An optax optimiser wrapped as a step; a step is returned unchanged.

    **Raises:** `TypeError` for anything else, for example a learning rate.
    """
    if isinstance(optimizer, AbstractStep):
        return optimizer
    if isinstance(optimizer, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
        return OptaxStep(optimizer=optax.with_extra_args_support(optimizer))
    raise TypeError(f"optimizer={optimizer!r} is no optimiser; pass for example optax.adam(1e-3)")
