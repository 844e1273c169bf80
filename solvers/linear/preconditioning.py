"""How a preconditioner enters a method: as a fixed map r ↦ M⁻¹ r, or as a recipe that is set up from the operator."""

import abc
import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .method import AbstractMethod, T

Map = Callable[[Float[Array, "..."]], Float[Array, "..."]]


class AbstractPreconditioner(eqx.Module):
    """A preconditioner that is set up from the operator of the solve, as `Multigrid()` and `Jacobi()`.

    It is not itself a map: `bind(operator)` returns the map r ↦ M⁻¹ r, a pytree of what was computed. Learned search
    directions for `DeepCG` are set up in the same way.

    **Example:**

        >>> isinstance(sx.linear.Multigrid(), sx.linear.AbstractPreconditioner)
        True
    """

    @abc.abstractmethod
    def bind(self, operator) -> Map:
        """The map r ↦ M⁻¹ r on fields of the operator's shape."""


class AbstractHostPreconditioner(AbstractPreconditioner):
    """A preconditioner whose `bind` computes with NumPy and SciPy, and so needs an operator with values.

    `solve` and `AsLineax` bind it before they compile, wherever it is in a method.
    """


Preconditioner = AbstractPreconditioner | Map


def bound_on_host(method: T, operator) -> T:
    """The method with every `AbstractHostPreconditioner` in it replaced by its map for the operator."""
    on_host = lambda part: isinstance(part, AbstractHostPreconditioner)  # noqa: E731
    return jax.tree.map(lambda part: part.bind(operator) if on_host(part) else part, method, is_leaf=on_host)


def bound_map(preconditioner: Preconditioner, operator) -> Map:
    """The map r ↦ M⁻¹ r: of an `AbstractPreconditioner` the one it computes for `operator`, else the map that was given."""
    return preconditioner.bind(operator) if isinstance(preconditioner, AbstractPreconditioner) else preconditioner


def applied(preconditioner: Preconditioner, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """M⁻¹ r, of a bound method's preconditioner; raises `ValueError` for one that was not set up."""
    if isinstance(preconditioner, AbstractPreconditioner):
        name = type(preconditioner).__name__
        raise ValueError(
            f"{name}: call bind(operator) of the method first, and then the method it returns; solve does both"
        )
    return preconditioner(r)


def bound_transpose(preconditioner: Preconditioner, operator) -> Map | None:
    """The map r ↦ M⁻ᵀ r for `operator`, which is Aᵀ.

    An `AbstractPreconditioner` is bound to Aᵀ. A fixed map for A is transposed by `jax.linear_transpose`; one that is not
    linear in r has no transpose, and the result is None.
    """
    if isinstance(preconditioner, AbstractPreconditioner):
        return preconditioner.bind(operator)
    structure = operator.in_structure()
    apply = jax.linear_transpose(preconditioner, structure)
    try:
        jax.eval_shape(apply, structure)
    except Exception:  # what JAX raises depends on the first operation that is not linear
        return None
    return lambda r: apply(r)[0]


class AbstractPreconditioned(AbstractMethod):
    """A method with a preconditioner, which may be None: r ↦ r."""

    preconditioner: eqx.AbstractVar[Preconditioner | None]

    def bind(self, operator, *, transpose: bool = False):
        if self.preconditioner is None:
            return self
        make = bound_transpose if transpose else bound_map
        return dataclasses.replace(self, preconditioner=make(self.preconditioner, operator))

    def describe(self) -> str:
        name = type(self).__name__
        return name if self.preconditioner is None else f"{name}({type(self.preconditioner).__name__})"

    def precondition(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """M⁻¹ r, of a bound method; r without a preconditioner."""
        return r if self.preconditioner is None else applied(self.preconditioner, r)
