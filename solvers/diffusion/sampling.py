"""`sample`: draw from a denoiser with any solver, schedule and time grid, as one compiled scan over a coefficient table."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key, real_array
from ...core.arrays import AnyArray
from . import constrained_sampling
from .constraint import Constrained, Constraint
from .denoiser import FunctionDenoiser, Level, Preconditioned, as_denoiser, timed_by
from .flow_map import FlowMap
from .guidance import Guided
from .mean_reverting import Centred, MeanReverting
from .multistep import DDIM
from .planning import SLACK, plan
from .schedule import AbstractSchedule
from .solver import AbstractFixedSolver, AbstractSolver
from .student_noise import StudentNoise
from .table import Table
from .table_scan import Run, draw_noise, integrate, rows_of
from .teleportation import Gaussian
from .times import AbstractGrid


class Trajectory(NamedTuple):
    """Samples with all that was computed on the way, in the normalised frame y = x/α.

    **Fields:** `samples` `(n, *shape)`; `levels` `(evaluations,)`, the noise levels; `points` and `denoised`
    `(n, evaluations, *shape)`, where the network was evaluated and D there; with a centre they are those of x − μ.

    **Example:**

        >>> levels = np.array([3.0, 1.0, 0.5])
        >>> found = sx.diffusion.Trajectory(jnp.ones((1, 2)), levels, jnp.ones((1, 3, 2)), jnp.ones((1, 3, 2)))
        >>> found.points.shape
        (1, 3, 2)
    """

    samples: Float[Array, "n *shape"]
    levels: np.ndarray
    points: Float[Array, "n evaluations *shape"]
    denoised: Float[Array, "n evaluations *shape"]


@checked
def sample(
    denoiser: Any,
    solver: AbstractSolver | AbstractFixedSolver | Literal["auto"],
    *,
    schedule: AbstractSchedule,
    times: int | AbstractGrid | AnyArray | list | tuple,
    shape: tuple[int, ...] | None = None,
    n: int | None = None,
    key: Any = None,
    initial: AnyArray | None = None,
    condition: Any = None,
    noise: Callable | None = None,
    teleport: Gaussian | None = None,
    centre: AnyArray | None = None,
    constraint: Constraint | None = None,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    trajectory: bool = False,
) -> Float[Array, "n *shape"] | Trajectory:
    """Samples `(n, *shape)` from p(x₀), by the ODE dy/dλ = D(y, s) − y or the SDE of the same marginals.

    The state starts as noise at the first time and moves to the last by the weights that `solver` computes on the host in
    float64; one compiled scan runs them. Its programs are shared by all solvers with the same memory. It is differentiable in
    reverse mode by the parameters of the denoiser, the condition and the initial state, and works under `jit` and `vmap`.

    Noise of sample i depends on `fold_in(key, i)` alone, so that samples do not change with n.

    **Arguments:**

    - `denoiser`: `denoise(x, sigma, condition)`, a function of ONE sample x = x₀ + sigma ε `(*shape)` that returns E[x₀ | x]; an
      `equinox.Module` if it has parameters. Or a network that predicts noise, velocity, … (`NoisePrediction`).
    - `solver`: "auto" (see `plan`; samples of two axes or more are fields), `UniPC(3)`, `DPMSolverPP(2)`, `IPNDM()`,
      `Heun(churn=…)`, …; or a trained `LearnedSolver`.
    - `schedule`, `times`: as in `plan`; 10 to 20 evaluations suffice for most uses.
    - `shape`, `n`, `key`: of the samples. Or
    - `initial`: the states `(n, *shape)` at the first time, in the units of the schedule, α x₀ + σ ε.
    - `condition`: handed to the denoiser, the same for all samples. Map `sample` over conditions for others.
    - `noise`: `noise(key, shape)` draws the noise ε; white by default. With coloured noise of covariance C the denoiser must
      be that of x₀ + s C^½ ε: the solvers stay as they are, for all modes share the ratios of levels.
    - `teleport`: a `Gaussian` over which to jump from the start of the schedule to the first of `times`.
    - `centre`: μ `(*shape)`, to which the noisy end reverts (`MeanReverting`): x_t = μ + α (x₀ − μ) + σ ε.
    - `constraint`: equations that every sample meets exactly, such as `Constraint(Mass(1.0, weights))`; the last time must have
      no noise. With a guided denoiser the samples are those of the posterior that meet them.
    - `mesh`: devices over which the samples are divided, along all of its axes; n must be a multiple of their number.
    - `dtype`: of the state, float32 (float64 while x64 is on). A network in bfloat16 keeps its own.
    - `trajectory`: return a `Trajectory` with every evaluation.

    **Returns:** x₀ where the last time has no noise, else the state α x₀ + σ ε there.

    **Raises:** `ValueError` as `plan`, and for shapes that do not fit; `FloatingPointError` if the denoiser returns values
    that are not finite, or if a constraint cannot be met (inside of `jit` these samples are NaN).

    **Example:**

        >>> x = sx.diffusion.sample(denoise, "auto", schedule=sx.diffusion.EDM(), times=10, shape=(8, 8), n=64, key=key)
        >>> x.shape, bool(abs(x.std() - 2) < 0.1)
        ((64, 8, 8), True)
    """
    solver = constrained_sampling.constrained_solver(solver, constraint)
    field = solver == "auto" and _is_field(np.shape(cast(Any, initial))[1:] if shape is None else shape, noise)
    table = plan(solver, schedule=schedule, times=times, field=field)
    denoiser = as_denoiser(denoiser)
    if dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise ValueError("sample(dtype='float64'): enable it with jax.config.update('jax_enable_x64', True)")
    precision = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if isinstance(noise, StudentNoise) and table.stochastic:
        raise ValueError("sample(noise=StudentNoise(…)): this process has no solver that adds noise; use one of an ODE")
    if isinstance(denoiser, FlowMap) and (not isinstance(solver, DDIM) or table.stochastic or centre is not None):
        raise ValueError("sample: a FlowMap jumps from time to time by itself; use it with DDIM() and without a centre")
    if isinstance(noise, StudentNoise) and teleport is not None:
        raise ValueError(
            "sample(teleport=…): the jump is that of Gaussian noise, not of StudentNoise; leave one of them out"
        )
    if noise is not None and initial is not None and not table.stochastic:
        raise ValueError("sample(noise=…): with initial=… and a solver of the ODE no noise is drawn; leave it out")
    if isinstance(schedule, MeanReverting) and centre is None:
        raise ValueError("sample: MeanReverting reverts to a mean; give it as centre=μ, centre=0.0 for a mean of zero")
    if centre is not None:
        centre = jnp.asarray(real_array("sample", "centre", centre), precision)
        denoiser = Centred(denoiser, centre)
        if initial is not None:
            initial = jnp.asarray(real_array("sample", "initial", initial), precision)
            _check_centre(centre, initial.shape[1:])
            initial = initial - centre
        if teleport is not None:
            _check_centre(centre, teleport.mean.shape)
            teleport = eqx.tree_at(lambda g: g.mean, teleport, teleport.mean - centre)
    states, keys = _start(table, schedule, shape, n, key, initial, noise, teleport, precision)
    if centre is not None:
        _check_centre(centre, states.shape[1:])
    if mesh is not None:
        states, keys = _divided(mesh, states, keys)
    if not np.isfinite(table.levels[0]) and isinstance(denoiser, FunctionDenoiser | Preconditioned | Centred):
        raise ValueError(
            f"{type(schedule).__name__} starts at infinite noise, where denoise(x, sigma, condition) has no meaning: start "
            "later, for example with UniformTime(…, start=0.999), or wrap the network, for example in FlowPrediction"
        )
    if not np.isfinite(table.levels[0]) and isinstance(denoiser, Guided):
        raise ValueError(
            f"{type(schedule).__name__} starts at infinite noise, where nothing is to be guided: start later, for example with "
            "UniformTime(…, start=0.999)"
        )
    if constraint is not None:
        denoiser = constrained_sampling.constrained(denoiser, constraint, table, noise, centre)
    own, one = table.advance.shape[2:], states.shape[1:]
    if len(own) > len(one) or any(a not in (1, b) for a, b in zip(own[::-1], one[::-1], strict=False)):
        raise ValueError(f"sample: the solver has weights of shape {own}, samples have {one}")
    if table.stochastic and keys is None:
        raise ValueError("sample: this solver draws noise, which needs key=…")
    known_times = timed_by(denoiser, schedule)
    if known_times is not schedule and known_times != schedule:
        _check_known(known_times, table)
    level = Level.of(table.levels, known_times)
    inner = denoiser.denoiser if isinstance(denoiser, Constrained) else denoiser
    relaxes = isinstance(denoiser, Constrained) and denoiser.constraint.relax > 0
    if isinstance(inner, FlowMap) or relaxes:
        with np.errstate(divide="ignore"):
            level = level._replace(target=Level.of(np.append(table.levels[1:], table.end), known_times))
    rows, outer = rows_of(table, level, table.memory > 0 or table.record is not None or relaxes, precision)
    size = (
        float(np.sqrt(1 + table.end**2) * schedule.alpha(schedule.time(-np.log(table.end)))) if table.end > 0 else 1.0
    )
    run = Run(table.corrects, table.stochastic, noise)
    arguments = run, denoiser, rows, outer, np.asarray(size, precision), states, keys, condition
    samples, on_the_way, finite = integrate(*arguments, trajectory)
    if not isinstance(finite, Tracer) and not bool(finite):
        if not np.isfinite(states).all():
            raise FloatingPointError(
                "sample: the states at the first time (initial=…, noise=…, teleport=…) are not finite"
            )
        _explain(table, level, denoiser, condition, on_the_way or integrate(*arguments, True)[1])
    samples = samples if centre is None else samples + centre
    if constraint is not None:
        samples = constrained_sampling.met(constraint, samples)
    if not trajectory:
        return samples
    points, denoised = on_the_way
    return Trajectory(
        samples, table.levels, points / level.scale.astype(precision).reshape(-1, *(1,) * (points.ndim - 2)), denoised
    )


def _is_field(shape: tuple[int, ...], noise: Callable | None) -> bool:
    """Whether the modes of samples come out of the noise one after the other: fields under white noise."""
    return len(shape) > 1 and (noise is None or isinstance(noise, StudentNoise))


def _check_centre(centre: Array, shape: tuple[int, ...]) -> None:
    if centre.shape not in ((), shape):
        raise ValueError(f"sample(centre=…) has the shape {centre.shape}, samples have {shape}")


def _check_known(schedule: AbstractSchedule, table: Table) -> None:
    """**Raises:** `ValueError` for evaluations at noise levels that the schedule of a network does not have."""
    most, least = (float(schedule.level(np.float64(t))) for t in (schedule.start, schedule.end))
    wrong = [s for s in table.levels if not (1 - SLACK) * least <= s <= (1 + SLACK) * most]
    if wrong:
        raise ValueError(
            f"sample: a network of the schedule {type(schedule).__name__} is asked at the noise level {wrong[0]:.4g}, it has "
            f"{least:.4g} to {most:.4g}; give `times` or the schedule of sampling a start and an end inside"
        )


def _divided(mesh: Mesh, states, keys):
    """States and keys with their samples divided over the devices of a mesh."""
    if len(states) % mesh.size:
        raise ValueError(f"sample(mesh=…): n={len(states)} is no multiple of the {mesh.size} devices")
    over = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.device_put(states, over), None if keys is None else jax.device_put(keys, over)


def _start(table, schedule, shape, n, key, initial, noise, teleport, dtype):
    """The states v `(n, *shape)` at the start of the table, and the keys of the samples (None without a key)."""
    key = None if key is None else random_key("sample", key)
    begin = table.start if teleport is None else float(schedule.level(np.float64(schedule.start)))
    if teleport is not None and not begin > table.start:
        raise ValueError(
            f"sample(teleport=…): the jump goes from the start of the schedule, noise level {begin:g}, to the first of `times`, "
            f"{table.start:g}, which must be lower; give the grid a later start"
        )
    if initial is not None:
        if shape is not None or n is not None:
            raise ValueError("sample: `initial` has the shape and number of the samples; leave out shape and n")
        initial = jnp.asarray(real_array("sample", "initial", initial), dtype)
        if initial.ndim < 1 or not len(initial):
            raise ValueError(f"sample(initial=…): expected states (n, *shape), got the shape {initial.shape}")
        t = schedule.time(-np.log(begin)) if np.isfinite(begin) else schedule.start
        level = schedule.alpha(t) * np.sqrt(1 + begin**2) if np.isfinite(begin) else 1.0
        states, n = initial / jnp.asarray(level, dtype), len(initial)
        keys = None if key is None else _keys(key, n)
    else:
        if shape is None or key is None:
            raise ValueError("sample: give shape=…, n=… and key=…, or the states initial=…")
        shape = tuple(count("sample", "shape", side) for side in shape)
        n = count("sample", "n", 1 if n is None else n)
        # v of pure noise: of the data itself, √(1 − share²) ≪ 1 of v, nothing is known yet.
        share = begin / np.sqrt(1 + begin**2) if np.isfinite(begin) else 1.0
        states, keys = _pure_noise(key, np.asarray(share, dtype), n, shape, noise)
    if teleport is not None:
        if teleport.mean.shape != states.shape[1:]:
            raise ValueError(f"sample: teleport has the shape {teleport.mean.shape}, samples {states.shape[1:]}")
        states = jax.vmap(lambda v: teleport.jump(v, begin, table.start))(states)
    return states, keys


@eqx.filter_jit
def _keys(key, n: int):
    """One key per sample."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))


@eqx.filter_jit
def _pure_noise(key, share, n: int, shape, noise):
    """v of pure noise, `share` of it, and the keys of the samples."""
    keys = _keys(key, n)
    drawn = jax.vmap(lambda k: draw_noise(noise, jax.random.fold_in(k, 0), shape, share.dtype))(keys)
    return share * drawn, keys


def _explain(table: Table, level: Level, denoiser, condition, on_the_way) -> None:
    """**Raises:** `FloatingPointError` that names the first evaluation whose denoised values are not finite."""
    points, denoised = on_the_way
    finite = np.asarray(jnp.isfinite(denoised).reshape(*denoised.shape[:2], -1).all(-1))
    if finite.all():
        raise FloatingPointError(
            "sample: the samples are not finite although the denoiser is; its values overflow the dtype"
        )
    first = int(np.flatnonzero(~finite.all(0))[0])
    wrong = np.flatnonzero(~finite[:, first])
    who = "the denoiser returned"
    if isinstance(denoiser, Guided):
        here = jax.tree.map(lambda entry: jnp.asarray(entry[first], points.dtype), level)
        who = denoiser.culprit(points[wrong[0], first], here, condition)
    raise FloatingPointError(
        f"sample: {who} values that are not finite at evaluation {first + 1} of {table.evaluations}, noise level "
        f"{table.levels[first]:.4g}, for {len(wrong)} of {len(finite)} samples (the first is {wrong[0]})"
    )
