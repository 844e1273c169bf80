"""Samples of a registered problem, as options."""

from dataclasses import dataclass, field

import jax
import numpy as np

from ..datasets.dataset import Dataset
from ..datasets.generation import generate
from ..solvers import random
from ..solvers.pde import Problem, problem, registered_problems
from .expressions import evaluated


@dataclass(frozen=True, kw_only=True)
class ProblemData:
    """A registered problem and the points at which its solutions are stored."""

    name: str = ""
    """A registered problem, for example darcy, burgers, navier_stokes, gray_scott, wave."""
    set: dict[str, str] = field(default_factory=dict)
    """Arguments of the problem, each a name and a value: numbers, laws, boxes, such as nu "LogUniform(1e-5, 1e-3)" f 0. A law of
    several inputs, such as "GasWaves(1.0)", stands under the name of one of them."""
    grid: tuple[int, ...] = (65,)
    """Points per axis, ends included: one number, or one for each axis. Not for problems with a grid of their own, which --set
    gives."""
    refine: int | None = None
    """Solve on a grid this many times finer and restrict. By default 2, on cells 1."""
    frames: int = 0
    """Number of stored instants of a time-dependent problem, the initial one included."""
    until: float = 1.0
    """Last stored instant of a time-dependent problem; the first one is 0."""

    def declared(self) -> Problem:
        """The problem. **Raises:** `ValueError` for a name or arguments that there are not."""
        if self.name not in registered_problems():
            raise ValueError(f"unknown problem {self.name!r}; known: {', '.join(registered_problems())}")
        arguments = {"f": random.GaussianField()} if self.name == "poisson" else {}
        for name, text in self.set.items():
            value = evaluated(text)
            if isinstance(value, random.JointLaw) and name not in value.parts:
                raise ValueError(f"set {name} {text!r}: that is the law of {', '.join(value.parts)} together")
            arguments |= value.inputs() if isinstance(value, random.JointLaw) else {name: value}
        try:
            return problem(self.name, **arguments)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def generated(self, n: int, key: jax.Array) -> Dataset:
        """`n` samples. **Raises:** `ValueError` for a time-dependent problem with fewer than two frames."""
        declared = self.declared()
        if declared.time is not None and self.frames < 2:
            raise ValueError(f"{self.name} is time-dependent: give frames, 2 or more, and until")
        times = np.linspace(0, self.until, self.frames) if declared.time is not None else None
        grid = declared.grid
        if grid is None:
            grid = declared.box.grid(self.grid[0] if len(self.grid) == 1 else self.grid)
        refine = self.refine
        if refine is None:
            refine = 1 if "cells" in grid.layouts or declared.grid is not None else 2
        return generate(declared, n, grid, key, refine=refine, times=times)
