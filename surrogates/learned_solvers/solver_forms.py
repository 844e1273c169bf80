"""What a learned sampler may change: the table as a whole, or the restrictions of it that papers have proposed.

A sampler is written in steps. With the points v_j in the frame v = y/√(1 + s²) and the evaluations D_j,

    v_{i+1} = Σ_{j≤i} X_ij v_j + Σ_{j≤i} W_ij D_j,

X and W lower triangular. A form makes them from its weights, a row of numbers per step, and from the noise levels; at weights
of zero it is a method of theory. With ε_j = (y_j − D_j)/s_j and the noise level t after a step from s, DDIM is
y′ = D + (t/s)(y − D).
"""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ...core.arguments import check_fields, count
from ...core.storage import register


class Levels(NamedTuple):
    """Noise levels by their parts k = 1/√(1 + s²) of y and s k of noise in v.

    **Fields:** `scale`, `share`: of the points before each step; `next_scale`, `next_share`: after it; `network_scale`,
    `network_share`: at which the network is evaluated. All `(steps,)`.
    """

    scale: Any
    share: Any
    next_scale: Any
    next_share: Any
    network_scale: Any
    network_share: Any

    @classmethod
    def of(cls, levels: Any, network: Any, xp: Any) -> "Levels":
        """From the levels `(steps + 1,)` of the points and those of the network `(steps,)`."""
        scale, network_scale = 1 / xp.sqrt(1 + levels**2), 1 / xp.sqrt(1 + network**2)
        share = levels * scale
        return cls(scale[:-1], share[:-1], scale[1:], share[1:], network_scale, network * network_scale)

    @property
    def data_gain(self) -> Any:
        """√(1 + t²)⁻¹ (1 − t/s), the weight of D in DDIM."""
        return self.next_scale - self.scale * self.next_share / self.share

    @property
    def noise_gain(self) -> Any:
        """√(1 + t²)⁻¹ (t − s), the weight of ε in DDIM."""
        return self.next_share - self.share * self.next_scale / self.scale


class AbstractForm(abc.ABC):
    """Which samplers a learned solver can become. Derive from it as a frozen dataclass, registered for saving.

    **Class variables:** `trains_levels`: whether the noise levels of the points between start and end are trained.
    `trains_network_levels`: whether the network may be evaluated at other levels than those of the points.

    **Example:**

        >>> isinstance(sx.learned_solvers.DODE(), sx.learned_solvers.AbstractForm)
        True
    """

    trains_levels: ClassVar[bool]
    trains_network_levels: ClassVar[bool]

    @abc.abstractmethod
    def columns(self, steps: int) -> int:
        """Number of weights per step."""

    @abc.abstractmethod
    def points(self, weights: Any, levels: Any, network_levels: Any, xp: Any) -> Any:
        """The triangular matrix of the points `(steps + 1, steps + 1)`; see `solvers.diffusion.unrolled`.

        **Arguments:** `weights` `(steps, columns)`; the noise levels of the points `(steps + 1,)` and of the network
        `(steps,)`; `xp`: `numpy` or `jax.numpy`.
        """


class AbstractRows(AbstractForm):
    """A form whose X and W are affine in its weights, so that least squares find them."""

    def points(self, weights, levels, network_levels, xp):
        """The solution of v_{i+1} − Σ_j X_ij v_j = Σ_j W_ij D_j."""
        x, w = self.rows(weights, Levels.of(levels, network_levels, xp), xp)
        n = len(weights)
        pad = np.eye(n + 1, n, k=-1)  # row i of X and W belongs to point i + 1
        left = np.eye(n + 1) - pad @ x @ np.eye(n, n + 1)
        right = np.diag(np.eye(n + 1)[0]) + pad @ w @ np.eye(n, n + 1, k=1)
        return xp.tril(xp.linalg.solve(left, right))

    @abc.abstractmethod
    def rows(self, weights: Any, levels: Levels, xp: Any) -> tuple[Any, Any]:
        """X and W `(steps, steps)`, affine in the weights `(steps, columns)`, row by row. `xp`: `numpy` or `jax.numpy`."""


@register("FreeTable")
@dataclass(frozen=True)
class FreeTable(AbstractRows):
    """All of the table: free weights, free noise levels, network times of their own.

    v′ = iPNDM-3 at the current levels + g Σ_j θ_ij (D_j − D_i) + g θ_ii D_i + a_i s_t/√(1 + s_t²) ε_i, with g the weight of D in
    DDIM. This contains DyWeight (2603.11607: free weights of ε, network times) and the Generalized Solver (theory with additive
    corrections for earlier states and velocities): earlier states are linear combinations of the present one and of earlier D.

    **Arguments:** `window`: how many evaluations a step sees; None: all, 4 and more are alike.

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,), form=sx.learned_solvers.FreeTable(window=2))
        >>> fast.steps
        4
    """

    trains_levels: ClassVar[bool] = True
    trains_network_levels: ClassVar[bool] = True
    window: int | None = None

    def __post_init__(self):
        check_fields(self)
        if self.window is not None:
            count("FreeTable", "window", self.window)

    def columns(self, steps):
        return steps + 1

    def rows(self, weights, levels, xp):
        steps = len(weights)
        theory = levels.noise_gain[:, None] * equal_step_weights(steps, 3)
        x, w = _in_noise(theory, levels)
        x = x + _diagonal(levels.next_scale / levels.scale)
        free = weights[:, 1:] * _band(steps, self.window)
        older = free * (1 - np.eye(steps))
        w = w + levels.data_gain[:, None] * (free - _diagonal(older.sum(1)))
        along = weights[:, 0] * levels.next_share
        return (
            x + _diagonal(along / levels.share),
            w - _diagonal(along * levels.scale / levels.share),
        )


@register("DODE")
@dataclass(frozen=True)
class DODE(AbstractRows):
    """D-ODE solvers (Kim et al., CVPR 2024): DDIM, then y += λ_i (D_i − D_{i−1}), a number per step.

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,), form=sx.learned_solvers.DODE())
        >>> fast.steps
        4
    """

    trains_levels: ClassVar[bool] = False
    trains_network_levels: ClassVar[bool] = False

    def columns(self, steps):
        return 1

    def rows(self, weights, levels, xp):
        change = (levels.next_scale * weights[:, 0])[:, None] * _difference(len(weights))
        return _diagonal(levels.next_share / levels.share), _diagonal(levels.data_gain) + change


@register("IIA")
@dataclass(frozen=True)
class IIA(AbstractRows):
    """Improved integration approximation (Zhang et al., ICLR 2024) of DDIM: y += β_i (ε_i − ε_{i−1}).

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,), form=sx.learned_solvers.IIA())
        >>> fast.steps
        4
    """

    trains_levels: ClassVar[bool] = False
    trains_network_levels: ClassVar[bool] = False

    def columns(self, steps):
        return 1

    def rows(self, weights, levels, xp):
        x, w = _in_noise((levels.next_scale * weights[:, 0])[:, None] * _difference(len(weights)), levels)
        return x + _diagonal(levels.next_share / levels.share), w + _diagonal(levels.data_gain)


@register("SolverSearch")
@dataclass(frozen=True)
class SolverSearch(AbstractRows):
    """Differentiable solver search (Wang et al. 2025): free times, and combinations Σ_j c_ij of earlier predictions with
    Σ_j c_ij = 1. The weights are the c_ij, j < i; zero is the Euler method.

    **Arguments:** `prediction`: "data" combines D, y′ = (t/s) y + (1 − t/s) Σ_j c_ij D_j; "velocity" combines u = ε − x₀ of
      straight paths x = (1 − τ) x₀ + τ ε, x′ = x + (τ′ − τ) Σ_j c_ij u_j.

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,), form=sx.learned_solvers.SolverSearch())
        >>> fast.steps
        4
    """

    trains_levels: ClassVar[bool] = True
    trains_network_levels: ClassVar[bool] = False
    prediction: Literal["data", "velocity"] = "data"

    def __post_init__(self):
        check_fields(self)

    def columns(self, steps):
        return steps

    def rows(self, weights, levels, xp):
        older = weights * np.tri(len(weights), k=-1)
        c = older + _diagonal(1 - older.sum(1))
        if self.prediction == "data":
            return _diagonal(levels.next_share / levels.share), levels.data_gain[:, None] * c
        # x = y/(1 + s), τ = s/(1 + s): √(1 + s²) (scale + share) = 1 + s.
        before, after = levels.scale + levels.share, levels.next_scale + levels.next_share
        move = after * (levels.next_share / after - levels.share / before)
        x, w = _in_noise(move[:, None] * c, levels)
        return x + _diagonal(after / before), w - move[:, None] * c


@register("TimeAlignment")
@dataclass(frozen=True)
class TimeAlignment(AbstractRows):
    """Timestep alignment (Xia et al. 2024): DDIM in the noise prediction, y′ = y + (t − s) ε, whose network is told another
    time than that of its point.

    **Example:**

        >>> fast = sx.LearnedSolver(denoise, sx.diffusion.EDM(), 4, shape=(4,), form=sx.learned_solvers.TimeAlignment())
        >>> fast.steps
        4
    """

    trains_levels: ClassVar[bool] = False
    trains_network_levels: ClassVar[bool] = True

    def columns(self, steps):
        return 0

    def rows(self, weights, levels, xp):
        x, w = _in_noise(_diagonal(levels.noise_gain), levels)
        return x + _diagonal(levels.next_scale / levels.scale), w


def equal_step_weights(steps: int, order: int) -> np.ndarray:
    """Adams-Bashforth weights of equal steps `(steps, steps)`, of lower order in the first steps."""
    bashforth = {1: (1,), 2: (3, -1), 3: (23, -16, 5)}
    b = np.zeros((steps, steps))
    for i, row in enumerate(b):
        newest_first = np.array(bashforth[min(order, i + 1)])
        row[i - len(newest_first) + 1 : i + 1] = newest_first[::-1] / newest_first.sum()
    return b


def _in_noise(b: Any, levels: Levels) -> tuple[Any, Any]:
    """X and W of Σ_j b_ij ε_j, ε_j = (v_j − k D_j)/(s k) at the level of the network."""
    return b / levels.network_share, -b * (levels.network_scale / levels.network_share)


def _diagonal(values: Any) -> Any:
    return values[:, None] * np.eye(len(values))


def _difference(steps: int) -> np.ndarray:
    """Rows that take the difference of the newest entry and the one before; none in the first step."""
    newest = np.eye(steps)
    newest[0, 0] = 0
    return newest - np.eye(steps, k=-1)


def _band(steps: int, window: int | None) -> np.ndarray:
    lower = np.tri(steps)
    return lower if window is None else lower - np.tri(steps, k=-window)
