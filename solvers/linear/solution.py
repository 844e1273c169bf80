"""What a linear solve returns: the solution, and what the iteration reports about itself."""

from enum import IntEnum

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

# What a step of an iteration may return beside a `Status` that ends it.
RUNNING = -1
PAUSED = -2  # the recurrence cannot go on from here: compute the true residual and start again from it
DEFLATED = -3  # the recurrence has met a null vector of the operator: start again without the part of b along it


class Status(IntEnum):
    """Why an iteration ended. `advice` says what to try.

    **Example:**

        >>> sx.linear.Status.stagnated.name, int(sx.linear.Status.converged)
        ('stagnated', 0)
    """

    converged = 0
    max_steps = 1
    stagnated = 2
    breakdown = 3
    non_finite = 4

    @property
    def advice(self) -> str:
        return {
            Status.converged: "the true residual meets the tolerance",
            Status.max_steps: "the step limit was reached: raise max_steps, loosen rtol or improve the preconditioner",
            Status.stagnated: "the true residual stopped falling above the tolerance: it has reached its floor in this "
            "precision, or the system is singular and has no solution; loosen rtol, use Refinement, compute in float64 "
            "(jax.config.update('jax_enable_x64', True) before the arrays are made), or give solve the nullspace",
            Status.breakdown: "a direction of zero or negative curvature was met: the operator or the preconditioner "
            "is not symmetric positive definite (use MINRES for an indefinite operator, FGMRES where BiCGStab breaks down), "
            "or the system is singular and has no solution (give solve the nullspace)",
            Status.non_finite: "the operator, the right-hand side or the starting point holds NaN or infinity; in a "
            "time integration also: the step is too long",
        }[self]


class Stats(eqx.Module):
    """What an iteration reports. Every field is an array, so that each lane of a `vmap` has its own.

    **Fields:**

    - `status`: a `Status` value.
    - `iterations`: number of iterations; of `Refinement`, of all its corrections together.
    - `residual`: norm of the true b − A x, in the norm that the method tests.
    - `history`: residual norm after every iteration `(max_steps,)`, NaN beyond the last one; None unless it was asked for. It is
      that of the method's recurrence, which rounding may drive below the true one, and the true one where that was computed:
      now and then, and at the end.
    - `fallbacks`: number of iterations in which a learned direction was replaced by a safe one; None for other methods.
    - `b_norm`: norm of the right-hand side, in the norm of `residual`; None where no right-hand side was given.

    **Example:**

        >>> stats = sx.linear.solve(A, b, sx.linear.CG(history=True)).stats
        >>> stats.history.shape, bool(stats.residual <= 1e-5 * stats.b_norm)
        ((1000,), True)
    """

    status: Int[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    history: Float[Array, " steps"] | None = None
    fallbacks: Int[Array, ""] | None = None
    b_norm: Float[Array, ""] | None = None


class Solution(eqx.Module):
    """**Fields:** `value` (the solution x), `stats` (a `Stats`), `method` (what ran, for example "CG(Multigrid)").

    Outside of `jit` its repr says how the solve ended.

    **Example:**

        >>> solution = sx.linear.solve(A, b, sx.linear.CG())
        >>> solution.value.shape, sx.linear.Status(int(solution.stats.status)).name
        ((15, 15), 'converged')
    """

    value: Float[Array, "..."]
    stats: Stats
    method: str = eqx.field(static=True, default="")

    @property
    def status(self):
        """`stats.status`; `status_message(status)` puts it in words."""
        return self.stats.status

    @property
    def iterations(self):
        """`stats.iterations`."""
        return self.stats.iterations

    @property
    def residual(self):
        """|b − A x| / |b|, in the norm that the method tests; 0 for b = 0."""
        size = self.stats.b_norm
        if size is None:
            raise ValueError("Solution: the norm of the right-hand side is not known")
        return jnp.where(size > 0, self.stats.residual / jnp.where(size > 0, size, 1), 0)

    @property
    def history(self) -> Float[np.ndarray, " iterations"]:
        """|r| after every iteration, as far as there were any (see `Stats.history`); divide by `stats.b_norm`.

        Raises `ValueError` if it was not recorded, under `jit` and for a batch (`stats.history` has them all).
        """
        if self.stats.history is None:
            raise ValueError(
                f"Solution: no history was recorded; ask for it with {self.method.split('(')[0]}(history=True)"
            )
        if isinstance(self.iterations, Tracer) or self.iterations.ndim:
            raise ValueError(
                "Solution: history is for one finished solve; under jit and for a batch take stats.history"
            )
        return np.asarray(self.stats.history)[: int(self.iterations)]

    def plot_history(self):
        """A matplotlib figure of |r| / |b| over the iterations."""
        import matplotlib.pyplot as plt

        history = self.history
        figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
        axes.semilogy(np.arange(1, len(history) + 1), history / np.asarray(self.stats.b_norm, float), label=self.method)
        axes.set_xlabel("iteration")
        axes.set_ylabel("|r| / |b|")
        axes.legend(fontsize=8)
        return figure

    def __repr__(self) -> str:
        shape = f"{self.value.dtype}{list(self.value.shape)}"
        if isinstance(self.status, Tracer) or self.stats.b_norm is None:
            return f"Solution({shape}, {self.method})"
        states, counts = np.unique(np.asarray(self.status), return_counts=True)
        ended = ", ".join(
            Status(int(s)).name if np.ndim(self.status) == 0 else f"{n} {Status(int(s)).name}"
            for s, n in zip(states, counts, strict=True)
        )
        steps, residual = int(np.max(self.iterations)), float(np.max(self.residual))
        return f"Solution({shape}, {self.method}: {ended}, {steps} iterations, |r|/|b| = {residual:.2g})"
