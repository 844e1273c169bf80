"""Open damaged files of every format: `test_damaged_files.py` runs it, `python tests/damaged_files.py 10000` many.

Each case copies a tiny file, changes it at random (cuts it, flips or overwrites bytes, retypes what HDF5 or JSON holds), opens
and describes it. Allowed are a dataset and a `StorageError` in one sentence. Everything else is a fault: another error, a
crash, a case that takes longer than 10 seconds or 300 MB. The cases run in a process of their own, which is started again after
a crash. The last line is the number of faults.
"""

import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np

LIMIT_SECONDS, LIMIT_BYTES = 10, 300 * 2**20


def cut(path: Path, rng: np.random.Generator):
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(len(content))])


def flip(path: Path, rng: np.random.Generator):
    content = bytearray(path.read_bytes())
    for position in rng.integers(len(content), size=rng.integers(1, 9)):
        content[position] ^= 1 << rng.integers(8)
    path.write_bytes(bytes(content))


def overwrite(path: Path, rng: np.random.Generator):
    """Up to 64 bytes become random, zero, or an extreme number; more often near the start, where headers are."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * rng.random() ** 3)
    size = min(int(rng.integers(1, 65)), len(content) - start)
    extreme = [b"\xff" * 64, b"\x00" * 64, b"\xff\xff\xff\x7f" * 16, b"9" * 64, rng.bytes(64)]
    content[start : start + size] = extreme[rng.integers(len(extreme))][:size]
    path.write_bytes(bytes(content))


def retype(path: Path, rng: np.random.Generator):
    """Give an array of an HDF5 file another type, shape or attribute, or a value of a JSON text another type; otherwise flip."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r+") as file:
            _retype_hdf5(file, rng)
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
        inner = content.get("info", content)
        if isinstance(inner, dict) and inner:
            name = sorted(inner)[rng.integers(len(inner))]
            inner[name] = [None, "text", -1, 1e300, 10**12, [], {}, True][rng.integers(8)]
        path.write_text(json.dumps(content))
    else:
        flip(path, rng)


def _retype_hdf5(file: h5py.File, rng: np.random.Generator):
    found = []
    file.visititems(lambda name, item: found.append(name))
    name = found[rng.integers(len(found))]
    item = file[name]
    if item.attrs and rng.random() < 0.3:
        key = sorted(item.attrs)[rng.integers(len(item.attrs))]
        item.attrs[key] = [b"x", -1, np.full(3, 1e9), "text", np.nan][rng.integers(5)]
        return
    if not isinstance(item, h5py.Dataset):
        del file[name]
        return
    attributes, shape, kind = dict(item.attrs), item.shape, ("f2", "i8", "c16", "S3", "?", ">f4", "O")[rng.integers(7)]
    del file[name]
    if kind == "O":
        new = file.create_dataset(name, shape, h5py.string_dtype())
    elif rng.random() < 0.3:
        huge = (*shape[:-1], 10 ** int(rng.integers(6, 12))) if shape else (10**9,)
        new = file.create_dataset(name, huge, "f4", chunks=tuple(1 for _ in huge))
    elif rng.random() < 0.3:
        other = shape[::-1] if rng.random() < 0.5 else shape[:-1]
        new = file.create_dataset(name, other, kind)
    else:
        new = file.create_dataset(name, shape, kind)
    for key, value in attributes.items():
        if key not in ("DIMENSION_LIST", "REFERENCE_LIST"):
            new.attrs[key] = value


CHANGES = (cut, flip, overwrite, retype)


def work(home: Path, start: int, stop: int):
    """Run the cases start … stop − 1 and print a line for each: its number, and a fault or nothing."""
    import files_of_formats as made

    import surrogax as sx
    from surrogax.core.files import StorageError
    from surrogax.datasets.description import described

    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    names = [name for name in made.FORMATS if name not in made.WITHOUT_LIBRARY]
    for name in names:
        if not (home / name).exists():
            (home / name).mkdir()
            made.FORMATS[name](home / name)
    here = home / "case"
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + 2**32, resource.RLIM_INFINITY))
    sx.open_splits(folder_of(home / names[0]))
    before = peak()
    for case in range(start, stop):
        rng = np.random.default_rng(case)
        name = names[case % len(names)]
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(home / name, here)
        files = sorted(file for file in here.rglob("*") if file.is_file() and file.stat().st_size)
        change = CHANGES[rng.integers(len(CHANGES))]
        change(files[rng.integers(len(files))], rng)
        print(f"{case} {name}, {change.__name__}", end=" ", flush=True)
        options = dict(OPTIONS.get(name, {}))
        try:
            for data in sx.open_splits(folder_of(here), **options).values():
                str(described(data, 3))
                data.read(None, [0, len(data) - 1] if len(data) else [])
            said = ""
        except StorageError as error:
            said = f"FAULT: {len(str(error).splitlines())} lines" if "\n" in str(error) else ""
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            said = f"FAULT: {type(error).__name__}: {' '.join(str(error).split()):.200} at {at.filename}:{at.lineno}"
        if peak() - before > LIMIT_BYTES:
            said, before = f"FAULT: {(peak() - before) / 2**20:.0f} MB", peak()
        print(said, flush=True)


OPTIONS = {
    "npy": {"axes": {"u": "sample time x"}, "times": np.arange(4)},
    "npz": {"axes": {"velocity": "sample time component x y", "nu": "sample"}},
    "unknown HDF5": {"axes": {"run/fields/u": "sample y x"}},
}


def folder_of(folder: Path) -> Path:
    """What is opened of a format's folder: its only file or folder, or the folder itself."""
    inner = [path for path in sorted(folder.iterdir()) if path.suffix != ".json"]
    return inner[0] if len(inner) == 1 else folder


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(count: int, first: int = 0) -> int:
    """Run `count` cases and return the number of faults, which are printed."""
    faults, case = 0, first
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    with tempfile.TemporaryDirectory() as home:
        while case < first + count:
            arguments = [sys.executable, __file__, "--work", home, str(case), str(first + count)]
            worker = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
            assert worker.stdout is not None
            begun, line = "", ""
            while True:
                wait = LIMIT_SECONDS if begun else 120
                ready, _, _ = select.select([worker.stdout], [], [], wait)
                piece = os.read(worker.stdout.fileno(), 2**16).decode() if ready else None
                if piece is None or piece == "":
                    break
                begun += piece
                while "\n" in begun:
                    line, begun = begun.split("\n", 1)
                    case = int(line.split(" ", 1)[0]) + 1
                    if "FAULT" in line:
                        faults += 1
                        print(line)
            if piece is None:
                worker.kill()
            status = worker.wait()
            if begun or status:
                faults += 1
                print(f"{begun} FAULT: {'too slow' if piece is None else f'exit status {status}'}")
                case = int(begun.split(" ", 1)[0]) + 1 if begun.split(" ", 1)[0].isdigit() else case + 1
    print(f"{count} damaged files, {faults} faults")
    return faults


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main(int(sys.argv[1]), *map(int, sys.argv[2:])) > 0)
