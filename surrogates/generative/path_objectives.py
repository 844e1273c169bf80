"""Objectives of `fit` for flows: straight paths, interpolants, piecewise straight windows, bridges."""

import abc
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ...core.arguments import checked, count, random_key, real_array
from ...core.arrays import AnyArray
from ...solvers.diffusion import AbstractSolver, GivenTimes, sample
from ...solvers.diffusion.interpolant import AbstractInterpolant, Linear
from ...solvers.diffusion.schedule import AbstractSchedule
from ..task.task import Fields
from ..training.objective import AbstractObjective, Outcome


class AbstractPathObjective(AbstractObjective):
    """The mean of a loss over samples that the objective holds; every step draws `batch` of them and what else is random.

    Validate by a function: `fit(…, val=measure)`.

    **Example:**

        >>> issubclass(sx.generative.FlowObjective, sx.generative.AbstractPathObjective)
        True
    """

    batch: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many samples there are."""

    @abc.abstractmethod
    def losses(self, model: Any, rows: Array, keys: Array) -> Float[Array, " batch"]:
        """The losses of the samples with these indices `(batch,)` and random keys `(batch,)`."""

    @property
    def calls(self) -> int:
        return 1

    def init(self, key: Array) -> None:
        return None

    def draw(self, state: None, batch: Fields | None, key: Array) -> PyTree:
        which, others = jax.random.split(key)
        rows = jax.random.randint(which, (self.batch,), 0, self.size)
        return rows, jax.random.split(others, self.batch)

    def value(self, model: Any, points: PyTree) -> tuple[Float[Array, ""], Outcome]:
        return self.losses(model, *points).mean(), Outcome()

    def update(self, state: None, points: PyTree, outcome: Outcome, key: Array) -> None:
        return None

    def validate(self, model: Any, batch: Fields):
        raise TypeError("flows are validated by a measure: fit(…, val=measure), a function of the model")


class FlowObjective(AbstractPathObjective):
    """Flow matching along x_t = (1 − t) x₀ + t ε: the mean of |v(x_t, t) − (ε − x₀)|², t uniform in (0, 1).

    Its minimum is the velocity that `FlowPrediction` samples. With pairs of `noise` and the samples that a first flow made of it,
    this is the reflow step of rectified flow (Liu et al. 2023), whose paths are straighter; `curvature` measures how much. A
    coupling that is learnt (Lee et al. 2023) enters the same way.

    **Arguments:**

    - `samples`: x₀ `(n, *shape)`, near unit variance.
    - `noise`: ε of every sample, `(n, *shape)`; None draws it anew in every step.
    - `batch`: samples per step.

    **Example:**

        >>> sx.generative.FlowObjective(np.zeros((20, 2)), batch=8).batch
        8
    """

    samples: Float[Array, "n *shape"]
    noise: Float[Array, "n *shape"] | None
    batch: int = eqx.field(static=True)

    @checked
    def __init__(self, samples: AnyArray, noise: AnyArray | None = None, batch: int = 256):
        self.samples = rows_of("FlowObjective", "samples", samples)
        self.noise = None if noise is None else rows_of("FlowObjective", "noise", noise, self.samples.shape)
        self.batch = count("FlowObjective", "batch", batch)

    @property
    def size(self) -> int:
        return len(self.samples)

    def losses(self, model, rows, keys):
        def one(row, key):
            at, normal = jax.random.split(key)
            x0 = self.samples[row]
            eps = jax.random.normal(normal, x0.shape, x0.dtype) if self.noise is None else self.noise[row]
            t = jax.random.uniform(at, (), x0.dtype)
            return jnp.mean((matched_velocity(model, (1 - t) * x0 + t * eps, t) - (eps - x0)) ** 2)

        return jax.vmap(one)(rows, keys)


class InterpolantObjective(AbstractPathObjective):
    """The velocity E[ẋ_t | x_t] of a stochastic interpolant, by the mean of |v|² − 2 v·ẋ_t per entry (Albergo et al. 2023).

    **Arguments:**

    - `starts`, `ends`: x₀ and x₁ `(n, *shape)`. They are paired as given; shuffle one of them for independent ends.
    - `interpolant`: `Linear()`, `Trigonometric()`.
    - `batch`: samples per step.

    **Example:**

        >>> sx.generative.InterpolantObjective(np.zeros((20, 2)), np.ones((20, 2)), batch=8).batch
        8
    """

    starts: Float[Array, "n *shape"]
    ends: Float[Array, "n *shape"]
    interpolant: AbstractInterpolant
    batch: int = eqx.field(static=True)

    @checked
    def __init__(
        self, starts: AnyArray, ends: AnyArray, interpolant: AbstractInterpolant | None = None, batch: int = 256
    ):
        self.starts = rows_of("InterpolantObjective", "starts", starts)
        self.ends = rows_of("InterpolantObjective", "ends", ends, self.starts.shape)
        self.interpolant = Linear() if interpolant is None else interpolant
        self.batch = count("InterpolantObjective", "batch", batch)

    @property
    def size(self) -> int:
        return len(self.starts)

    def losses(self, model, rows, keys):
        def one(row, key):
            at, normal = jax.random.split(key)
            x0, x1 = self.starts[row], self.ends[row]
            # Away from the ends, where ġ is infinite.
            t = jax.random.uniform(at, (), x0.dtype, 1e-4, 1 - 1e-4)
            x, target = self.interpolant.between(x0, x1, jax.random.normal(normal, x0.shape, x0.dtype), t)
            velocity = matched_velocity(model, x, t)
            return jnp.mean(velocity**2 - 2 * velocity * target)

        return jax.vmap(one)(rows, keys)


class WindowObjective(AbstractPathObjective):
    """Piecewise rectified flow (Yan et al. 2024, PeRFlow): in every window of time the velocity is that of the chord between the
    two ends of the teacher's path, |v(x_t, t) − (x_a − x_b)/(t_a − t_b)|² with x_t on the chord.

    A student then needs one Euler step per window: `sample(FlowPrediction(v, FlowMatching()), DDIM(), times=…)` at the edges.
    `windows` makes the pairs.

    **Arguments:**

    - `starts`, `ends`: x at the noisy and at the clean end of a window, `(n, *shape)`, and `times` `(n, 2)`, both times.
    - `batch`: pairs per step.

    **Example:**

        >>> starts, ends, times = jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.tile(jnp.array([1.0, 0.5]), (4, 1))
        >>> sx.generative.WindowObjective(starts, ends, times, batch=2).size
        4
    """

    starts: Float[Array, "n *shape"]
    ends: Float[Array, "n *shape"]
    times: Float[Array, "n 2"]
    batch: int = eqx.field(static=True)

    @checked
    def __init__(self, starts: AnyArray, ends: AnyArray, times: AnyArray, batch: int = 256):
        self.starts = rows_of("WindowObjective", "starts", starts)
        self.ends = rows_of("WindowObjective", "ends", ends, self.starts.shape)
        self.times = rows_of("WindowObjective", "times", times, (len(self.starts), 2))
        self.batch = count("WindowObjective", "batch", batch)

    @property
    def size(self) -> int:
        return len(self.starts)

    def losses(self, model, rows, keys):
        def one(row, key):
            a, b = self.times[row]
            share = jax.random.uniform(key, (), a.dtype)
            x = share * self.starts[row] + (1 - share) * self.ends[row]
            chord = (self.starts[row] - self.ends[row]) / (a - b)
            return jnp.mean((matched_velocity(model, x, share * a + (1 - share) * b) - chord) ** 2)

        return jax.vmap(one)(rows, keys)


@checked
def windows(
    denoiser: Any,
    solver: AbstractSolver,
    *,
    schedule: AbstractSchedule,
    edges: AnyArray | list | tuple,
    samples: AnyArray,
    evaluations: int = 8,
    key: Any,
) -> tuple[Float[Array, "m *shape"], Float[Array, "m *shape"], Float[Array, "m 2"]]:
    """The pairs of `WindowObjective` from a teacher: noised samples at the noisy end of every window and where the teacher's ODE
    brings them.

    **Arguments:** `denoiser`, `solver`, `schedule`: the teacher, as in `sample`. `edges`: the times between windows, noisy first.
    `samples`: x₀ `(n, *shape)`; each serves every window. `evaluations`: of the teacher in a window.
    """
    key = random_key("windows", key)
    samples, edges = (
        rows_of("windows", "samples", samples),
        np.asarray(real_array("windows", "edges", edges), np.float64),
    )
    count("windows", "evaluations", evaluations)
    if edges.ndim != 1 or len(edges) < 2:
        raise ValueError(f"windows(edges=…): expected two or more times, noisy first, got the shape {edges.shape}")
    starts, ends, times = [], [], []
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        noise = jax.random.normal(jax.random.fold_in(key, i), samples.shape)
        alpha = float(schedule.alpha(a))
        std = 1.0 if alpha == 0 else alpha * float(schedule.level(a))
        start = alpha * samples + std * noise
        clean = bool(schedule.level(np.float64(b)) == 0)
        at = np.linspace(a, b, evaluations + 1)
        grid = GivenTimes(evaluations, to_zero=clean, at=tuple(at[:-1] if clean else at))
        starts.append(start)
        ends.append(sample(denoiser, solver, schedule=schedule, times=grid, initial=start))
        times.append(jnp.broadcast_to(jnp.asarray([a, b], start.dtype), (len(samples), 2)))
    return jnp.concatenate(starts), jnp.concatenate(ends), jnp.concatenate(times)


class BridgeObjective(AbstractPathObjective):
    """E log c(x₀) − E log v(x₁) of a light Schrödinger bridge, over samples of both ends that need not be paired.

    **Arguments:** `starts` `(n, d)`, `ends` `(m, d)`; `batch`: samples of each per step.

    **Example:**

        >>> bridge = sx.generative.TrainableBridge(sx.diffusion.LightBridge(2, components=3, key=key))
        >>> objective = sx.generative.BridgeObjective(np.zeros((20, 2)), np.ones((20, 2)), batch=8)     # fit(bridge, objective=…)
        >>> objective.batch
        8
    """

    starts: Float[Array, "n d"]
    ends: Float[Array, "m d"]
    batch: int = eqx.field(static=True)

    @checked
    def __init__(self, starts: AnyArray, ends: AnyArray, batch: int = 256):
        self.starts = rows_of("BridgeObjective", "starts", starts)
        self.ends = rows_of("BridgeObjective", "ends", ends)
        if self.starts.ndim != 2 or self.starts.shape[1:] != self.ends.shape[1:]:
            raise ValueError(
                f"BridgeObjective: expected samples (n, d) and (m, d), got {self.starts.shape}, {self.ends.shape}"
            )
        self.batch = count("BridgeObjective", "batch", batch)

    @property
    def size(self) -> int:
        return len(self.starts)

    def losses(self, model, rows, keys):
        others = jax.vmap(lambda k: jax.random.randint(k, (), 0, len(self.ends)))(keys)
        bridge = model.bridge
        if self.starts.shape[1] != bridge.centres.shape[1]:
            raise ValueError(
                f"BridgeObjective: the samples have {self.starts.shape[1]} entries, the bridge {bridge.centres.shape[1]}"
            )
        return jax.vmap(lambda i, j: bridge.loss(self.starts[i][None], self.ends[j][None]))(rows, others)


def matched_velocity(model: Any, x: Array, t: Array) -> Array:
    """**Raises:** `ValueError` for a model whose velocity has another shape than x, which would broadcast."""
    found = model(x, t, None)
    if jnp.shape(found) != x.shape:
        raise ValueError(f"fit: the model has the shape {jnp.shape(found)} for a sample of shape {x.shape}")
    return found


def rows_of(call: str, name: str, values: AnyArray, shape: tuple[int, ...] | None = None) -> Array:
    found = jnp.asarray(real_array(call, name, values), float)
    if found.ndim < 2 or not len(found) or (shape is not None and found.shape != shape):
        raise ValueError(f"{call}({name}=…): expected {shape or 'samples (n, *shape)'}, got the shape {found.shape}")
    if not isinstance(found, Tracer) and not bool(jnp.isfinite(found).all()):
        raise ValueError(f"{call}({name}=…): not all values are finite")
    return found
