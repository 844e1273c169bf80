"""What the Krylov methods have in common: a recurrence, a preconditioner, norms, units, and the driver that runs them."""

import abc
import dataclasses
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ..driver import Recurrence, iterate
from ..inner_products import dot, norm, power_of_four, rough_signs
from ..method import check_limits
from ..preconditioning import AbstractPreconditioned, AbstractPreconditioner, Preconditioner, applied
from ..solution import Stats

Norm = Literal["residual", "natural"]


class AbstractKrylov(AbstractPreconditioned):
    """A method given by its `recurrence`, with an optional preconditioner.

    **Fields:** `norm`: |r| = ‖r‖₂ ("residual") or √(rᵀ M⁻¹ r) ("natural").
    """

    history: eqx.AbstractVar[bool]
    norm: eqx.AbstractVar[Norm]

    def __check_init__(self):
        check_limits(self)
        given = self.preconditioner
        if given is not None and (
            isinstance(given, type) or not (isinstance(given, AbstractPreconditioner) or callable(given))
        ):
            raise TypeError(
                f"{type(self).__name__}: the preconditioner must be one of surrogax.linear, as Multigrid(), or a function of r, "
                f"got {given!r:.80}"
            )
        if self.norm not in ("residual", "natural"):
            raise ValueError(f"{type(self).__name__}: unknown norm {self.norm!r}; use 'residual' or 'natural'")

    @abc.abstractmethod
    def recurrence(self, operator) -> Recurrence:
        """The iteration for `operator`, of a bound method."""

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        """‖r‖₂, or √(rᵀ M⁻¹ r) with `norm="natural"`."""
        return self.measured(r, self.precondition(r) if self.norm == "natural" else r)

    def measured(self, r: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, ""]:
        """The measure of r where z = M⁻¹ r is known. Rounding can make a tiny square negative; a large negative one (M is not
        definite) is for the recurrence to find."""
        return jnp.sqrt(jnp.abs(dot(r, z))) if self.norm == "natural" else norm(r)

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        # In units in which A is about 1: squares of its products, about A²b², would leave float32 at 1e19.
        unit = power_of_four(jnp.abs(operator.mv(rough_signs(operator.in_structure()))).max())
        root = jnp.sqrt(unit) if self.norm == "natural" else jnp.ones_like(unit)
        scaled = self
        if self.preconditioner is not None:
            scaled = dataclasses.replace(self, preconditioner=Multiple(self.preconditioner, unit))
        operator = Quotient(operator, unit)
        x, stats = iterate(scaled, scaled.recurrence(operator), operator, b, x0 * unit, tolerance * root, self.history)
        history = None if stats.history is None else stats.history / root
        return x / unit, dataclasses.replace(stats, residual=stats.residual / root, history=history)


class Multiple(eqx.Module):
    """r ↦ unit · M⁻¹ r."""

    map: Preconditioner
    unit: Float[Array, ""]

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self.unit.astype(r.dtype) * applied(self.map, r)


class Quotient(eqx.Module):
    """A / unit, as the recurrences use an operator. XLA would turn (A x / unit) / D into A x / (unit · D), which underflows."""

    operator: lx.AbstractLinearOperator
    unit: Float[Array, ""]

    def mv(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self.operator.mv(x) * (1 / self.unit)

    def in_structure(self):
        return self.operator.in_structure()
