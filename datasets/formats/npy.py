"""The array of a `.npy` file, which stays on disk. Nothing in the file is executed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class NpyArray:
    """The array of a `.npy` file, mapped into memory at every read."""

    path: Path

    @cached_property
    def _form(self) -> tuple[tuple[int, ...], np.dtype]:
        values = self._mapped()
        return values.shape, values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._form[0]

    @property
    def dtype(self) -> np.dtype:
        return self._form[1]

    def read(self, cuts: tuple[slice, ...]) -> np.ndarray:
        return np.array(self._mapped()[cuts])

    def _mapped(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


def is_npy(path: Path) -> bool:
    """Whether a file starts as a `.npy` file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
