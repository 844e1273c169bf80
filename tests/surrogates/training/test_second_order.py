"""Optimisers of second order: their steps against closed forms and linear algebra, their failures, their precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.training.damped_normal_equations import symmetric_product
from surrogax.surrogates.training.gauss_newton import minimal_norm
from surrogax.surrogates.training.objective import AbstractByRows, Rows
from surrogax.surrogates.training.quasi_newton import updated_inverse


class Vector(sx.AbstractTrainable):
    """A trained vector."""

    x: jax.Array

    @property
    def state(self):
        return None

    def objective(self, data, **options):
        raise NotImplementedError

    def renewed(self, key):
        return Vector(jax.random.normal(key, self.x.shape))


class Function(sx.AbstractLeastSquares):
    """½‖r(x)‖² of a function r."""

    function: object = eqx.field(static=True)
    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        return None

    def residuals(self, model, points):
        return self.function(model.x), sx.Outcome()

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        raise TypeError("no data")


def fit(function, start, step, steps, **options):
    return sx.fit(
        Vector(jnp.asarray(start)), objective=Function(function), optimizer=step, steps=steps, check_every=steps,
        progress=False, **options,
    )  # fmt: skip


def rosenbrock(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def test_a_product_with_its_transpose(x64):
    a = np.random.default_rng(0).normal(size=(9, 7))
    np.testing.assert_allclose(symmetric_product(jnp.asarray(a)), a.T @ a, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n, d", [(5, 3), (2, 4)])
def test_one_damped_step_is_that_of_the_formula(n, d):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, d)), rng.normal(size=n)
    a, b = np.float32(a).astype(float), np.float32(b).astype(float)
    found = fit(lambda x: a @ x - b, np.zeros(d, np.float32), sx.LevenbergMarquardt(trials=1, damping=0.1), 1)
    gram = a.T @ a if n >= d else a @ a.T
    damped = a.T @ a + 0.1 * np.eye(d) * gram.diagonal().max()
    expected = np.linalg.solve(damped, a.T @ b)
    assert found.last.x.dtype == jnp.float64 and jnp.result_type(float) == jnp.float32
    np.testing.assert_allclose(found.last.x, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "step, steps",
    [(sx.LevenbergMarquardt(), 30), (sx.SSBroyden(), 60), (sx.SSBroyden(update="bfgs"), 60), (sx.LBFGS(), 60)],
    ids=["LM", "SSBroyden", "SSBFGS", "L-BFGS"],
)
def test_the_valley_of_rosenbrock(step, steps):
    found = fit(rosenbrock, [-1.2, 1.0], step, steps)
    np.testing.assert_allclose(found.last.x, 1, atol=1e-9)


@pytest.mark.nightly
def test_trials_that_are_not_finite_lose_nothing():
    """r = √(1 − x) − 1/10 is NaN beyond x = 1, where a long step along the slope at −100 ends."""
    start = np.float32(-100)
    for step in (sx.LevenbergMarquardt(damping=1e-8), sx.GaussNewton(), sx.SSBroyden(), sx.LBFGS()):
        found = fit(lambda x: jnp.sqrt(1 - x) - 0.1, [start], step, 25)
        assert np.isfinite(found.last.x).all()
        assert 0.5 * (np.sqrt(1 - np.asarray(found.last.x)) - 0.1) ** 2 < 1e-3, type(step).__name__


def test_a_step_without_improvement_keeps_the_parameters_and_says_so():
    found = fit(lambda x: jnp.stack([x[0], 1.0]), [0.0], sx.LevenbergMarquardt(), 3)
    assert np.asarray(found.last.x) == [0] and found.history.metrics["accepted"] == [[0.0]]


@pytest.mark.parametrize("memory", [1e-9, 0.3, 1e5])
def test_new_points_begin_with_the_damping_of_the_last_ones_at_most_one(memory):
    """Small ones are kept: to begin anew at a larger one costs steps after every draw."""
    assert sx.LevenbergMarquardt().reset(jnp.float32(memory)) == jnp.float32(min(memory, 1.0))


@pytest.mark.nightly
def test_a_search_that_ended_says_why():
    at_rest = fit(lambda x: x - 3.0, [0.0], sx.LBFGS(hold=100), 10)
    assert at_rest.history.metrics["stopped_gradient"][0][0] > 0.5
    assert at_rest.history.metrics["stopped_search"][0][0] == 0
    np.testing.assert_allclose(at_rest.last.x, 3, rtol=1e-14)
    stuck = fit(lambda x: 1e-3 + jnp.abs(x - jax.lax.stop_gradient(x)) + 0.0 * x + jnp.where(x > 0, 1.0, 0.0), [0.0],
                sx.LBFGS(hold=100), 4)  # fmt: skip
    assert np.asarray(stuck.last.x) == [0]


def test_least_squares_of_any_rank(x64):
    rng = np.random.default_rng(1)
    for shape, rank in (((9, 4), 4), ((4, 9), 4), ((9, 5), 3)):
        a = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
        b = rng.normal(size=shape[0])
        found, counted = minimal_norm(jnp.asarray(a), jnp.asarray(b), 1e-12)
        assert counted == rank
        best = np.linalg.norm(a @ np.linalg.lstsq(a, b, rcond=1e-12)[0] - b)
        np.testing.assert_allclose(np.linalg.norm(a @ found - b), best, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        minimal_norm(jnp.ones((1, 2)) * jnp.array([1.0, 1e-9]), jnp.ones(1), 0.0)[0], [0.5, 5e8], rtol=1e-12
    )


@pytest.mark.parametrize("update", ["broyden", "bfgs", "plain"])
@pytest.mark.parametrize("first", [True, False])
def test_an_update_maps_the_change_of_the_gradient_to_the_step(update, first, x64):
    rng = np.random.default_rng(2)
    a = rng.normal(size=(6, 6))
    hessian, b = a @ a.T + np.eye(6), rng.normal(size=(6, 6))
    inverse = np.eye(6) if first else b @ b.T + np.eye(6)
    gradient = rng.normal(size=6)
    step = -0.3 * inverse @ gradient
    arrays = map(jnp.asarray, (inverse, step, hessian @ step, gradient, 0.3))
    new = np.asarray(updated_inverse(*arrays, first=first, update=update))
    np.testing.assert_allclose(new @ hessian @ step, step, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(new, new.T, atol=1e-12)
    assert np.linalg.eigvalsh(new).min() > 0
    if update == "plain":
        rho = 1 / (step @ hessian @ step)
        left = np.eye(6) - rho * np.outer(step, hessian @ step)
        np.testing.assert_allclose(new, left @ inverse @ left.T + rho * np.outer(step, step), rtol=1e-9, atol=1e-12)


class Polynomial(AbstractByRows):
    """Σ (x_0 + x_1 t + x_2² t² − exp t)² at points t."""

    dtype: str | None = eqx.field(static=True, default=None)
    calls = 1

    def init(self, key):
        return None

    def draw(self, state, batch, key):
        return jnp.linspace(0, 1, 7)

    def terms(self, model, points):
        one = lambda m, t: m.x[0] + m.x[1] * t + m.x[2] ** 2 * t**2 - jnp.exp(t)  # noqa: E731
        return (Rows(one, points), Rows(lambda m, t: jnp.stack([m.x[0] * t, m.x[2]]), points[:2]))

    def outcome(self, model, points, values):
        return sx.Outcome()

    def update(self, state, points, outcome, key):
        return None

    def validate(self, model, batch):
        raise TypeError("no data")


def test_a_jacobian_by_rows_is_the_jacobian(x64):
    from surrogax.surrogates.training.residual_vector import ResidualVector

    objective = Polynomial()
    residuals = ResidualVector(objective, lambda p: Vector(p["x"]), objective.draw(None, None, None))
    params = {"x": jnp.array([0.5, -1.0, 2.0])}
    expected = jax.jacobian(lambda x: residuals.vector({"x": x}))(params["x"])
    np.testing.assert_allclose(residuals.jacobian(params), expected, rtol=1e-14)
    assert expected.shape == (11, 3)


@pytest.mark.parametrize("dtype, expected", [(None, jnp.float64), ("float64", jnp.float64), ("float32", jnp.float32)])
def test_the_precision_is_that_of_the_objective_or_of_the_optimiser(dtype, expected):
    model = Vector(jnp.ones(3))
    found = sx.fit(model, objective=Polynomial(dtype), optimizer=sx.LevenbergMarquardt(), steps=2, progress=False)
    assert found.last.x.dtype == expected and model.x.dtype == jnp.float32
    assert jnp.ones(1).dtype == jnp.float32, "the switch is back"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: sx.LevenbergMarquardt(trials=0), "trials=0"),
        (lambda: sx.LevenbergMarquardt(damping=-1.0), "damping"),
        (lambda: sx.GaussNewton(rcond=2.0), "rcond"),
        (lambda: sx.SSBroyden(update="dfp"), "'broyden', 'bfgs', 'plain'|'broyden' or 'bfgs' or 'plain'"),
        (lambda: sx.LBFGS(memory_size=0), "memory_size"),
    ],
)
def test_settings_without_meaning_are_named(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
