"""What a tuned solver could have had: every fixed value of its grid over the same sequence, and regret against the best."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from ..solution import Status
from .tuned_solver import TunedSolution, TunedSolver


class FixedCosts(eqx.Module):
    """**Fields:** `values` of the grid `(arms,)`, and of every one on every system `(arms, systems)` the `costs` and whether the
    solve `failed`.

    **Example:**

        >>> sx.linear.FixedCosts(jnp.array([1.2, 1.7]), jnp.ones((2, 5)), jnp.zeros((2, 5), bool)).costs.shape
        (2, 5)
    """

    values: Float[Array, " arms"]
    costs: Float[Array, "arms systems"]
    failed: Bool[Array, "arms systems"]

    @property
    def totals(self) -> Float[Array, " arms"]:
        return self.costs.sum(1)

    @property
    def best(self) -> Float[Array, " systems"]:
        """Costs of the value with the lowest total, which is the best one in hindsight."""
        return self.costs[self.totals.argmin()]

    @property
    def best_value(self) -> Float[Array, ""]:
        return self.values[self.totals.argmin()]

    @property
    def instance_optimal(self) -> Float[Array, " systems"]:
        """Lowest cost on the grid, system by system."""
        return self.costs.min(0)


def best_fixed(tuner: TunedSolver, systems, batch_size: int = 50) -> FixedCosts:
    """Solve all systems with every value of the grid: arms · systems solves.

    Operators are assembled in batches and not kept. A batch takes as long as its slowest solve, so systems of one difficulty
    should be neighbours: with one number as context they are solved in its order.

    **Arguments:** `systems`: what `tuner.solve` is scanned over; `batch_size`: solves at a time.

    **Example:**

        >>> tuner = sx.linear.TunedSolver(sx.linear.SOR(rtol=1e-2), omega=jnp.array([1.2, 1.7]))
        >>> systems = sx.linear.System(*jax.tree.map(lambda x: jnp.stack([x] * 2), (A, b)))
        >>> sx.linear.best_fixed(tuner, systems).costs.shape
        (2, 2)
    """
    order = np.arange(len(jax.tree.leaves(systems)[0]))
    if systems.context is not None and jnp.ndim(systems.context) == 1:
        order = np.argsort(np.asarray(systems.context), kind="stable")
    found = _costs(tuner, jax.tree.map(lambda leaf: leaf[order], systems), batch_size)
    return FixedCosts(tuner.values, *(each[:, np.argsort(order)] for each in found))


@eqx.filter_jit
def _costs(tuner, systems, batch_size: int):
    def charged(arm, system):
        solution = tuner.solve_with(arm, system)
        return solution.cost, solution.status != Status.converged

    def of_arm(arm):
        return jax.lax.map(lambda system: charged(arm, system), systems, batch_size=batch_size)

    return jax.lax.map(of_arm, jnp.arange(len(tuner.values)))


def plot_regret(costs, against: FixedCosts | Shaped[Array, " systems"]):
    """A matplotlib figure of the cumulative cost minus that of the best fixed value, over the systems.

    A learner's line flattens as it learns, and falls below zero where it adapts to the context better than any fixed value.
    Labels say how many solves failed.

    **Arguments:**

    - `costs`: the `TunedSolution`s of `tuner.solve`, in which failed solves are charged as in `best_fixed`; or a cost per system
      `(systems,)` of your own; a dictionary of either, by label. Several runs `(runs, systems)` are drawn as their mean with
      the range.
    - `against`: `best_fixed(tuner, systems)` or any cost per system.

    **Example:**

        >>> against = sx.linear.FixedCosts(jnp.array([1.2, 1.7]), jnp.ones((2, 5)), jnp.zeros((2, 5), bool))
        >>> figure = sx.linear.plot_regret(jnp.full(5, 2.0), against=against)
    """
    import matplotlib.pyplot as plt

    curves = costs if isinstance(costs, dict) else {"learned": costs}
    reference = np.cumsum(np.asarray(against.best if isinstance(against, FixedCosts) else against, np.float64))
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    rounds = np.arange(1, len(reference) + 1)
    for label, values in curves.items():
        if isinstance(values, TunedSolution):
            label += _failures(values.status != Status.converged)
            values = values.cost
        elif isinstance(against, FixedCosts) and against.failed.any():
            warnings.warn(
                "plot_regret: solves with fixed values have failed and are charged with the step limit; give the solutions "
                "of the tuner instead of their iterations, so that its failures are charged alike",
                stacklevel=2,
            )
        regret = np.cumsum(np.atleast_2d(np.asarray(values, np.float64)), axis=1) - reference
        (line,) = axes.plot(rounds, regret.mean(0), label=label)
        if len(regret) > 1:
            axes.fill_between(rounds, regret.min(0), regret.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    name = "best fixed value"
    if isinstance(against, FixedCosts):
        name += f", {float(against.best_value):.3g}" + _failures(against.failed[against.totals.argmin()])
        optimum = np.cumsum(np.asarray(against.instance_optimal, np.float64)) - reference
        axes.plot(rounds, optimum, color="gray", linestyle=":", label="best value of every system")
    axes.axhline(0, color="black", linewidth=0.8, label=name)
    axes.set_xlabel("systems")
    axes.set_ylabel("cumulative cost − best fixed")
    axes.legend(fontsize=8)
    return figure


def _failures(failed) -> str:
    """The end of a label."""
    count = int(np.count_nonzero(failed))
    return f" ({count} of {np.size(failed)} solves failed)" if count else ""
