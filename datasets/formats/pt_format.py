"""PyTorch's `.pt` archives, such as neuraloperator's data, as a format of `surrogax.open`."""

import zipfile
from pathlib import Path
from typing import Any

from ..source import Source
from .pt import open_pt
from .registry import AbstractFormat


class PtFormat(AbstractFormat):
    """A zip archive written by `torch.save`. The options of `surrogax.open` are those of `open_pt`."""

    name = "PyTorch's .pt archives"

    def recognises(self, path: Path) -> bool:
        try:
            if not (path.is_file() and zipfile.is_zipfile(path)):
                return False
            with zipfile.ZipFile(path) as archive:
                return any(name.rsplit("/", 1)[-1] == "data.pkl" for name in archive.namelist())
        except Exception:  # a damaged archive
            return False

    def read(self, path: Path, **options: Any) -> dict[str, Source]:
        return {"": open_pt(path, **options)}
