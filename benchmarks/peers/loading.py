"""Loaders of PyTorch and The Well, as peers for `benchmarks/loading.py`; runs in the peer environment.

It is asked by lines `{"loader", "workers", "samples", "history", "seed"}` and answers with the seconds of one pass over so many
random windows, or, asked for `{"sum": [sample, start]}`, with the sum of one window. Loaders: `items` reads a window per item by
h5py, `batches` a whole batch into one array in the order of the file (`__getitems__`), `well` is `WellDataset`.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import torch
from the_well.data import WellDataset
from torch.utils.data import DataLoader, Dataset, RandomSampler


class Windows(Dataset):
    """Windows of `history` + 1 frames of the field `u`; every process opens the file once."""

    def __init__(self, path: Path, history: int):
        self.path, self.frames, self.values = path, history + 1, None
        with h5py.File(path) as file:
            self.trajectories, instants = file["t0_fields/u"].shape[:2]
        self.starts = instants - history

    def __len__(self) -> int:
        return self.trajectories * self.starts

    def opened(self) -> h5py.Dataset:
        if self.values is None:
            self.values = h5py.File(self.path)["t0_fields/u"]
        return self.values

    def __getitem__(self, number: int) -> torch.Tensor:
        row, start = divmod(number, self.starts)
        return torch.from_numpy(self.opened()[row, start : start + self.frames])


class Batches(Windows):
    """The same by whole batches."""

    def __getitems__(self, numbers: list[int]) -> torch.Tensor:
        values = self.opened()
        found = np.empty((len(numbers), self.frames, *values.shape[2:]), values.dtype)
        for k in np.argsort(numbers):
            row, start = divmod(numbers[k], self.starts)
            found[k] = values[row, start : start + self.frames]
        return torch.from_numpy(found)


def loader(path: Path, kind: str, history: int, workers: int, samples: int, batch: int, seed: int) -> DataLoader:
    if kind == "well":
        windows = WellDataset(
            path=str(path.parent), n_steps_input=history, n_steps_output=1, use_normalization=False, return_grid=False,
            boundary_return_type=None,
        )  # fmt: skip
    else:
        windows = (Windows if kind == "items" else Batches)(path, history)
    sampler = RandomSampler(windows, num_samples=samples, generator=torch.Generator().manual_seed(seed))
    options = {"collate_fn": lambda found: found} if kind == "batches" else {}
    return DataLoader(windows, batch, sampler=sampler, num_workers=workers, **options)


def main():
    path, batch = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    print(json.dumps({name: version(name) for name in ("torch", "the_well", "h5py")}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "sum" in asked:
            row, start = asked["sum"]
            windows = Windows(path, asked["history"])
            number = row * windows.starts + start
            well = loader(path, "well", asked["history"], 0, 1, 1, 0).dataset[number]
            both = torch.cat([well["input_fields"], well["output_fields"]]).double().sum()
            print(json.dumps([float(windows[number].double().sum()), float(both)]), flush=True)
            continue
        loaded = loader(
            path, asked["loader"], asked["history"], asked["workers"], asked["samples"], batch, asked["seed"]
        )
        begin, seen = time.perf_counter(), 0
        for found in loaded:
            seen += len(found["input_fields"] if isinstance(found, dict) else found)
        assert seen == asked["samples"]
        print(json.dumps(time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
