"""What `Problem.solve` returns."""

from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
from jaxtyping import Array, Int

from ..linear.solution import Stats


class Solved(eqx.Module):
    """The solution of one sample: `solution["u"]`, `solution.status`, and `fields, stats = solution`.

    **Fields:**

    - `fields`: the unknowns by name on the grid, `(*space)`, or `(t, *space)` at the instants that were asked for; vectors
      have their components last.
    - `stats`: of the solve; `(steps,)` each where every time step solves a system.
    - `restart`: inputs from which a solve in time goes on where this one ended, where the fields at the last instant do not
      hold them all; else empty.
    - `diagnostics`: numbers that some solvers compute on the way, such as forces, with a first axis of time steps.

    **Example:**

        >>> poisson = sx.problem("poisson", f=1.0)
        >>> solved = poisson.solve(grid=poisson.box.grid(17))
        >>> solved.fields["u"].shape, sx.linear.Status(int(solved.stats.status)).name
        ((17, 17), 'converged')
    """

    fields: Mapping[str, Array]
    stats: Stats
    restart: Mapping[str, Any] = eqx.field(default_factory=dict)
    diagnostics: Mapping[str, Array] = eqx.field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.fields[name]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.fields, self.stats))

    @property
    def status(self) -> Int[Array, ""]:
        """The `Status` of the solve, the worst of all steps."""
        return self.stats.status.max()
