"""Bandits: probabilities and fits against references, and that they learn what they should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, lsq_linear

from surrogax.solvers.linear import ChebCB, TsallisINF
from surrogax.solvers.linear.tuning.chebcb import box_least_squares
from surrogax.solvers.linear.tuning.tsallis_inf import tsallis_probabilities

RNG = np.random.default_rng(0)


def play(policy, costs, contexts, key):
    """Costs paid on a table of costs `(rounds, arms)`, and the final state."""

    def step(state, row):
        table, context = row
        arm, state = policy.choose(state, context)
        return policy.update(state, arm, context, table[arm]), table[arm]

    state, paid = jax.lax.scan(step, policy.init(costs.shape[1], key), (jnp.asarray(costs), jnp.asarray(contexts)))
    return paid, state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tsallis_probabilities_solve_their_equation(dtype):
    """Against bracketing in float64, up to round 1e6, with losses that differ by nothing or by 1e6."""
    with jax.enable_x64(dtype == np.float64):
        probabilities = jax.jit(tsallis_probabilities)
        for spread, rounds in ((0, 1), (1, 10), (1e3, 100), (1e6, 1e6)):
            losses = (1e6 + spread * RNG.random(20)).astype(dtype)
            eta, low = 2 / np.sqrt(rounds), float(losses.min())

            def excess(x, losses=losses, eta=eta):
                return np.sum(4 / (eta * (losses.astype(np.float64) - x)) ** 2) - 1

            x = brentq(excess, low - 2 * np.sqrt(20) / eta - 1e-9, low - 2 / eta + 1e-9, xtol=1e-13, rtol=1e-14)
            expected = 4 / (eta * (losses.astype(np.float64) - x)) ** 2
            found = np.asarray(probabilities(jnp.asarray(losses), jnp.asarray(eta, dtype)))
            # x itself is only known to 1e-10 of the losses' size here.
            np.testing.assert_allclose(found, expected, rtol=2e-4 if dtype == np.float32 else 1e-6)
            assert abs(found.sum() - 1) < 1e-6


def test_tsallis_estimates_are_unbiased(key):
    """One round from a state with unequal probabilities: E[cost/p · (arm played)] is the cost of every arm."""
    policy, costs = TsallisINF(), jnp.array([1.0, 2.0, 5.0])
    _, state = play(policy, np.array([[1.0, 4, 9]] * 5, np.float32), np.zeros(5, np.float32), key)

    def estimate(key):
        arm, after = policy.choose(policy.init(3, key).__class__(**{**vars(state), "key": key}), None)
        return policy.update(after, arm, None, costs[arm]).losses[0] - state.losses[0]

    estimates = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(key, 4000)))
    error = estimates.std(0) / np.sqrt(len(estimates))
    assert (error > 0).all() and (np.abs(estimates.mean(0) - costs) < 4 * error).all()


def test_learners_follow_the_cost_and_only_contextual_ones_the_context(key):
    """The best arm moves with the context: every fixed arm pays 4 on average above the optimum of 10."""
    rounds, arms = 1500, 5
    contexts = RNG.random(rounds).astype(np.float32)
    centres = np.linspace(0, 1, arms)
    smooth = 10 + 60 * (contexts[:, None] - centres) ** 2
    costs = (smooth + RNG.normal(size=smooth.shape)).astype(np.float32)
    optimum, fixed = smooth.min(1).mean(), costs.mean(0).min()
    assert fixed > optimum + 4
    keys = jax.random.split(key, 4)
    paid = {}
    for policy in (TsallisINF(), TsallisINF((0, 1), bins=5), ChebCB((0, 1), terms=4)):
        run = jax.jit(jax.vmap(functools.partial(play, policy, costs, contexts)))
        spent, _ = run(keys)
        assert spent.shape == (4, rounds) and len(np.unique(np.asarray(spent.sum(1)))) == 4
        paid[repr(policy)] = float(spent[:, -500:].mean())
    plain, bins, chebyshev = paid.values()
    assert abs(plain - fixed) < 1.5, "without context it comes close to the best fixed arm"
    assert bins < 0.6 * fixed + 0.4 * optimum
    assert chebyshev < 0.1 * fixed + 0.9 * optimum


@pytest.mark.nightly
def test_a_policy_is_a_function_of_its_key(key):
    costs, contexts = RNG.random((30, 4)).astype(np.float32), np.zeros(30, np.float32)
    once, again, other = (play(ChebCB((-1, 1), 2), costs, contexts, k)[0] for k in (key, key, jax.random.key(5)))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_box_least_squares_against_scipy():
    features = np.polynomial.chebyshev.chebvander(RNG.uniform(-1, 1, (3, 40)), 4)
    targets = RNG.normal(size=(3, 40)) + 3 * features[..., 0]
    box = np.array([1.5, 0.2, 0.1, 5, 5])
    normal, moment = np.einsum("anm,ank->amk", features, features), np.einsum("anm,an->am", features, targets)
    arguments = (x.astype(np.float32) for x in (normal, moment, box))
    found = jax.jit(box_least_squares, static_argnums=4)(*arguments, jnp.zeros((3, 5)), 60)
    for arm in range(3):
        expected = lsq_linear(features[arm], targets[arm], (-box, box), tol=1e-12).x
        np.testing.assert_allclose(found[arm], expected, atol=2e-5)


def test_chebcb_exploration_is_that_of_the_paper(key):
    """Constants of η by hand, from the rounds played."""
    policy, rounds = ChebCB((0, 2), terms=3), 12
    costs, contexts = (5 + RNG.random((rounds, 3))).astype(np.float32), np.linspace(0, 2, rounds, dtype=np.float32)

    def step(state, row):
        table, context = row
        arm, state = policy.choose(state, context)
        state = policy.update(state, arm, context, table[arm])
        return state, (arm, table[arm], state.prediction)

    state, (arms, paid, predicted) = jax.lax.scan(
        step, policy.init(3, key), (jnp.asarray(costs), jnp.asarray(contexts))
    )
    features = np.polynomial.chebyshev.chebvander(np.asarray(contexts, float) - 1, 2)
    residual = np.asarray(paid) - np.einsum("tm,tm->t", features, np.asarray(state.theta)[np.asarray(arms)])
    largest = float(paid.max())
    bound = (np.pi + 2 / np.pi * np.log(7)) / 8 * largest
    regret = max(np.sum((np.asarray(predicted) - paid) ** 2) - np.sum(residual**2), 0)
    eta = 2 * rounds * np.sqrt(3 * rounds / (regret + 2 * bound**2 * rounds))
    np.testing.assert_allclose(policy._eta(state), eta, rtol=1e-4)
    assert np.all(np.abs(state.theta) <= largest * np.array([1, 2, 1]) * (1 + 1e-6))


@pytest.mark.nightly
def test_costs_of_zero_and_single_arms(key):
    for policy in (TsallisINF(), ChebCB((0, 1))):
        paid, state = play(policy, np.zeros((5, 3), np.float32), np.ones(5, np.float32), key)
        assert all(
            np.isfinite(leaf).all()
            for leaf in jax.tree.leaves(state)
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        )
        paid, _ = play(policy, np.full((5, 1), 7, np.float32), np.ones(5, np.float32), key)
        assert (paid == 7).all()


def test_contexts_and_settings_are_checked(key):
    policy = TsallisINF((0, 1), bins=4)
    state = policy.init(3, key)
    for context, expected in ((-5.0, 0), (0.3, 1), (1.0, 3), (9.0, 3)):
        arm, after = policy.choose(state, context)
        assert int(np.argmax(policy.update(after, arm, context, 1.0).rounds)) == expected
    for bad, message in ((None, "needs a context"), (jnp.zeros(2), "one number")):
        for learner in (policy, ChebCB((0, 1))):
            with pytest.raises(ValueError, match=message):
                learner.choose(learner.init(3, key), bad)
    for wrong in (lambda: TsallisINF(bins=3), lambda: TsallisINF((0, 1), bins=0), lambda: TsallisINF((1, 0))):
        with pytest.raises(ValueError, match="TsallisINF"):
            wrong()
    for wrong in (lambda: ChebCB((1, 1)), lambda: ChebCB((0, 1), terms=0), lambda: ChebCB((0, 1), sweeps=0)):
        with pytest.raises(ValueError, match="ChebCB"):
            wrong()
