"""What a linear solve returns: the solution, and what the iteration reports about itself."""

from enum import IntEnum

import equinox as eqx
from jaxtyping import Array, Float, Int

# What a step of an iteration may return beside a `Status` that ends it.
RUNNING = -1
PAUSED = -2  # the recurrence cannot go on from here: compute the true residual and start again from it
DEFLATED = -3  # the recurrence has met a null vector of the operator: start again without the part of b along it


class Status(IntEnum):
    """Why an iteration ended. `advice` says what to try."""

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
            "precision, or the system is singular and has no solution; loosen rtol, use Refinement or compute in float64",
            Status.breakdown: "a direction of zero or negative curvature was met: the operator or the preconditioner "
            "is not symmetric positive definite (use MINRES for an indefinite operator, FGMRES where BiCGStab breaks down)",
            Status.non_finite: "the operator, the right-hand side or the starting point holds NaN or infinity; in a "
            "time integration also: the step is too long",
        }[self]


class Stats(eqx.Module):
    """What an iteration reports. Every field is an array, so that each lane of a `vmap` has its own.

    **Fields:**

    - `status`: a `Status` value.
    - `iterations`: number of iterations; of `Refinement`, of all its corrections together.
    - `residual`: norm of the true b − A x, in the norm that the method tests.
    - `history`: residual norm after every iteration `(max_steps,)`, NaN beyond the last one; None unless it was asked for.
    - `fallbacks`: number of iterations in which a learned direction was replaced by a safe one; None for other methods.
    """

    status: Int[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    history: Float[Array, " steps"] | None = None
    fallbacks: Int[Array, ""] | None = None


class Solution(eqx.Module):
    """**Fields:** `value` (the solution x), `stats` (a `Stats`), `method` (what ran, for example "CG(Multigrid)")."""

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
