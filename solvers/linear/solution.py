"""What an iterative solve reports about itself. Every field is an array, so that each lane of a vmap has its own."""

from enum import IntEnum

import equinox as eqx
from jaxtyping import Array, Float, Int


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
    """**Fields:** `status` (a `Status` value), `iterations`, `residual` (of the true b − A x, in the method's norm),
    optional `history` of residual norms per iteration, padded with NaN, and, of methods whose directions are learned,
    `fallbacks`: iterations in which the proposal was replaced by a safe one."""

    status: Int[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    history: Float[Array, " steps"] | None = None
    fallbacks: Int[Array, ""] | None = None


class Solution(eqx.Module):
    """**Fields:** `value` (the solution x), `stats`, `method` (what ran, for example "CG(Multigrid)")."""

    value: Float[Array, "..."]
    stats: Stats
    method: str = eqx.field(static=True, default="")

    @property
    def status(self):
        return self.stats.status

    @property
    def iterations(self):
        return self.stats.iterations
