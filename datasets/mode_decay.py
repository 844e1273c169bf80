"""The lowest modes of a field over time: how fast they travel and decay.

A travelling wave u(x − c t) has the periodic amplitudes A_k(t) = A_k(0) exp(−i k c t); diffusion u_t = D Δu has A(t) = A(0)
exp(−D |k|² t) for the eigenfunctions of its boundary conditions. Both are measured from straight lines through the phase and
the logarithm of two modes; a field that obeys neither equation shows it by lines that are not straight or by modes that
contradict each other.
"""

from typing import NamedTuple

import numpy as np

from ..core.domains import Grid

_LEAST = 1e-4  # amplitude of a mode beside the field's root mean square, below which its phase is noise
_SPAN = 1e-3  # the logarithm of an amplitude is followed down to this fraction of its start


class Line(NamedTuple):
    """A straight line through values over time: its slope, and the largest distance of a value from it."""

    slope: float
    deviation: float


def amplitudes(values: np.ndarray, grid: Grid, order: int) -> tuple[np.ndarray, float]:
    """Complex amplitudes `(time,)` of one mode of a field `(time, *space)` and its |k|².

    The mode has `order` waves along the first axis; along the others it is the lowest one that the boundary condition admits: a
    constant on periodic and Neumann axes, half a sine on Dirichlet axes.
    """
    found = np.asarray(values, np.complex128)
    square = 0.0
    for axis in reversed(range(grid.ndim)):
        side, x = grid.box.axes[axis], grid.coordinates[axis] - grid.box.axes[axis].start
        waves = order if axis == 0 else 1 if side.boundary == "dirichlet" else 0
        k = (2 if side.boundary == "periodic" else 1) * np.pi * waves / side.length
        shape = {"periodic": np.exp(-1j * k * x), "dirichlet": np.sin(k * x)}.get(side.boundary or "", np.cos(k * x))
        found, square = found @ shape / len(x), square + k**2
    return found, square


def travel(values: np.ndarray, times: np.ndarray, grid: Grid, order: int) -> Line | None:
    """The speed of one mode of a field `(time, x)` on a periodic axis, from its phase; None if the mode is too weak.

    Between frames the phase may turn by any number of whole turns, so that the speed is known up to multiples of L/(order·dt).
    """
    found, square = amplitudes(values, grid, order)
    rms = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
    if not np.abs(found).min() > _LEAST * rms:
        return None
    line = _line(times, np.unwrap(np.angle(found)))
    return Line(-line.slope / np.sqrt(square), line.deviation)


def decay(values: np.ndarray, times: np.ndarray, grid: Grid, order: int) -> Line | None:
    """The diffusivity by which one mode of a field `(time, *space)` decays; None if the mode is too weak or hardly changes."""
    found, square = amplitudes(values, grid, order)
    size = np.abs(found)
    rms = float(np.sqrt(np.mean(np.square(values[0], dtype=np.float64))))
    kept = size > _SPAN * size[0]
    count = len(size) if kept.all() else int(np.argmin(kept))
    if not size[0] > _LEAST * rms or count < 3:
        return None
    line = _line(times[:count], np.log(size[:count]))
    return Line(-line.slope / square, line.deviation)


def _line(times: np.ndarray, values: np.ndarray) -> Line:
    t = np.asarray(times, np.float64) - times[0]
    slope, start = np.polyfit(t, values, 1)
    return Line(float(slope), float(np.abs(values - start - slope * t).max()))
