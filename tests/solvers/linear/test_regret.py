"""The best fixed value of a sequence, and the picture of regret."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from surrogax.solvers.kernels.stencil import unit_faces
from surrogax.solvers.linear import SOR, Diffusion, Laplacian, System, TunedSolver, best_fixed, plot_regret

SIDES = ("dirichlet",) * 2


def systems(context=True):
    rng = np.random.default_rng(0)
    shift, b = rng.uniform(0, 4, 7).astype(np.float32), rng.normal(size=(7, 4, 5)).astype(np.float32)
    make = jax.vmap(lambda c: Diffusion(unit_faces((4, 5), SIDES), (4, 5), (1.0, 1.0), SIDES, c))
    return System(make(shift), jnp.asarray(b), jnp.asarray(shift) if context else None)


@pytest.fixture(scope="module")
def fixed():
    tuner = TunedSolver(SOR(rtol=1e-4), omega=[1.0, 1.3, 1.8])
    return tuner, best_fixed(tuner, systems(), batch_size=3)


@pytest.mark.nightly
def test_costs_of_every_fixed_value(fixed):
    tuner, found = fixed
    assert found.costs.shape == (3, 7)
    one, parts = jax.jit(tuner.solve_with), systems()
    ones = [jax.tree.map(lambda x, i=i: x[i], parts) for i in range(7)]
    expected = [[one(arm, system).iterations for system in ones] for arm in range(3)]
    np.testing.assert_array_equal(found.costs, expected)
    np.testing.assert_array_equal(found.totals, np.sum(expected, 1))
    best = np.argmin(np.sum(expected, 1))
    np.testing.assert_array_equal(found.best, expected[best])
    assert found.best_value == tuner.values[best] and best != 2
    np.testing.assert_array_equal(found.instance_optimal, np.min(expected, 0))
    np.testing.assert_array_equal(best_fixed(tuner, systems(context=False)).costs, expected)


@pytest.mark.nightly
def test_plot_regret(fixed):
    _, found = fixed
    single = plot_regret(found.costs[2], against=found)
    learned, optimum, zero = single.axes[0].lines
    np.testing.assert_allclose(learned.get_ydata(), np.cumsum(found.costs[2] - found.best))
    assert (np.diff(optimum.get_ydata()) <= 0).all() and optimum.get_ydata()[-1] < 0
    assert zero.get_label() == f"best fixed value, {float(found.best_value):.3g}"
    runs = np.stack([found.costs[0], found.costs[1]])
    axes = plot_regret({"a": runs, "b": found.costs[1]}, against=found.costs[0]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.cumsum(runs.mean(0) - found.costs[0]), atol=1e-5)
    assert [line.get_label() for line in axes.lines[:2]] == ["a", "b"] and len(axes.collections) == 1


@pytest.mark.nightly
def test_failed_solves_are_charged_and_counted_alike(x64):
    """Ten steps are too few for every value but the best one."""
    tuner = TunedSolver(SOR(rtol=1e-6, max_steps=12), omega=jnp.asarray([1.0, 1.3]))
    shifts = jnp.asarray([0.0, 40.0, 60.0])
    parts = jax.vmap(lambda c: System(Laplacian((6, 6), (1.0, 1.0), SIDES, shift=c), jnp.ones((6, 6))))(shifts)
    found = best_fixed(tuner, parts)
    assert found.failed[:, 0].all() and not found.failed[:, 1:].all()
    np.testing.assert_array_equal(found.costs[found.failed], 12)
    _, sols = jax.lax.scan(tuner.solve, tuner.init(jax.random.key(0)), parts)
    np.testing.assert_array_equal(sols.cost == 12, sols.status != 0)
    lines = plot_regret(sols, against=found).axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), np.cumsum(sols.cost - found.best))
    failures = int((sols.status != 0).sum())
    assert lines[0].get_label() == f"learned ({failures} of 3 solves failed)"
    with pytest.warns(UserWarning, match="give the solutions of the tuner instead of their iterations"):
        plot_regret(sols.stats.iterations, against=found)
    plt.close("all")
