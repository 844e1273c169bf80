"""What every method of `solve` has in common."""

import abc
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, ScalarLike

from .solution import Stats

T = TypeVar("T")


class AbstractMethod(eqx.Module):
    """An iterative or direct method for A x = b.

    `solve` and `AsLineax` bind a method to the operator once, `bound = method.bind(operator)`, and then call
    `bound(operator, b, x0, tolerance)` as often as they need. Whoever calls a method directly does the same.

    **Fields** of every method:

    - `rtol`, `atol`: `solve` asks for |b − A x| ≤ max(rtol |b|, atol), with |·| the method's `measure`.
    - `max_steps`: limit on iterations.
    - `needs_symmetric`: whether the method is for symmetric operators alone.
    """

    rtol: eqx.AbstractVar[ScalarLike]
    atol: eqx.AbstractVar[ScalarLike]
    max_steps: eqx.AbstractVar[int]
    needs_symmetric: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def bind(self, operator, *, transpose: bool = False) -> "AbstractMethod":
        """The same method with everything computed that depends on the operator alone: preconditioners, bounds of the
        spectrum, reordered coefficients.

        `transpose=True` says that `operator` is Aᵀ, where the method's fixed maps were made for A: they are transposed.
        """

    @abc.abstractmethod
    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        """|r| in the norm of the stopping test, of a bound method."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Short name for `Solution.method`, for example "CG(Multigrid)"."""

    @abc.abstractmethod
    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        """Run the bound method from `x0` until |b − A x| ≤ `tolerance`; returns x and its `Stats`."""


class AbstractHostSetUp(eqx.Module):
    """A method, or a part of one, that has to see the operator with values or its pattern, which compiled functions hide.

    `solve` and `AsLineax` set it up before they compile, wherever it is in a method.
    """

    @abc.abstractmethod
    def set_up(self, operator) -> Any:
        """What takes its place: itself with what was found, or the finished map. Host code. Raises `TypeError` where what it
        needs of the operator is traced."""


def set_up_on_host(method: T, operator) -> T:
    """The method with every `AbstractHostSetUp` in it set up for the operator."""
    on_host = lambda part: isinstance(part, AbstractHostSetUp)  # noqa: E731
    return jax.tree.map(lambda part: part.set_up(operator) if on_host(part) else part, method, is_leaf=on_host)


def check_steps(method: AbstractMethod) -> None:
    """Raises `ValueError` for a negative step limit."""
    if method.max_steps < 0:
        raise ValueError(f"{type(method).__name__}: max_steps must not be negative, got {method.max_steps}")


def check_omega(name: str, omega) -> None:
    """Raises `ValueError` for a relaxation factor outside (0, 2); a traced one has no value to check."""
    if not isinstance(omega, Tracer) and not 0 < omega < 2:
        raise ValueError(f"{name}: omega must lie in (0, 2), got {omega}; the iteration cannot converge outside")


def bound_part(method: AbstractMethod, part: T | None) -> T:
    """`part`, which `bind` computes; raises `ValueError` for a method that was called without being bound."""
    if part is None:
        name = type(method).__name__
        raise ValueError(f"{name}: call bind(operator) first, and then the method that it returns; solve does both")
    return part


def max_norm_or_one(r: Float[Array, "..."]) -> Float[Array, ""]:
    """max |r_i|, or 1 for r = 0. Dividing by it keeps squared norms from under- or overflowing in float32."""
    largest = jnp.abs(r).max()
    return jnp.where(largest > 0, largest, 1)
