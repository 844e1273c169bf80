"""What every method of `solve` has in common."""

import abc
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
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


def check_limits(method: AbstractMethod) -> None:
    """Raises `TypeError` or `ValueError` for step limits and tolerances that mean nothing; traced values are not looked at."""
    name = type(method).__name__
    if not isinstance(method.max_steps, int | np.integer) or isinstance(method.max_steps, bool):
        raise TypeError(f"{name}: max_steps must be a whole number, got {method.max_steps!r}")
    if method.max_steps < 0:
        raise ValueError(f"{name}: max_steps must not be negative, got {method.max_steps}")
    for what, value, limit in (("rtol", method.rtol, 1), ("atol", method.atol, np.inf)):
        if (known := known_number(name, what, value)) is not None and not 0 <= known < limit:
            wanted = "from 0 to below 1, a fraction of |b|" if what == "rtol" else "not negative"
            raise ValueError(f"{name}: {what} must be {wanted}, got {value}")


def check_omega(name: str, omega) -> None:
    """Raises `ValueError` for a relaxation factor outside (0, 2); a traced one has no value to check."""
    if (known := known_number(name, "omega", omega)) is not None and not 0 < known < 2:
        raise ValueError(f"{name}: omega must lie in (0, 2), got {omega}; the iteration cannot converge outside")


def known_number(name: str, what: str, value) -> float | None:
    """The value of a parameter, None where it is traced or one of many. Raises `TypeError` for what is no number."""
    numeric = isinstance(value, int | float) or (
        isinstance(value, np.generic | np.ndarray | jax.Array) and value.dtype.kind not in "OSUMm"
    )
    if not numeric or isinstance(value, bool):
        raise TypeError(f"{name}: {what} must be a number, got {value!r}")
    return None if isinstance(value, Tracer) or np.ndim(value) > 0 else float(value)


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
