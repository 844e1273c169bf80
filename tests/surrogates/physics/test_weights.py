"""Weights that adapt: their formulas against direct computation, and what they refuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx

PROBLEM = sx.Problem(
    "u", sx.Box(x=(0, 1)), time=(0, 2), residual=lambda u, p: u.t - 0.1 * u.xx, initial=lambda x: jnp.sin(jnp.pi * x)
)


def model(key):
    return sx.PINN(PROBLEM, width=5, depth=1, exact_boundary=False, exact_initial=False, key=key)


@eqx.filter_jit
def advanced(objective, net, key):
    """The state after one update, the points of the step, and the points of the next one."""
    state = objective.init(key)
    points = objective.draw(state, None, key)
    _, outcome = objective.value(net, points)
    state = objective.update(state, points, outcome, jax.random.fold_in(key, 2))
    return state, points, objective.draw(state, None, jax.random.fold_in(key, 1))


@eqx.filter_jit
def advanced_again(objective, net, state, points, key):
    _, outcome = objective.value(net, points)
    return objective.update(state, points, outcome, key)


def term_losses(objective, points):
    """The mean squares of all terms, with the penalty on conditions, as functions of the model."""
    numbered = lambda net: objective._numbered(net, points)  # noqa: E731
    return [
        lambda net, i=i: 0.5 * (dict(numbered(net))[i].values(net) ** 2).sum()
        for i, _ in numbered(model(jax.random.key(0)))
    ]


@pytest.mark.nightly
def test_gradient_norms_become_equal(key, x64):
    net = model(key)
    objective = sx.Residual(PROBLEM, sx.FixedPoints(30), penalty=7.0, weights=sx.GradientNorm(every=2))
    state, points, after = advanced(objective, net, key)
    gradients = []
    for loss in term_losses(objective, points):
        gradient = jax.jit(jax.grad(lambda f, loss=loss: loss(eqx_with(net, f))))(net.function)
        gradients.append(float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))))
    factors = np.asarray(state.weights[0].factors)[: len(gradients)]  # the last is that of observations
    np.testing.assert_allclose(factors, sum(gradients) / np.array(gradients), rtol=1e-6)
    for factor, expected in zip(after.factors, factors, strict=True):
        np.testing.assert_allclose(factor, expected, rtol=1e-12)
    # Between two measurements the factors stay.
    later = advanced_again(objective, net, state, after, key)
    np.testing.assert_array_equal(later.weights[0].factors[: len(factors)], factors)
    assert int(later.weights[0].updates) == 2


def eqx_with(net, function):
    return eqx.tree_at(lambda m: m.function, net, function)


@pytest.mark.nightly
def test_traces_of_the_tangent_kernel(key, x64):
    net = model(key)
    objective = sx.Residual(PROBLEM, sx.FixedPoints(20), boundary_points=10, weights=sx.TangentKernel())
    state, points, _ = advanced(objective, net, key)
    traces = []
    for _, rows in objective._numbered(net, points):
        jacobian = jax.jacrev(lambda f, rows=rows: rows.values(eqx_with(net, f)))(net.function)
        traces.append(sum(float(jnp.sum(j**2)) for j in jax.tree.leaves(jacobian)))
    np.testing.assert_allclose(state.weights[0].factors[: len(traces)], sum(traces) / np.array(traces), rtol=1e-6)


@pytest.mark.nightly
def test_causal_weights_are_the_exponentials_of_earlier_losses(key):
    net = model(key)
    objective = sx.Residual(PROBLEM, sx.UniformSampler(400), weights=sx.Causal(tolerance=3.0, chunks=4))
    state, points, after = advanced(objective, net, key)
    time = np.asarray(points.inside.points)[:, 1]
    jets = jax.vmap(lambda p: objective._equations(net, type(points.inside)(p, {})))(points.inside.points)
    squares = np.asarray(jets)[:, 0] ** 2
    losses = [squares[(time >= a) & (time < a + 0.5)].mean() for a in (0, 0.5, 1, 1.5)]
    expected = np.exp(-3.0 * np.concatenate([[0], np.cumsum(losses)[:-1]]))
    np.testing.assert_allclose(state.weights[0], expected, rtol=1e-4)
    chunk = (np.asarray(after.inside.points)[:, 1] / 0.5).astype(int)
    np.testing.assert_allclose(after.factors[0], expected[chunk], rtol=1e-4)
    value, outcome = eqx.filter_jit(objective.value)(net, after)
    inside = jax.vmap(lambda p: objective._equations(net, type(points.inside)(p, {})))(after.inside.points)[:, 0] ** 2
    np.testing.assert_allclose(outcome.metrics["residual"], inside.mean(), rtol=1e-4)
    rest = sum(loss(net) for loss in term_losses(objective, after)[1:])
    np.testing.assert_allclose(value, (inside * after.factors[0]).mean() + rest, rtol=1e-4)


@pytest.mark.nightly
def test_attention_follows_points_that_stay(key):
    net = model(key)
    objective = sx.Residual(PROBLEM, sx.R3(100), weights=sx.Attention(decay=0.5, rate=0.5))
    state, points, after = advanced(objective, net, key)
    _, outcome = eqx.filter_jit(objective.value)(net, points)
    size = np.asarray(outcome.memory[0])
    kept = (np.asarray(after.inside.points) == np.asarray(points.inside.points)).all(-1)
    assert 10 < kept.sum() < 90
    expected = 0.5 + 0.5 * size / size.max()
    np.testing.assert_allclose(state.weights[0], np.where(kept, expected, expected.mean()), rtol=1e-5)
    np.testing.assert_allclose(after.factors[0], state.weights[0] ** 2, rtol=1e-5)


@pytest.mark.nightly
def test_the_gradient_penalty_is_that_of_the_residual(key, x64):
    net = model(key)
    plain, steep = (sx.Residual(PROBLEM, sx.FixedPoints(5), gradient_penalty=g) for g in (0.0, 0.3))
    points = plain.draw(plain.init(key), None, key)
    h, total = 1e-5, 0.0
    residual = jax.jit(jax.vmap(lambda p: plain._equations(net, type(points.inside)(p, {}))))
    for move in h * jnp.eye(2):
        up, down = residual(points.inside.points + move), residual(points.inside.points - move)
        total += 0.3 * (((up - down) / (2 * h)) ** 2).mean()
    values = [eqx.filter_jit(o.value)(net, points)[0] for o in (plain, steep)]
    np.testing.assert_allclose(values[1] - values[0], total, rtol=1e-6)


@pytest.mark.nightly
def test_points_per_wave(key):
    """sin 2πkx on the unit interval has k waves."""
    problem = sx.Problem("u", sx.Box(x=(0, 1, "neumann")), residual=lambda u, p: u.xx)
    net = sx.RandomFeatures(problem, features=1, key=key)
    function = eqx.tree_at(
        lambda f: (f.frequencies.value, f.phases.value, f.coefficients),
        net.function,
        (np.array([[2 * np.pi * 8]]), np.zeros(1), jnp.ones((1, 1))),
    )
    objective = sx.Residual(problem, sx.UniformSampler(40), independent=2000)
    points = objective.draw(objective.init(key), None, key)
    _, outcome = objective.value(eqx_with(net, function), points)
    np.testing.assert_allclose(outcome.metrics["points_per_wave"], 40 / 8, rtol=0.03)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "weights",
    [sx.GradientNorm(every=5), (sx.TangentKernel(every=5), sx.Causal()), sx.Attention(decay=0.9, rate=0.1)],
    ids=["norms", "kernel and causal", "attention"],
)
@pytest.mark.parametrize("step", [sx.LevenbergMarquardt(hold=5), optax.adam(1e-2)], ids=["lm", "adam"])
def test_training_with_weights(weights, step, key):
    steps = 60 if isinstance(step, sx.LevenbergMarquardt) else 1500
    net = sx.PINN(PROBLEM, width=10, depth=2, exact_initial=False, key=key)
    found = sx.fit(
        net, sampler=sx.R3(200), weights=weights, optimizer=step, steps=steps, check_every=steps, seeds=2,
        progress=False,
    )  # fmt: skip
    grid = sx.Grid.unit_interval(9)
    u = found.predict({}, at=grid)["u"][0]
    t = np.linspace(0, 2, len(u))[:, None]
    exact = np.sin(np.pi * grid.coordinates[0]) * np.exp(-0.1 * np.pi**2 * t)
    assert np.linalg.norm(u - exact) / np.linalg.norm(exact) < (1e-3 if steps == 60 else 0.15)


def test_weights_that_mean_nothing_are_refused(key):
    net = model(key)
    with pytest.raises(ValueError, match="UniformSampler keeps none"):
        sx.fit(net, sampler=sx.UniformSampler(9), weights=sx.Attention(), optimizer=optax.adam(1e-3), steps=1)
    steady = sx.PINN(sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 1), width=4, depth=1, key=key)
    with pytest.raises(ValueError, match="follow time, which the box"):
        sx.fit(steady, weights=sx.Causal(), optimizer=optax.adam(1e-3), steps=1)
    with pytest.raises(TypeError, match="weights"):
        sx.fit(net, weights=3.0, optimizer=optax.adam(1e-3), steps=1)
