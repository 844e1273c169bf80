"""APEBench's exports as a format of `surrogax.open`: `NAME_train.npy`, `NAME_test.npy` `(sample, time, channel, *space)` and
`NAME.json`.

The JSON holds `info`, the scenario's settings (arXiv:2411.00180). Space is the periodic box `[0, L)^d`, where L is
`domain_extent` (1 if absent), and frames are `dt` (1 if absent) apart; "difficulty" scenarios have no other unit.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...core.domains import Axis, Box, Grid
from ...core.files import StorageError
from ..source import Source
from ..stored import StoredSource, foreign, place
from .npy import NpyArray, is_npy
from .registry import AbstractFormat, without_options

_LAYOUT = "APEBench's layout"
_SPLITS = ("train", "test")


class ApebenchFormat(AbstractFormat):
    """An exported array with its JSON beside it."""

    name = "APEBench's .npy and .json"

    def recognises(self, path: Path) -> bool:
        return is_npy(path) and bool(_info(path))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        return {"": _source(path)}


class ApebenchFolder(AbstractFormat):
    """The folder of one scenario, whose arrays are the splits."""

    name = "a folder of APEBench"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and bool(_arrays(path))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        without_options(self, path, options)
        found = _arrays(path)
        scenarios = {file.stem.removesuffix(f"_{_split(file)}") for file in found}
        if len(scenarios) > 1:
            raise StorageError(f"{path}: holds the scenarios {sorted(scenarios)}; open one of its .npy files")
        return {_split(file): _source(file) for file in found}


def _split(path: Path) -> str:
    return path.stem.rsplit("_", 1)[-1]


def _arrays(folder: Path) -> list[Path]:
    files = sorted(file for split in _SPLITS for file in folder.glob(f"*_{split}.npy"))
    return [file for file in files if is_npy(file) and _info(file)]


def _info(path: Path) -> dict[str, Any]:
    """The scenario's settings from the JSON beside an array; empty if there is none."""
    beside = path.with_name(path.stem.rsplit("_", 1)[0] + ".json")
    try:
        if not beside.is_file() or beside.stat().st_size > 2**20:
            return {}
        info = json.loads(beside.read_text(encoding="utf-8"))["info"]
        return info if {"num_spatial_dims", "num_points"} <= info.keys() else {}
    except Exception:  # JSON of anything else
        return {}


def _source(path: Path) -> StoredSource:
    info = _info(path)
    with foreign(path, _LAYOUT):
        ndim, points = int(info["num_spatial_dims"]), int(info["num_points"])
        if ndim not in (1, 2, 3):
            raise StorageError(f"its JSON tells {ndim} dimensions of space, expected 1 to 3")
        length, dt = float(info.get("domain_extent") or 1.0), float(info.get("dt") or 1.0)
        space = "xyz"[:ndim]
        stored = NpyArray(path)
        arrays = {"u": place(stored, ["sample", "time", "component", *space], space)}
        box = Box(tuple(Axis(name, 0.0, length, "periodic") for name in space))
        grid = Grid(box, (points,) * ndim, ("periodic",) * ndim)
        times = dt * np.arange(stored.shape[1])
        kept = {k: v for k, v in info.items() if isinstance(v, int | float | str) and not isinstance(v, bool)}
        return StoredSource(path, _LAYOUT, arrays, {"": grid}, times, {"file": path.name, **kept}, stored.shape[0])
