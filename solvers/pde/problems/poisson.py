"""Poisson's equation: −Δu = f."""

from ....core.domains import Box
from ...random import Distribution
from ..declaration import Problem
from ..registry import register_problem
from .darcy import darcy


@register_problem("poisson")
def poisson(
    f: Distribution | float = 1.0, g: Distribution | float = 0.0, *, box: Box | None = None, rtol: float | None = None
) -> Problem:
    """−Δu = f in the box, u = g on Dirichlet sides; all-Neumann and periodic boxes give the solution of zero mean.

    This is `darcy` with the constant a = 1, where one fast transform solves the system. Arguments as there.
    """
    return darcy(1.0, f, g, box=box, rtol=rtol)
