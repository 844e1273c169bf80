"""Commands on data files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from ..datasets.dataset import Dataset
from ..datasets.formats.well_writer import write_well
from ..datasets.generation import generate
from ..datasets.opening import open_dataset
from ..solvers import random
from ..solvers.pde import problem


@dataclass
class Generate:
    """Solve a problem for random parameters and write the samples to an HDF5 file in The Well's layout."""

    problem: Annotated[Literal["darcy", "poisson"], tyro.conf.Positional]
    """Which problem: darcy (random coefficient a) or poisson (random right-hand side f)."""
    out: Path
    """File to write."""
    n: int = 100
    """Number of samples."""
    grid: int = 85
    """Points per axis, ends included."""
    refine: int = 2
    """Solve on a grid this many times finer and restrict."""
    coefficient: Literal["threshold", "lognormal"] = "threshold"
    """Law of the Darcy coefficient: two values 12 and 3, or smooth."""
    seed: int = 0
    """Seed of the random parameters."""

    def run(self) -> None:
        law = random.Threshold(12, 3) if self.coefficient == "threshold" else random.Lognormal()
        parameter = {"darcy": {"a": law}, "poisson": {"f": random.GaussianField()}}[self.problem]
        data = generate(
            problem(self.problem, **parameter), self.n, self.grid, jax.random.key(self.seed), refine=self.refine
        )
        write_well(self.out, data, name=self.problem)
        print(f"{self.out}: {data.describe()}")


@dataclass
class Describe:
    """Say what is in a data file: samples, named axes, shapes, ranges, anything suspicious."""

    file: Annotated[Path, tyro.conf.Positional]
    """Data file, or a folder with train, valid and test."""
    samples: int = 64
    """How many samples to look at for ranges."""

    def run(self) -> None:
        opened = open_dataset(self.file)
        splits = {"": opened} if isinstance(opened, Dataset) else opened
        for name, data in splits.items():
            print((f"{name}: " if name else "") + data.describe(self.samples))


@dataclass
class Convert:
    """Write any readable data file as HDF5 in The Well's layout."""

    file: Annotated[Path, tyro.conf.Positional]
    """Data file to read."""
    out: Path
    """File to write."""

    def run(self) -> None:
        data = open_dataset(self.file)
        if not isinstance(data, Dataset):
            raise ValueError(f"{self.file} holds the splits {sorted(data)}; convert one file at a time")
        write_well(self.out, data, name=self.file.stem)
        print(f"{self.out}: {data.describe()}")
