"""Fields on a coarser grid with the frequencies that it can hold.

A stride folds high frequencies onto low ones (aliasing); here they are removed. On a periodic axis u = Σ_k c_k exp(2πikx/L),
kept are |k| < m/2 and the cosine of k = m/2 of m points; on an axis of cells u = Σ_k a_k cos(πkx/L), kept are k < m, so that
sides without flux stay such.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.domains import AbstractDomain, Grid
from ..solvers.kernels.periodic_resampling import resampling_matrix
from .source import FieldSpec, Source


def restriction_matrix(n: int, m: int, layout: str) -> np.ndarray:
    """The matrix `(m, n)` that takes the values at n points of an axis to those at m ≤ n points, float64.

    **Raises:** `ValueError` for the layout "nodes", whose nested points are chosen by a stride.
    """
    if layout == "periodic":
        return resampling_matrix(n, m)
    if layout == "cells":
        k = np.arange(m)
        fine, coarse = (np.cos(np.pi * np.outer(np.arange(points) + 0.5, k) / points) for points in (n, m))
        return coarse @ (fine * np.where(k == 0, 1, 2) / n).T
    raise ValueError(
        "spectral restriction is for periodic axes and cells; subsample nodes by a stride: subsample(space=…)"
    )


@dataclass(frozen=True)
class SpectralSource:
    """The samples of a source on a coarser grid of the same box. Fields on the main grid are restricted, all else is unchanged.

    **Arguments:** `whole`, a source on a grid; `grid`, the coarser grid.
    """

    whole: Source
    grid: Grid

    @cached_property
    def _matrices(self) -> list[np.ndarray]:
        fine = self.whole.domains[""].as_grid("coarsen")
        return [
            restriction_matrix(n, m, lay) for n, m, lay in zip(fine.shape, self.grid.shape, fine.layouts, strict=True)
        ]

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        return self.whole.fields

    @property
    def domains(self) -> Mapping[str, AbstractDomain]:
        return {**self.whole.domains, "": self.grid}

    @property
    def times(self) -> np.ndarray | None:
        return self.whole.times

    @property
    def attributes(self) -> Mapping:
        return self.whole.attributes

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, name: str, indices: np.ndarray, window: tuple[slice, ...] = ()) -> np.ndarray:
        """See `Source.read`. The whole space is read, then restricted, then cut."""
        spec = self.whole.fields[name]
        if spec.role != "field" or spec.domain:
            return self.whole.read(name, indices, window)
        time, rest = window[: spec.time], window[spec.time :]
        values = self.whole.read(name, indices, time)
        for axis, matrix in enumerate(self._matrices, 1 + spec.time):
            values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
        values = values.astype(spec.dtype)
        return values[(slice(None), *[slice(None)] * spec.time, *rest)]
