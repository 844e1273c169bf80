"""What every method of `solve` has in common."""

import abc
from typing import Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from .solution import Stats


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

    def transposed(self, operator) -> "AbstractMethod":
        """The unbound method bound to `operator`, which is the transpose of the one it was made for: a preconditioner that was
        bound by hand to the other is transposed."""
        return self.bind(operator)

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


def transposed(preconditioner, operator):
    """The map r ↦ M⁻ᵀ r for the transposed `operator`.

    An unbound preconditioner is bound to it. One bound by hand is transposed: by its own `transpose()` if it has one, else by
    `jax.linear_transpose`. One that is not linear in r has no transpose, and the result is None.
    """
    if preconditioner is None:
        return None
    rebound = bound(preconditioner, operator)
    if rebound is not preconditioner:
        return rebound
    if hasattr(preconditioner, "transpose"):
        return preconditioner.transpose()
    structure = operator.in_structure()
    apply = jax.linear_transpose(preconditioner, structure)
    try:
        jax.eval_shape(apply, structure)
    except Exception:  # what JAX raises depends on the first operation that is not linear
        return None
    return lambda r: apply(r)[0]


T = TypeVar("T")


def set_up(preconditioner, part: T | None) -> T:
    """`part`, which `bind` computes; raises `ValueError` if it is not there yet."""
    if part is None:
        name = type(preconditioner).__name__
        raise ValueError(f"{name}: bind(operator) comes before the first application; a method does that by itself")
    return part


def unit(r: Float[Array, "..."]) -> Float[Array, ""]:
    """The largest |r_i|, or 1 if that is zero: divided by it, r has squares that neither underflow nor overflow."""
    largest = jnp.abs(r).max()
    return jnp.where(largest > 0, largest, 1)
