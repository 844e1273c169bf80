"""What every method of `solve` has in common."""

import abc
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from .status import Stats


class AbstractMethod(eqx.Module):
    """An iterative or direct method `(operator, b, x0, tolerance) -> (x, Stats)`.

    It stops at |b − A x| ≤ max(rtol |b|, atol) in its own norm `measure`, or at `tolerance` if that is given, and reports the
    true residual. `needs_symmetric`: it is meant for symmetric operators alone.
    """

    rtol: eqx.AbstractVar[ScalarLike]
    atol: eqx.AbstractVar[ScalarLike]
    needs_symmetric: eqx.AbstractClassVar[bool]

    def bind(self, operator) -> "AbstractMethod":
        """This method with everything that depends on the operator alone computed (bound preconditioners, bounds of
        the spectrum). Binding twice changes nothing."""
        return self

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        """|r| in the norm of the stopping test, ‖r‖₂ unless the method says otherwise."""
        return jnp.sqrt(jnp.vdot(r, r, precision="highest"))

    def describe(self) -> str:
        """Short name for `Solution.method`."""
        return type(self).__name__

    @abc.abstractmethod
    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]: ...


@runtime_checkable
class Bindable(Protocol):
    """A preconditioner that is set up from the operator: `bind(operator)` gives the map r ↦ M⁻¹ r."""

    def bind(self, operator): ...


def bound(preconditioner, operator):
    """The map r ↦ M⁻¹ r of a preconditioner: bound to the operator if it asks for that, as it is otherwise."""
    return preconditioner.bind(operator) if isinstance(preconditioner, Bindable) else preconditioner
