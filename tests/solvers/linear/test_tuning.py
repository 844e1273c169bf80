"""TunedSolver: which parameter it takes, what it runs, what it learns from."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.linear import (
    CG,
    SOR,
    SSOR,
    JacobiIteration,
    Laplacian,
    Status,
    System,
    TsallisINF,
    TunedSolver,
    solve,
)

OPERATOR = Laplacian((5, 4), (1.0, 1.0), ("dirichlet",) * 2)
B = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
OMEGAS = np.array([1.0, 1.3, 1.7])


def sequence(b=B):
    return System(jax.tree.map(lambda x: jnp.broadcast_to(x, (len(b), *jnp.shape(x))), OPERATOR), jnp.asarray(b))


class Pair(eqx.Module):
    first: Any
    second: Any
    degree: int = eqx.field(static=True, default=2)

    def __call__(self, r):
        return self.first(self.second(r))


@pytest.mark.nightly
def test_a_sequence_is_solved_with_the_chosen_values(key):
    """Every solve of the scan is the one by hand with the value it reports; several learners at once by vmap."""
    tuner = TunedSolver(SOR(rtol=1e-4), omega=OMEGAS)
    run = jax.jit(lambda key: jax.lax.scan(tuner.solve, tuner.init(key), sequence()))
    state, solutions = jax.vmap(run)(jax.random.split(key, 3))
    assert solutions.value.shape == (3, 6, 5, 4) and solutions.method == "SOR"
    assert set(np.unique(solutions.parameter)) <= set(OMEGAS.astype(np.float32))
    np.testing.assert_allclose(solutions.parameter, OMEGAS[solutions.arm], rtol=1e-6)
    assert (solutions.status == Status.converged).all()
    np.testing.assert_array_equal(solutions.cost, solutions.iterations)
    np.testing.assert_allclose(state.total[:, 0], (solutions.iterations - 1).sum(1))
    by_hand = jax.jit(lambda b, omega: solve(OPERATOR, b, SOR(omega, rtol=1e-4)))
    for i in range(3):
        expected = by_hand(B[i], solutions.parameter[1, i])
        assert int(expected.iterations) == int(solutions.stats.iterations[1, i])
        np.testing.assert_allclose(solutions.value[1, i], expected.value, rtol=1e-5, atol=1e-6)


def test_failed_solves_are_charged_with_the_step_limit(key):
    """At the limit, and for a divergent value that ends early; the learner turns away from both."""
    tuner = TunedSolver(JacobiIteration(rtol=1e-4, max_steps=600), omega=[0.02, 0.9, 1.9])
    solutions = [jax.jit(tuner.solve_with)(arm, System(OPERATOR, jnp.asarray(B[0]))) for arm in range(3)]
    assert [int(s.status) for s in solutions] == [Status.max_steps, Status.converged, Status.non_finite]
    assert solutions[2].iterations < 600 and solutions[1].cost == solutions[1].iterations < 100
    assert solutions[0].cost == solutions[2].cost == 600
    long = sequence(np.tile(B, (10, 1, 1)))
    _, found = jax.jit(lambda key: jax.lax.scan(tuner.solve, tuner.init(key), long))(key)
    assert np.mean(np.asarray(found.arm)[20:] == 1) > 0.6


@pytest.mark.nightly
def test_own_cost_starting_point_and_gradient(key):
    tuner = TunedSolver(SOR(rtol=1e-4), TsallisINF(), cost=lambda stats: 2.0 * stats.iterations, omega=OMEGAS)
    system = System(OPERATOR, jnp.asarray(B[0]))
    state, first = tuner.solve(tuner.init(key), system)
    assert first.cost == 2 * first.iterations and state.total[0] == first.cost
    _, warm = tuner.solve(state, system, x0=first.value)
    assert warm.iterations < first.iterations

    def energy(b):
        return jnp.sum(tuner.solve_with(1, System(OPERATOR, b)).value)

    ones = solve(OPERATOR, jnp.ones((5, 4)), CG(rtol=1e-6)).value
    np.testing.assert_allclose(jax.grad(energy)(system.b), ones, rtol=2e-3)


@pytest.mark.nightly
def test_parameters_inside_of_the_method(key):
    system = System(OPERATOR, jnp.asarray(B[0]))
    for method, grid in ((CG(SSOR(1.2)), {"omega": OMEGAS}), (CG(Pair(SSOR(1.1), len)), {"omega": OMEGAS})):
        assert TunedSolver(method, **grid).path[-1] == "omega"
    nested = TunedSolver(CG(SSOR(1.2)), omega=OMEGAS).solve_with(2, system)
    assert int(nested.iterations) == int(solve(OPERATOR, system.b, CG(SSOR(1.7))).iterations)
    assert nested.method == "CG(SSOR)"
    assert TunedSolver(SOR(), rtol=[1e-2, 1e-3]).solve_with(0, system).iterations < 20
    inside_a_tuple = Pair((SSOR(1.3), len), len)
    assert TunedSolver(CG(inside_a_tuple), omega=OMEGAS).path == ("preconditioner", "first", 0, "omega")


@pytest.mark.parametrize(
    "method, grid, message",
    [
        (SOR(), {}, "one parameter"),
        (SOR(), {"omega": OMEGAS, "rtol": OMEGAS}, "one parameter"),
        (SOR(), {"omga": OMEGAS}, r"no parameter 'omga'; it has \['atol', 'omega', 'rtol'\]"),
        (CG(Pair(SSOR(), SSOR())), {"omega": OMEGAS}, "ambiguous.*preconditioner.first.omega"),
        (SOR(), {"max_steps": [1, 2]}, "static"),
        (CG(Pair(SSOR(), SSOR())), {"degree": [1, 2]}, "static"),
        (CG(SSOR()), {"preconditioner": OMEGAS}, "only numbers"),
        (SOR(), {"omega": 1.5}, "list of values"),
        (SOR(), {"omega": [1.5, 2.5]}, "omega must lie in"),
    ],
)
def test_unclear_parameters_are_refused(method, grid, message):
    with pytest.raises(ValueError, match=message):
        TunedSolver(method, **grid)
