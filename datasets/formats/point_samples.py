"""A dataset from meshes or clouds that are read at once, one per sample and of different size."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.domains import Mesh, PointCloud
from ...core.files import StorageError
from ..arrays import memory_source
from ..source import MemorySource


class PointSample(NamedTuple):
    """One sample: its points, the fields `(n,)` or `(n, component)`, and its numbers."""

    domain: Mesh | PointCloud
    fields: Mapping[str, np.ndarray]
    numbers: Mapping[str, float]


def source_of(path: Path, samples: list[PointSample], notes: list[str]) -> MemorySource:
    """The source of all samples, padded to the largest. Fields and numbers that not all samples have are left out and named in
    a note.

    **Raises:** `StorageError` for meshes beside clouds.
    """
    kinds: set[Any] = {type(sample.domain) for sample in samples}
    if len(kinds) > 1:
        raise StorageError(f"{path}: some of its samples have known cells and others none")
    points = kinds.pop().stack([sample.domain for sample in samples])
    shared = set.intersection(*(set(sample.fields) for sample in samples))
    numbers = set.intersection(*(set(sample.numbers) for sample in samples)) - shared
    left = set().union(*(set(s.fields) | set(s.numbers) for s in samples)) - shared - numbers
    notes = [*notes, *([f"not all samples have {', '.join(sorted(left))}"] if left else [])]
    n = max(sample.domain.shape[0] for sample in samples)
    fields = {name: np.stack([_padded(sample.fields[name], n) for sample in samples]) for name in sorted(shared)}
    parameters = {name: np.array([sample.numbers[name] for sample in samples]) for name in sorted(numbers)}
    source = memory_source({"inputs": fields, "parameters": parameters}, points=points)
    return replace(source, attributes={"file": path.name, "notes": notes})


def _padded(values: np.ndarray, n: int) -> np.ndarray:
    return np.pad(values, [(0, n - len(values)), *[(0, 0)] * (values.ndim - 1)])
