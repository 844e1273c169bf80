"""`convert` writes any readable data file in The Well's layout. It may be killed at any moment and started again.

The new file is first made with room for all values and closed, so that the structure of the HDF5 file is never half written.
Its values are then filled in block by block as `.NAME.part`, beside the record `.NAME.part.json`, which says from which source
they come and how many blocks are on the disk. The complete file is renamed.
"""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np

from ..core.addresses import address_of
from ..core.files import StorageError, put_in_place, write_json
from ..core.progress import ProgressPrinter
from ..core.remote_files import local_copy
from .dataset import Dataset
from .formats.hdf5_file import written_values
from .formats.well_writer import blocks_of, layout_of, parts_of, write_header, write_well
from .opening import open_splits

_RECORD_EVERY = 2.0  # seconds between two records of what is on the disk
_SAMPLES = 16  # of one block, at most


def convert(source: str | os.PathLike, out: str | os.PathLike, *, progress: bool = True, **options: Any) -> list[Path]:
    """Write a data file in The Well's layout, few samples at a time, and return the files written.

    A source of several splits becomes a folder of The Well: OUT/data/SPLIT/NAME.hdf5. If the process was killed, the same call
    goes on from what is on the disk, and does not repeat finished splits. An existing file is replaced when the new one is
    complete. At an address such as `s3://bucket/file` the file is made on this machine first, without going on.

    **Arguments:** `source`, `options`: those of `surrogax.open`; `out`: file to write, or the folder of several splits.

    **Raises:** `ValueError` if a conversion of another source or with other options was begun here, for data that the layout
    cannot hold, and for a folder of splits inside of the source; `OSError` for a full disk (what is written is kept, free some
    space and call again).
    """
    splits = open_splits(source, **options)
    name = Path(os.fspath(source)).stem
    if (address := address_of(out)) is not None:
        if len(splits) > 1:
            raise ValueError(
                f"convert: {source} has the splits {sorted(splits)}; convert them to a folder of this machine"
            )
        write_well(address, next(iter(splits.values())), name=name, progress=progress)
        return [Path(address)]
    if len(splits) > 1 and Path(out).resolve().is_relative_to(Path(source).resolve()):
        raise ValueError(f"convert: {out} lies in the source, whose splits it would join; choose a folder outside")
    given = json.loads(json.dumps(options, default=_plain))
    identity = {"source": source_state(source, _own(Path(out))), **{f"{name}=": value for name, value in given.items()}}
    files = []
    for split, data in splits.items():
        file = Path(out) if len(splits) == 1 else Path(out) / "data" / split / f"{name}.hdf5"
        if len(splits) > 1:
            file.parent.mkdir(parents=True, exist_ok=True)
        _Conversion(file, data, name, {**identity, "split": split}).run(progress)
        files.append(file)
    for file in files:
        _record(file).unlink()
    return files


def _record(out: Path) -> Path:
    return out.with_name(f".{out.name}.part.json")


class _Conversion:
    """The writing of one file. It leaves its record, by which a later call knows that this file is finished."""

    def __init__(self, out: Path, data: Dataset, name: str, identity: Mapping):
        if not out.parent.is_dir():
            raise FileNotFoundError(f"cannot write {out}: there is no folder {out.parent}; create it first")
        if out.is_dir():
            raise IsADirectoryError(f"cannot write {out}: it is a folder; add the name of a file")
        self.out, self.data, self.name = out, data, name
        self.part, self.record = out.with_name(f".{out.name}.part"), _record(out)
        self.layout, self.blocks = layout_of(data), list(blocks_of(data, _SAMPLES))
        self.identity = {**identity, "blocks": len(self.blocks)}

    def run(self, progress: bool) -> None:
        done = self._done()
        printer = ProgressPrinter(len(self.blocks), str(self.out), enabled=progress)
        if done == len(self.blocks) and not self.part.exists() and self.out.exists():
            printer.close(done, f"{self.out}: is finished")
            return
        if done and not _is_intact(self.part):
            done = 0
        if not done:
            self.record.unlink(missing_ok=True)
            with h5py.File(self.part, "w") as file:
                write_header(file, self.data, self.layout, self.name)
            self._say(0)
        else:
            printer.update(done, f"{self.out}: goes on after {done} of {len(self.blocks)} blocks")
        with h5py.File(self.part) as file:
            places = {}
            for path in (path for paths in self.layout.values() for path in paths):
                data = written_values(file, path)
                places[path] = data.id.get_offset(), data.shape, data.dtype
        with open(self.part, "r+b", buffering=0) as raw:
            last = time.monotonic()
            for number, (rows, frames) in enumerate(self.blocks[done:], done + 1):
                self._write(raw, places, rows, frames)
                if time.monotonic() - last > _RECORD_EVERY or number == len(self.blocks):
                    os.fsync(raw.fileno())
                    self._say(number)
                    last = time.monotonic()
                printer.update(number, f"{self.out}: {rows[-1] + 1} of {len(self.data)} samples")
        put_in_place(self.part, self.out)
        printer.close(len(self.blocks), f"{self.out}: {len(self.data)} samples")

    def _done(self) -> int:
        """Number of blocks on the disk. **Raises:** `ValueError` for those of another source."""
        if not self.record.exists():
            return 0
        try:
            found = json.loads(self.record.read_text())
            before, done = found["identity"], int(found["done"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.record} is damaged ({error}); remove it to start again") from error
        if before != self.identity:
            what = next(k for k in {**self.identity, **before} if before.get(k) != self.identity.get(k))
            raise ValueError(
                f"convert: {self.out} was begun from another source or with other options: {what} was "
                f"{str(before.get(what))[:200]}, now {str(self.identity.get(what))[:200]}; remove {self.record} to start again"
            )
        return min(max(done, 0), len(self.blocks))

    def _say(self, done: int) -> None:
        write_json(self.record, {"identity": self.identity, "done": done})

    def _write(self, raw, places: Mapping, rows: np.ndarray, frames: range | None) -> None:
        later = frames is not None and frames.start > 0
        fields = self.data.fields
        names = [field for field, spec in fields.items() if spec.time or not later]
        for field, values in self.data.read(names, rows, frames=frames).items():
            for path, part in parts_of(field, self.layout[field], values):
                offset, shape, dtype = places[path]
                parted = frames is not None and fields[field].time
                expected = (
                    (len(rows), len(frames), *shape[2:]) if frames is not None and parted else (len(rows), *shape[1:])
                )
                if part.shape != expected or part.dtype != dtype:
                    raise ValueError(
                        f"field {field!r} gave {part.dtype}{list(part.shape)}, expected {dtype}{list(expected)} by its "
                        "FieldSpec, the grid and the times"
                    )
                size = int(np.prod(shape[1:], dtype=int)) * dtype.itemsize
                if frames is not None and parted:
                    frame = size // shape[1]
                    for row, block in zip(rows.tolist(), part, strict=True):
                        _put(raw, offset + row * size + frames.start * frame, block)
                else:
                    _put(raw, offset + int(rows[0]) * size, part)


def _is_intact(part: Path) -> bool:
    try:
        with h5py.File(part):
            return True
    except OSError:  # missing, or cut off
        return False


def _put(raw, place: int, values: np.ndarray) -> None:
    raw.seek(place)
    rest = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while rest:
        rest = rest[raw.write(rest) :]


def _own(out: Path) -> tuple[str, ...]:
    return out.name, f".{out.name}.part", f".{out.name}.part.json"


def source_state(source: str | os.PathLike, own: tuple[str, ...] = ()) -> dict[str, list[int]] | str:
    """What changes when a source changes: sizes and times of its files, but for those with the names `own`; of an address, the
    name of its copy."""
    if (address := address_of(source)) is not None:
        return f"{address} ({local_copy(address).parent.name})"
    path = Path(source)
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file() and f.name not in own)
    return {str(f.relative_to(path.parent)): [f.stat().st_size, f.stat().st_mtime_ns] for f in files}


def _plain(value: Any) -> Any:
    """An option as JSON. The text of a large array, and that of a grid, would leave digits out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dict(vars(value))
    return np.asarray(value).tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else repr(value)
