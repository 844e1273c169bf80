"""The commands that write, describe and convert data files."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from ..datasets.conversion import convert
from ..datasets.description import described
from ..datasets.formats.well_writer import write_well
from ..datasets.opening import open_dataset, open_splits
from .problem_data import ProblemData


@dataclass(frozen=True, kw_only=True)
class Generate(ProblemData):
    """Solve a problem for random parameters and write the samples to an HDF5 file in The Well's layout."""

    name: Annotated[str, tyro.conf.Positional]
    """A registered problem, for example darcy, burgers, navier_stokes, gray_scott, wave."""
    out: Path
    """File to write."""
    n: int = 100
    """Number of samples."""
    seed: int = 0
    """Seed of the random parameters."""

    def run(self) -> None:
        """Generate the samples, write them and print what the file holds.

        **Raises:** `ValueError` for an unknown problem, arguments that it does not have, or a time-dependent one with fewer than
        two frames.
        """
        data = self.generated(self.n, jax.random.key(self.seed))
        write_well(self.out, data, name=self.name)
        print(f"{self.out}: {data.describe()}")


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
