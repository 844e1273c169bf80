"""The identity of the data of a training run."""

import zlib
from typing import Any

import numpy as np

from ...datasets.dataset import Dataset

_WHOLE = 2**31  # bytes: every value of a dataset up to this size enters its identity
_SAMPLES = 256  # number of samples of a larger dataset that enter its identity


def data_identity(data: Dataset | None, names: tuple[str, ...]) -> Any:
    """The identity of the named arrays of a dataset: their form and a checksum of their values, in order.

    All values of a dataset up to 2 GiB enter the checksum; of a larger one the values of 256 evenly spread samples.
    """
    if data is None:
        return None
    one = data.read(list(names), [0]) if len(data) else {}
    size = len(data) * sum(v.nbytes for v in one.values())
    chosen = np.arange(len(data)) if size <= _WHOLE else np.unique(np.linspace(0, len(data) - 1, _SAMPLES).astype(int))
    sums = dict.fromkeys(names, 0)
    block = max(1, 2**26 * len(data) // max(size, 1))
    for start in range(0, len(chosen), block):
        for name, values in data.read(list(names), chosen[start : start + block]).items():
            sums[name] = zlib.crc32(np.ascontiguousarray(values).tobytes(), sums[name])
    shapes = {name: [v.dtype.name, list(v.shape[1:])] for name, v in one.items()}
    return {"samples": len(data), "arrays": shapes, "checksums": sums}
