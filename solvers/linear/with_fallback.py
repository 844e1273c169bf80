"""One method after another, for the systems that the first did not solve."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ..kernels.batch_flags import any_of_batch
from .method import AbstractMethod
from .solution import Stats, Status


class WithFallback(AbstractMethod):
    """`first`, and where it has not converged `second` from the x that it has reached.

    `second` is set up, and costs anything, only if a system needs it; in a batch, if any does. Iterations add up, the status
    and the residual, relative to |b|, are those of `second` where it ran.

    **Arguments:** `first` with a step limit that is worth trying, and `second`, each with its own `rtol`; `atol` of `first`.
    """

    first: AbstractMethod
    second: AbstractMethod

    def __init__(self, first: AbstractMethod, second: AbstractMethod):
        self.first, self.second = first, second

    @property
    def rtol(self) -> ScalarLike:
        return self.first.rtol

    @property
    def atol(self) -> ScalarLike:
        return self.first.atol

    @property
    def max_steps(self) -> int:
        return self.first.max_steps + self.second.max_steps

    @property
    def needs_symmetric(self) -> bool:
        return self.first.needs_symmetric or self.second.needs_symmetric

    def bind(self, operator, *, transpose: bool = False) -> "WithFallback":
        return dataclasses.replace(self, first=self.first.bind(operator, transpose=transpose))

    def measure(self, r: Float[Array, "..."]) -> Float[Array, ""]:
        return self.first.measure(r)

    def describe(self) -> str:
        return f"{self.first.describe()}, then {self.second.describe()}"

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        x, stats = self.first(operator, b, x0, tolerance)
        failed = (stats.status != Status.converged) & (stats.status != Status.non_finite)

        def again():
            bound = self.second.bind(operator)
            norms = bound.measure(b) / self.first.measure(b)
            # A system of the batch that has converged has no step left to do.
            enough = jnp.where(failed, tolerance * norms * bound.rtol / self.first.rtol, jnp.inf)
            better, more = bound(operator, b, x, enough.astype(b.dtype))
            status = jnp.where(failed, more.status, stats.status)
            residual = jnp.where(failed, more.residual / norms, stats.residual)
            return (
                jnp.where(failed, better, x),
                Stats(status, stats.iterations + jnp.where(failed, more.iterations, 0), residual),
            )

        plain = Stats(stats.status, stats.iterations, stats.residual)
        return jax.lax.cond(any_of_batch(failed), again, lambda: (x, plain))
