"""Samplers put together of classical steps, each of its own kind, and the search for the best."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import check_fields
from ...core.storage import register
from ...solvers.diffusion import AbstractGrid, LogSNR, Rho, UniformTime, VPQuadratic
from ...solvers.diffusion.exponential_adams import adams_weights, noise_weights
from .solver_forms import AbstractForm

if TYPE_CHECKING:
    from .learned_solver import LearnedSolver


@register("StepChoice")
@dataclass(frozen=True)
class StepChoice:
    """One step: exponential Adams of `order` 1 to 4 in the log-SNR, on the prediction of data or noise, with a corrector that
    adds the next evaluation or without.

    **Example:**

        >>> sx.learned_solvers.StepChoice("data", 2, False).order
        2
    """

    prediction: Literal["data", "noise"]
    order: int
    corrector: bool

    def __post_init__(self):
        check_fields(self)


@register("StepChoices")
@dataclass(frozen=True)
class StepChoices(AbstractForm):
    """The unified sampling framework (Liu et al. 2023): per step a prediction, an order and a corrector. Nothing is trained by
    gradients; `LearnedSolver.searched` finds the choices.

    **Arguments:** `choices`: one per step; the last step has no corrector, whatever it says.

    **Example:**

        >>> len(sx.learned_solvers.StepChoices((sx.learned_solvers.StepChoice("data", 2, False),)).choices)
        1
    """

    trains_levels: ClassVar[bool] = False
    trains_network_levels: ClassVar[bool] = False
    choices: tuple[StepChoice, ...]

    def columns(self, steps):
        return 0

    def points(self, weights, levels, network_levels, xp):
        # No gradient: the levels are not trained, so that they are known numbers also while others are traced.
        levels = np.asarray(levels, np.float64)
        if len(self.choices) != len(levels) - 1:
            raise ValueError(f"StepChoices: {len(self.choices)} choices for {len(levels) - 1} steps")
        with np.errstate(divide="ignore"):
            log_snrs = -np.log(levels)
        scale, unit = 1 / np.sqrt(1 + levels**2), np.eye(len(levels))
        # Rows over the first state and the evaluations, in the frame of y.
        points, solution = [unit[0] / scale[0]], unit[0] / scale[0]

        def noise(j):
            return (points[j] - unit[j + 1]) / levels[j]

        for i, choice in enumerate(self.choices):
            start, stop = log_snrs[i], log_snrs[i + 1]
            nodes = list(range(i, max(i - choice.order, -1), -1))
            before, clean = solution, levels[i + 1] == 0
            if clean:
                points.append(unit[i + 1])
            elif choice.prediction == "data":
                kept = levels[i + 1] / levels[i] * before
                c = adams_weights(log_snrs[nodes], start, stop)
                points.append(kept + c @ unit[[j + 1 for j in nodes]])
            else:
                c = noise_weights(log_snrs[nodes], start, stop)
                points.append(before + c @ np.stack([noise(j) for j in nodes]))
            solution = points[-1]
            if choice.corrector and i + 2 < len(levels) and not clean:
                wider = [i + 1, *nodes]
                if choice.prediction == "data":
                    c = adams_weights(log_snrs[wider], start, stop)
                    solution = levels[i + 1] / levels[i] * before + c @ unit[[j + 1 for j in wider]]
                else:
                    c = noise_weights(log_snrs[wider], start, stop)
                    solution = before + c @ np.stack([noise(j) for j in wider])
        return np.stack(points) * scale[:, None]


def searched(
    model: "LearnedSolver", key, samples: int, teacher: int, population: int, generations: int
) -> "LearnedSolver":
    """See `LearnedSolver.searched`. A candidate is the number of a grid and a choice per step; the better quarter of a generation
    stays, and its recombinations with random changes are the rest of the next."""
    from .learned_solver import LearnedSolver
    from .solver_objective import end_errors

    flow, steps = model.training(), model.steps
    paths = eqx.filter_jit(lambda flow, key: flow.paths(key, samples, teacher))(flow, key)
    kinds = [StepChoice(p, order, c) for p in ("data", "noise") for order in (1, 2, 3, 4) for c in (False, True)]
    grids = _grids(model)
    levels = [grid.levels(flow.schedule, steps)[1] for grid in grids]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    @eqx.filter_jit
    def errors(flow, paths, points, network):
        def one(points, network):
            ends = jax.vmap(lambda v: flow.walk(v, points, network)[0][-1])(paths.starts)
            return jnp.median(jnp.sqrt(end_errors(ends, paths.ends, model.ends[1])))

        return jax.lax.map(lambda row: one(*row), (points, network))

    def measured(genes):
        forms = [StepChoices(tuple(kinds[g] for g in row[1:])) for row in genes]
        points = np.stack([f.points(None, levels[row[0]], None, np) for f, row in zip(forms, genes, strict=True)])
        network = np.stack([levels[row[0]][:-1] for row in genes])
        found = np.asarray(errors(flow, paths, jnp.asarray(points, float), jnp.asarray(network, float)))
        return np.where(np.isfinite(found), found, np.inf)

    limits = np.array([len(grids), *[len(kinds)] * steps])
    genes = rng.integers(limits, size=(population, steps + 1))
    uniform = [[g, *[k] * steps] for g in range(len(grids)) for k in range(len(kinds))]
    genes[: min(len(uniform), population // 2)] = rng.permutation(uniform)[: population // 2]
    scores = measured(genes)
    for _ in range(generations - 1):
        best = np.argsort(scores)[: population // 4]
        parents = genes[rng.choice(best, (2, population - len(best)))]
        children = np.where(rng.random(parents[0].shape) < 0.5, *parents)
        changed = rng.random(children.shape) < 1 / (steps + 1)
        children = np.where(changed, rng.integers(limits, size=children.shape), children)
        genes = np.concatenate([genes[best], children])
        scores = np.concatenate([scores[best], measured(children)])
    winner = genes[np.argmin(scores)]
    spent = samples * (teacher + steps * (population + (generations - 1) * (population - population // 4)))
    denoiser, condition = flow.given.value
    found = LearnedSolver(
        denoiser, flow.schedule, steps, shape=flow.shape, form=StepChoices(tuple(kinds[g] for g in winner[1:])),
        grid=grids[winner[0]], condition=condition,
    )  # fmt: skip
    return eqx.tree_at(lambda m: m.state, found, (model.state + spent).astype(jnp.int32))


def _grids(model: "LearnedSolver") -> list[AbstractGrid]:
    """The usual grids with the ends of the model."""
    flow = model.training()
    first, last, end = flow.levels
    times = [float(flow.schedule.time(-np.log(s))) for s in (first, last)]
    return [kind(model.steps, *times, to_zero=end == 0) for kind in (LogSNR, VPQuadratic, Rho, UniformTime)]
