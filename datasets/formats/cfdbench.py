"""CFDBench's folders of cases as a format of `surrogax.open` (arXiv:2310.05963).

A case is a folder with `u.npy` and `v.npy` `(time, y, x)` and the numbers of `case.json`, such as `vel_in`, `density`,
`viscosity`, `height`, `width`. A folder of cases, or one with the folders `bc`, `geo`, `prop` of cases, is a dataset with a
sample per case. The numbers that all cases have are parameters. Cases of one size lie on their own box; where height or width
vary, the grid is that of the unit square and both are parameters. Walls and inlets are not stored, and nothing is padded here:
what holds at the sides is in `attributes["boundary_conditions"]`. Round cylinders the field `fluid` is 1 in the fluid and 0
inside the circle about the origin of `x_min`, …, `y_max`, where the solid is; `data.masked("fluid")` leaves it out. Frames
are 0.1 s apart, 0.001 s around cylinders; pass `dt=` if yours differ.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import checked, number
from ...core.domains import Axis, Box, Grid
from ...core.files import StorageError
from ..source import Source
from ..stored import InMemory, Stack, StoredSource, foreign, place
from .npy import NpyArray
from .registry import AbstractFormat

_LAYOUT = "CFDBench's layout"
_WALL = "u = v = 0"
# What holds at the sides, by the number of a case that tells it.
_SIDES = {
    "vel_top": {"left": _WALL, "right": _WALL, "bottom": _WALL, "top": "u = vel_top, v = 0"},
    "vel_in": {"left": "u = vel_in, v = 0", "right": "outflow", "bottom": _WALL, "top": _WALL},
}
_AT_REST = 0.05  # of the largest velocity


class CfdBenchFormat(AbstractFormat):
    """A folder of cases, of groups of cases, or one case. Option of `surrogax.open`: `dt=`, the seconds between frames."""

    name = "a folder of CFDBench"

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and bool(_cases(path))

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_cfdbench(path, **options)}


@checked
def open_cfdbench(path: Path, dt: float | None = None) -> StoredSource:
    """Open the cases in a folder. Cases with more frames than the shortest are cut to its length, with a warning.

    **Raises:** `StorageError` for damaged cases; `ValueError` for `dt` that is no positive number.
    """
    cases = _cases(path)
    with foreign(path, _LAYOUT):
        numbers = [_numbers(case) for case in cases]
        fields = {name: [NpyArray(case / f"{name}.npy") for case in cases] for name in ("u", "v")}
        shapes = [array.shape for name in fields for array in fields[name]]
        if any(len(shape) != 3 or shape[1:] != shapes[0][1:] for shape in shapes):
            raise StorageError(f"u and v of its cases have the shapes {sorted(set(shapes))}, expected (time, y, x)")
        frames = min(shape[0] for shape in shapes)
    shared = set.intersection(*(set(each) for each in numbers))
    step = (0.001 if "radius" in shared else 0.1) if dt is None else number("open", "dt", dt, above=0.0)
    notes = [] if dt is not None else [f"the files store no instants; frames are taken {step:g} s apart, pass dt="]
    if longer := sum(shape[0] > frames for shape in shapes[: len(cases)]):
        warnings.warn(
            f"{path}: {longer} of {len(cases)} cases have more than {frames} frames and are cut to these", stacklevel=5
        )
        notes.append(f"{longer} cases are cut to the {frames} frames of the shortest")
    arrays = {
        name: place(Stack([First(each, frames) for each in parts]), "sample time y x", "xy")
        for name, parts in fields.items()
    }
    for name in sorted(shared):
        values = np.array([each[name] for each in numbers])
        arrays[name if name not in arrays else f"{name}_of_case"] = place(InMemory(values), "sample", [], "parameter")
    if left := sorted(set().union(*numbers) - shared):
        notes.append(f"not all cases have {', '.join(left)}")
    sizes = {_size(each) for each in numbers}
    lx, ly = sizes.pop() if len(sizes) == 1 else (1.0, 1.0)
    if sizes:
        notes.append("height and width vary; coordinates are relative to them")
    if {"radius", "x_min", "x_max", "y_min", "y_max"} <= shared:
        fluid = np.stack([_fluid(each, shapes[0][1:]) for each in numbers])
        arrays["fluid"] = place(InMemory(fluid), "sample y x", "xy")
        notes += _moving_solid(fluid[0], fields["u"][0], frames)
    box = Box((Axis("x", 0.0, lx, None), Axis("y", 0.0, ly, None)))
    grid = Grid(box, (shapes[0][2], shapes[0][1]), ("cells", "cells"))
    attributes: dict[str, Any] = {"cases": [str(case.relative_to(path)) for case in cases], "notes": notes}
    if sides := next((_SIDES[name] for name in _SIDES if name in shared), None):
        attributes["boundary_conditions"] = sides
    return StoredSource(path, _LAYOUT, arrays, {"": grid}, step * np.arange(frames), attributes, len(cases))


class First:
    """The first entries of a stored array along its first axis."""

    def __init__(self, whole: NpyArray, count: int):
        self._whole, self._count = whole, count

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._count, *self._whole.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self._whole.dtype

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return self._whole.read(cuts)


def _is_case(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("u.npy", "v.npy", "case.json"))


def _cases(path: Path) -> list[Path]:
    """The cases in a folder and in its subfolders, in the order of their numbers."""
    if _is_case(path):
        return [path]
    inner = sorted(folder for folder in path.iterdir() if folder.is_dir())
    found = [case for folder in inner for case in ([folder] if _is_case(folder) else sorted(folder.glob("*/")))]
    return sorted((c for c in found if _is_case(c)), key=lambda c: (str(c.parent), len(c.name), c.name))


def _numbers(case: Path) -> dict[str, float]:
    file = case / "case.json"
    if file.stat().st_size > 2**20:
        raise StorageError(f"{file.relative_to(case.parent)} is too long for a few numbers")
    found = json.loads(file.read_text(encoding="utf-8"))
    return {k: float(v) for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _size(case: dict[str, float]) -> tuple[float, float]:
    """Width and height of a case; 1 where they are not told."""
    width = case.get("width", case.get("x_max", 1.0) - case.get("x_min", 0.0))
    height = case.get("height", case.get("y_max", 1.0) - case.get("y_min", 0.0))
    return (width, height) if width > 0 and height > 0 else (1.0, 1.0)


def _fluid(case: dict[str, float], shape: tuple[int, ...]) -> np.ndarray:
    """1 at the centres of cells `(y, x)` outside of the cylinder, 0 inside."""
    y, x = (
        case[f"{a}_min"] + (np.arange(n) + 0.5) * (case[f"{a}_max"] - case[f"{a}_min"]) / n
        for a, n in zip("yx", shape, strict=True)
    )
    return np.asarray(x**2 + y[:, None] ** 2 > case["radius"] ** 2, np.float32)


def _moving_solid(fluid: np.ndarray, u: NpyArray, frames: int) -> list[str]:
    """A note if the first case moves where its solid should be."""
    last = np.abs(u.read((slice(frames - 1, frames), slice(None), slice(None)))[0])
    inside = last[fluid == 0]
    if not inside.size or inside.max() <= _AT_REST * max(float(last.max()), 1e-30):
        return []
    return ["u does not vanish inside the cylinder about the origin, where fluid is 0; the cylinder may lie elsewhere"]
