"""The commands that write, describe and convert data files."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from ..datasets.conversion import convert
from ..datasets.description import described
from ..datasets.formats.well_writer import write_well
from ..datasets.generation import generate
from ..datasets.opening import open_dataset, open_splits
from ..solvers import random
from ..solvers.pde import Problem, problem, registered_problems
from .expressions import evaluated


@dataclass
class Generate:
    """Solve a problem for random parameters and write the samples to an HDF5 file in The Well's layout."""

    problem: Annotated[str, tyro.conf.Positional]
    """A registered problem, for example darcy, burgers, navier_stokes, gray_scott, wave."""
    out: Path
    """File to write."""
    set: dict[str, str] = field(default_factory=dict)
    """Arguments of the problem, each a name and a value: numbers, laws, boxes, such as nu "LogUniform(1e-5, 1e-3)" f 0. A law of
    several inputs, such as "GasWaves(1.0)", stands under the name of one of them."""
    n: int = 100
    """Number of samples."""
    grid: tuple[int, ...] = (85,)
    """Points per axis, ends included: one number, or one for each axis. Not for problems with a grid of their own, which --set
    gives."""
    refine: int | None = None
    """Solve on a grid this many times finer and restrict. By default 2, on cells 1."""
    frames: int = 0
    """Number of stored instants of a time-dependent problem, the initial one included."""
    until: float = 1.0
    """Last stored instant of a time-dependent problem; the first one is 0."""
    seed: int = 0
    """Seed of the random parameters."""

    def run(self) -> None:
        """Generate the samples, write them and print what the file holds.

        **Raises:** `ValueError` for an unknown problem, arguments that it does not have, or a time-dependent one with fewer than
        two frames.
        """
        declared = self._declared()
        if declared.time is not None and self.frames < 2:
            raise ValueError(f"{self.problem} is time-dependent: give --frames, 2 or more, and --until")
        times = np.linspace(0, self.until, self.frames) if declared.time is not None else None
        grid = declared.grid
        if grid is None:
            grid = declared.box.grid(self.grid[0] if len(self.grid) == 1 else self.grid)
        refine = self.refine
        if refine is None:
            refine = 1 if "cells" in grid.layouts or declared.grid is not None else 2
        data = generate(declared, self.n, grid, jax.random.key(self.seed), refine=refine, times=times)
        write_well(self.out, data, name=self.problem)
        print(f"{self.out}: {data.describe()}")

    def _declared(self) -> Problem:
        if self.problem not in registered_problems():
            raise ValueError(f"unknown problem {self.problem!r}; known: {', '.join(registered_problems())}")
        arguments = {"f": random.GaussianField()} if self.problem == "poisson" else {}
        for name, text in self.set.items():
            value = evaluated(text)
            if isinstance(value, random.JointLaw) and name not in value.parts:
                raise ValueError(f"--set {name} {text!r}: that is the law of {', '.join(value.parts)} together")
            arguments |= value.inputs() if isinstance(value, random.JointLaw) else {name: value}
        try:
            return problem(self.problem, **arguments)
        except TypeError as error:
            raise ValueError(str(error)) from None


@dataclass
class Describe:
    """Print what a data file holds: samples, fields, shapes, ranges of values, anything suspicious."""

    file: Annotated[Path, tyro.conf.Positional]
    """Data file, or a folder with the folders train, valid and test."""
    samples: int = 64
    """Number of samples read to find the ranges of values."""
    json: bool = False
    """Print one JSON object, by split, instead of a text."""

    def run(self) -> None:
        """Print the description of every split."""
        found = {name: described(data, self.samples) for name, data in open_splits(self.file).items()}
        if self.json:
            print(json.dumps({name: each.to_dict() for name, each in found.items()}, ensure_ascii=False))
            return
        for name, each in found.items():
            print((f"{name}: " if name else "") + str(each))


@dataclass
class Verify:
    """Look for contradictions in a data file: stored parameters against measured ones, coordinates, instants, missing samples.

    The process exits with status 1 if there are any.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """Data file, or a folder with the folders train, valid and test."""
    samples: int = 8
    """Number of samples to look at."""
    json: bool = False
    """Print one JSON object, by split, instead of a text."""

    def run(self) -> None:
        """Print the findings about every split.

        **Raises:** `SystemExit` with status 1 for contradictions.
        """
        found = {name: data.verify(self.samples) for name, data in open_splits(self.file).items()}
        if self.json:
            print(json.dumps({name: each.to_dict() for name, each in found.items()}, ensure_ascii=False))
        else:
            for name, each in found.items():
                print((f"{name}: " if name else "") + str(each))
        if not all(each.ok for each in found.values()):
            raise SystemExit(1)


@dataclass
class Convert:
    """Write any readable data file as HDF5 in The Well's layout, few samples at a time.

    A file with several splits becomes a folder of The Well: OUT/data/SPLIT/NAME.hdf5. A conversion that was killed goes on when
    the same command is given again. An existing file is replaced when the new one is complete.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """Data file or folder to read."""
    out: Path
    """File to write, or the folder of several splits."""
    axes: dict[str, str] = field(default_factory=dict)
    """For files that do not tell what their axes mean: for every array a word per axis, such as u "sample time x y"."""
    boundary: Literal["", "periodic", "dirichlet", "neumann"] = ""
    """For formats that do not tell the boundary condition: the one on all sides."""

    def run(self) -> None:
        """Convert every split and print what the new files hold."""
        options = {
            **({"axes": self.axes} if self.axes else {}),
            **({"boundary": self.boundary} if self.boundary else {}),
        }
        for out in convert(self.file, self.out, **options):
            print(f"{out}: {open_dataset(out).describe()}")
