"""N*: the number of predictions after which training a surrogate has paid off against a solver of the same error."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The mean error of a row and its milliseconds per sample, in full batches."""

    name: str
    error: float
    milliseconds: float | None


@dataclass(frozen=True)
class BreakEven:
    """When a surrogate has paid off; see `Table.break_even`.

    **Fields:** `queries`: N*; infinite if the solver is at least as fast, or None if no solver is as accurate. `solver`: the
    fastest solver that is at least as accurate, or None.
    """

    queries: float | None
    solver: str | None

    def __str__(self) -> str:
        if self.queries is None:
            return "no solver is as accurate"
        return (
            f"never, {self.solver} is faster" if self.queries == float("inf") else f"{self.queries:.2g}, {self.solver}"
        )


def break_even(surrogate: Cost, solvers: Iterable[Cost], seconds: float) -> BreakEven:
    """N* = B / (C − c): B the `seconds` before the first prediction, c the time of a prediction, and C that of the fastest solver
    whose error is not larger."""
    accurate = [(s.milliseconds, s.name) for s in solvers if s.error <= surrogate.error and s.milliseconds is not None]
    if not accurate or surrogate.milliseconds is None:
        return BreakEven(None, None)
    milliseconds, name = min(accurate)
    saved = (milliseconds - surrogate.milliseconds) / 1000
    return BreakEven(seconds / saved if saved > 0 else float("inf"), name)
