"""Statistics of a denoiser on data, from which DPM-Solver-v3 takes its optimal parametrisation."""

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, is_dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...core import storage
from ...core.arguments import checked, count, random_key, real_array
from ...core.arrays import AnyArray
from .schedule import AbstractSchedule

_FLAT = 1e-4
_QUADRATURE = np.polynomial.legendre.leggauss(20)


@dataclass(frozen=True, eq=False, repr=False)
class ModelStatistics:
    """l, s and b of DPM-Solver-v3 as functions of the log-SNR λ, per entry of a sample (Zheng et al. 2023).

    With f = (1 − l) y − D the ODE is dy/dλ = −l y − f. l makes f as flat as it can be, and s, b predict the rest, df/dλ ≈ s f
    + b:

        l = 1 − E[diag ∂D/∂y],   s = Cov(f, f′)/Var(f),   b = E[f′] − s E[f].

    `estimate` computes them once per network; samplers take them as `DPMSolverV3(statistics)`. `integral_l`, `integral_s` and
    `integral_b` are L = ∫ l, S = ∫ s and B = ∫ e^(−S) b from the first log-SNR on.

    `save` and `load` keep them with a hash of the schedule, which a network is trained for.

    **Fields:** `log_snrs` `(nodes,)`, rising; `l`, `s`, `b` `(nodes, *shape)`; `evaluations`, the network evaluations spent,
    each with one Jacobian product; `schedule`, the hash (`schedule_hash`), "" for statistics without.

    **Example:**

        >>> known = sx.diffusion.ModelStatistics(np.array([-2.0, 0, 2]), np.ones((3, 2)), np.zeros((3, 2)), np.zeros((3, 2)))
        >>> known.integral_l(2.0).round(6).tolist()                                         # of l = 1 from −2 on
        [4.0, 4.0]
    """

    log_snrs: np.ndarray
    l: np.ndarray  # noqa: E741
    s: np.ndarray
    b: np.ndarray
    evaluations: int = field(default=0)
    schedule: str = field(default="")
    integral_l: Callable = field(init=False, repr=False)
    integral_s: Callable = field(init=False, repr=False)
    integral_b: Callable = field(init=False, repr=False)

    def __post_init__(self):
        nodes = np.asarray(self.log_snrs)
        if nodes.ndim != 1 or len(nodes) < 3 or not (np.diff(nodes) > 0).all():
            raise ValueError("ModelStatistics(log_snrs=…): expected three or more rising numbers")
        for name in ("l", "s", "b"):
            values = np.asarray(vars(self)[name])
            if values.shape != (len(nodes), *np.shape(self.l)[1:]) or not np.isfinite(values).all():
                raise ValueError(
                    f"ModelStatistics({name}=…): expected finite values ({len(nodes)}, *shape), got {values.shape}"
                )
        for name in ("log_snrs", "l", "s", "b"):
            kept = np.array(vars(self)[name])
            kept.flags.writeable = False  # tables that were made of them are kept
            object.__setattr__(self, name, kept)
        from scipy import interpolate

        integral_l = interpolate.CubicSpline(nodes, self.l).antiderivative()
        integral_s = interpolate.CubicSpline(nodes, self.s).antiderivative()
        b = interpolate.CubicSpline(nodes, self.b)
        points, weights = _QUADRATURE
        pieces = []
        for low, high in itertools.pairwise(nodes):
            at = low + (high - low) * (points + 1) / 2
            pieces.append(np.tensordot(weights * (high - low) / 2, np.exp(-integral_s(at)) * b(at), 1))
        total = np.concatenate([np.zeros((1, *np.shape(self.l)[1:])), np.cumsum(pieces, 0)])
        object.__setattr__(self, "integral_l", integral_l)
        object.__setattr__(self, "integral_s", integral_s)
        b_line = interpolate.CubicHermiteSpline(nodes, total, np.exp(-integral_s(nodes)) * self.b)
        object.__setattr__(self, "integral_b", b_line)

    def __repr__(self) -> str:
        low, high = self.log_snrs[[0, -1]]
        return (
            f"ModelStatistics({len(self.log_snrs)} log-SNRs from {low:.3g} to {high:.3g}, shape {np.shape(self.l)[1:]})"
        )

    @classmethod
    @checked
    def estimate(
        cls,
        denoise: Callable,
        data: AnyArray,
        schedule: AbstractSchedule,
        *,
        key: Any,
        nodes: int = 60,
        condition: Any = None,
        average: tuple[int, ...] = (),
        groups: AnyArray | None = None,
    ) -> "ModelStatistics":
        """From samples x₀ `(n, *shape)` of the data, at `nodes` log-SNRs between the start and the end of the schedule.

        The points y = x₀ + s ε have the same x₀ and ε at every λ, so that the statistics are smooth in λ; with noise of its
        own at every λ, errors of the solver have a floor near 1e-3.

        **Arguments:**

        - `denoise`: `denoise(x, sigma, condition)` of one sample.
        - `average`: axes of a sample over which to average, as the space axes of a field: (0, 1) for `(x, y, c)`. The
          statistics are then one per channel and fit any resolution.
        - `groups`: whole numbers `(*shape)`; statistics are averaged over all entries with the same number. In the spectrum of a
          field (`InSpectrum`, whose entries are wavenumbers) `wavenumber_shells` gives one per length of the wavenumber.

        **Raises:** `ValueError` for `average` together with `groups`, and if the schedule starts or ends at infinite log-SNR,
        or the statistics are not finite.
        """
        data = jnp.asarray(real_array("ModelStatistics.estimate", "data", data), float)
        if data.ndim < 1 or len(data) < 2:
            raise ValueError(f"ModelStatistics.estimate: expected two or more samples (n, *shape), got {data.shape}")
        key = random_key("ModelStatistics.estimate", key)
        ends = schedule.log_snr(np.array([schedule.start, schedule.end]))
        if not np.isfinite(ends).all():
            raise ValueError(
                f"ModelStatistics.estimate: {type(schedule).__name__} has infinite log-SNR at its ends; give it "
                "start=0.999, end=0.001"
            )
        grid = np.linspace(ends[0], ends[1], count("ModelStatistics.estimate", "nodes", nodes, 3))
        diagonals = _over_nodes(_diagonal, denoise, data, key, condition, jnp.asarray(grid), None)
        axes = tuple(range(1, data.ndim))
        chosen = _Averaging(tuple(axes[a] for a in average), _labels(groups, data.shape[1:], average))
        share = chosen(diagonals)  # 1 − l, small where noise is large
        from scipy import interpolate

        slope = interpolate.CubicSpline(grid, share).derivative()(grid)
        rest = (jnp.asarray(grid), (jnp.asarray(share, data.dtype), jnp.asarray(slope, data.dtype)))
        moments = [chosen(m) for m in _over_nodes(_slopes, denoise, data, key, condition, *rest)]
        f, df, ff, fdf, dd = moments
        # Where f hardly varies beside D (not at all for Gaussian data), s is 0/0 and does not matter.
        s = (fdf - f * df) / np.maximum(ff - f * f + _FLAT**2 * dd, 1e-30)
        return cls(grid, 1 - share, s, df - s * f, 2 * nodes * len(data), schedule_hash(schedule))

    def save(self, path: str | os.PathLike) -> None:
        """Write them to a file that `ModelStatistics.load` reads."""
        names = ("log_snrs", "l", "s", "b", "evaluations", "schedule")
        storage.save(path, {"model statistics": {name: vars(self)[name] for name in names}})

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike, schedule: AbstractSchedule) -> "ModelStatistics":
        """Read a file of `save`. **Raises:** `StorageError` for another file; `ValueError` for statistics of another schedule."""
        match storage.load(path):
            case {"model statistics": dict(values)}:
                found = cls(**values)
            case _:
                raise storage.StorageError(f"{path}: holds no statistics of DPM-Solver-v3")
        if found.schedule != schedule_hash(schedule):
            raise ValueError(
                f"{path}: these statistics were estimated for another schedule than {schedule!r}; estimate them again, or give "
                "the schedule that they were made with"
            )
        return found


def schedule_hash(schedule: AbstractSchedule) -> str:
    """SHA-256 of the name and the numbers of a schedule.

    **Example:**

        >>> sx.diffusion.schedule_hash(sx.diffusion.EDM()) == sx.diffusion.schedule_hash(sx.diffusion.EDM())
        True
    """
    if not is_dataclass(schedule):
        raise TypeError(f"schedule_hash: {type(schedule).__name__} is no dataclass")
    return hashlib.sha256(repr((type(schedule).__name__, astuple(schedule))).encode()).hexdigest()


def wavenumber_shells(shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Whole numbers `(*shape)`: |k| rounded, k the wavenumber of an entry of the spectrum along `axes`; other axes are apart.

    **Example:**

        >>> sx.diffusion.wavenumber_shells((8,), (0,)).shape
        (8,)
    """
    if any(not -len(shape) <= axis < len(shape) for axis in axes):
        raise ValueError(f"wavenumber_shells(axes={axes}): the shape {shape} has {len(shape)} axes")
    axes, squares = tuple(axis % len(shape) for axis in axes), np.zeros(shape)
    for axis in axes:
        k = np.fft.fftfreq(shape[axis], 1 / shape[axis])
        squares = squares + (k**2).reshape(-1, *(1,) * (len(shape) - 1 - axis))
    shells = np.rint(np.sqrt(squares)).astype(int)
    for axis in set(range(len(shape))) - set(axes):
        apart = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - 1 - axis))
        shells = shells * shape[axis] + apart
    return shells


class _Averaging(NamedTuple):
    """Means over axes, or over entries with the same label."""

    axes: tuple[int, ...]
    labels: np.ndarray | None

    def __call__(self, values: Any) -> np.ndarray:
        values = np.asarray(values, np.float64)
        if self.labels is None:
            return values.mean(self.axes, keepdims=True) if self.axes else values
        flat, labels = values.reshape(len(values), -1), self.labels.ravel()
        sums = np.stack([np.bincount(labels, row) for row in flat]) / np.maximum(np.bincount(labels), 1)
        return sums[:, labels].reshape(values.shape)


def _labels(groups: Any, shape: tuple[int, ...], average: tuple[int, ...]) -> np.ndarray | None:
    if groups is None:
        return None
    if average:
        raise ValueError("ModelStatistics.estimate: average=… and groups=… are two ways to average; give one")
    groups = np.asarray(groups)
    if groups.shape != shape or not np.issubdtype(groups.dtype, np.integer) or groups.min() < 0:
        raise ValueError(
            f"ModelStatistics.estimate(groups=…): expected whole numbers of the shape {shape} of a sample, got {groups.dtype} "
            f"{groups.shape}"
        )
    return groups


@eqx.filter_jit
def _over_nodes(statistic, denoise, data, key, condition, log_snrs, extra):
    """`statistic` at every node, node by node."""
    keys = jax.random.split(key, len(data))

    def at(row):
        log_snr, more = row
        return statistic(denoise, data, keys, condition, log_snr, more)

    return jax.lax.map(at, (log_snrs, extra))


def _noisy(x0, key, log_snr):
    noise, signs = jax.random.split(key)
    y = x0 + jnp.exp(-log_snr) * jax.random.normal(noise, x0.shape, x0.dtype)
    return y, jax.random.rademacher(signs, x0.shape, x0.dtype)


def _diagonal(denoise, data, keys, condition, log_snr, more):
    """E[diag ∂D/∂y] by Hutchinson's estimate, one random sign vector per sample."""

    def one(x0, key):
        y, v = _noisy(x0, key, log_snr)
        return v * jax.jvp(lambda y: denoise(y, jnp.exp(-log_snr), condition), (y,), (v,))[1]

    return jax.vmap(one)(data, keys).mean(0)


def _slopes(denoise, data, keys, condition, log_snr, more):
    """E f, E f′, E f², E f f′, E D² along the ODE, f′ = (1 − l)(D − y) − l′ y − dD/dλ."""
    share, slope = more

    def one(x0, key):
        y, _ = _noisy(x0, key, log_snr)

        def along(y, log_snr):
            return denoise(y, jnp.exp(-log_snr), condition)

        flow = along(y, log_snr) - y
        denoised, change = jax.jvp(along, (y, log_snr), (flow, jnp.ones_like(log_snr)))
        return share * y - denoised, share * flow + slope * y - change, denoised

    f, df, denoised = jax.vmap(one)(data, keys)
    return f.mean(0), df.mean(0), (f * f).mean(0), (f * df).mean(0), (denoised * denoised).mean(0)
