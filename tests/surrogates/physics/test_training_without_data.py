"""Training on residuals: samplers, accuracy of what is found, contract, files, histories, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx


def poisson(**changes):
    """−u″ = π² sin πx + 2 with the solution sin πx + x (1 − x)."""
    residual = lambda u, p: u.xx + jnp.pi**2 * jnp.sin(jnp.pi * u.at["x"]) + 2  # noqa: E731
    return sx.Problem("u", sx.Box(x=(0, 1)), **{"residual": residual, **changes})


def exact(x):
    return np.sin(np.pi * x) + x * (1 - x)


GRID = sx.Grid.unit_interval(33)


def error(model) -> float:
    found = model.predict({}, at=GRID)["u"][0]
    return float(np.linalg.norm(found - exact(GRID.coordinates[0])) / np.linalg.norm(exact(GRID.coordinates[0])))


def train(model, step, steps, **options):
    options = {"sampler": sx.UniformSampler(60), "check_every": steps, "progress": False, **options}
    return sx.fit(model, optimizer=step, steps=steps, **options)


@pytest.mark.nightly
def test_a_network_reaches_what_single_precision_does_not_hold(key, tmp_path):
    model = sx.PINN(poisson(), width=10, depth=1, key=key)
    found = train(model, sx.LevenbergMarquardt(), 100, sampler=sx.RAD(60))
    assert found.predict({}, at=GRID)["u"].dtype == np.float64
    assert error(found) < 3e-7, "about the rounding of float32, from second derivatives"
    metrics = found.history.metrics
    assert metrics["independent_residual"][-1][0] > 0 and metrics["residual"][-1][0] > 0
    sx.check_surrogate(found)
    found.save(tmp_path / "u.sgx")
    again = sx.load(tmp_path / "u.sgx", like=sx.PINN(poisson(), width=10, depth=1, key=jax.random.key(1)))
    np.testing.assert_allclose(again.predict({}, at=GRID)["u"], found.predict({}, at=GRID)["u"], rtol=1e-6)


def test_random_features_solve_a_linear_equation_in_one_step(key):
    model = sx.RandomFeatures(poisson(), features=40, scale=6.0, key=key)
    assert error(train(model, sx.GaussNewton(), 1)) < 1e-9


@pytest.mark.nightly
def test_gaussians_with_conditions_left_to_the_loss(key):
    model = sx.PIG(poisson(), gaussians=6, spread=0.5, exact_boundary=False, key=key)
    assert len(model.split.boundary) == 2
    found = train(model, sx.LevenbergMarquardt(), 60, penalty=100.0, boundary_points=4)
    assert error(found) < 1e-4
    sx.check_surrogate(found)


@pytest.mark.nightly
def test_broyden_and_adam_on_the_same_objective(key):
    model = sx.PINN(poisson(), width=8, depth=1, key=key)
    assert error(train(model, sx.SSBroyden(), 150)) < 1e-4
    adam = train(model, optax.adam(1e-2), 300)
    assert jax.tree.leaves(adam.last.function)[0].dtype == jnp.float32 and error(adam) < 0.2


@pytest.mark.nightly
def test_a_family_with_a_random_number_in_time(key):
    """u_t = −ν u, u(0) = 1 + x: the number is an input of the network."""
    problem = sx.Problem(
        "u", sx.Box(x=(0, 1, "neumann")), time=(0, 1), inputs={"nu": sx.random.Uniform(0.5, 1.5)}, initial=lambda x: 1 + x,
        residual=lambda u, p: u.t + p.nu * u.value, boundary=sx.pde.Sides(x=sx.pde.Free()),
    )  # fmt: skip
    found = train(sx.PINN(problem, width=8, depth=2, key=key), sx.LevenbergMarquardt(hold=2), 50, sampler=sx.R3(600))
    nu = np.array([0.6, 1.3])
    u = found.predict({"nu": nu}, at=problem.box.grid(5))["u"]
    t, x = np.linspace(0, 1, u.shape[1])[:, None], problem.box.grid(5).coordinates[0]
    np.testing.assert_allclose(u, (1 + x) * np.exp(-nu[:, None, None] * t), rtol=1e-3)
    points = jnp.array([[0.2, 0.5]])  # t, x
    np.testing.assert_allclose(found.best.at_points({"nu": 0.6}, points)[0, 0], 1.5 * np.exp(-0.12), rtol=1e-3)


@pytest.mark.nightly
def test_a_run_in_double_precision_goes_on_where_it_was(key, tmp_path):
    model = sx.PINN(poisson(), width=4, depth=1, key=key)
    whole = train(model, sx.LevenbergMarquardt(hold=2), 6, check_every=2, run=tmp_path / "a")
    train(model, sx.LevenbergMarquardt(hold=2), 4, check_every=2, run=tmp_path / "b")
    resumed = train(model, sx.LevenbergMarquardt(hold=2), 6, check_every=2, run=tmp_path / "b")
    assert resumed.history.loss == whole.history.loss


@pytest.mark.nightly
def test_several_seeds(key):
    found = train(sx.PINN(poisson(), width=4, depth=1, key=key), sx.LevenbergMarquardt(), 3, seeds=2)
    assert len(found.members) == 2 and len({loss for loss in found.history.loss[0]}) == 2


@pytest.mark.nightly
def test_objectives_and_data_that_do_not_fit_are_named(key):
    model = sx.PINN(poisson(), width=4, depth=1, key=key)
    with pytest.raises(TypeError, match="sampler"):
        train(model, sx.LevenbergMarquardt(), 1, sampler=100)
    with pytest.raises(TypeError, match="does not know colour"):
        train(model, sx.LevenbergMarquardt(), 1, colour=1)
    data = sx.from_arrays({}, {"u": exact(GRID.coordinates[0])[None]}, grid=GRID)
    with pytest.raises(ValueError, match="residual of its problem alone"):
        sx.fit(model, data, optimizer=sx.LevenbergMarquardt(), epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"has the shape \(1,\) at one point"):
        wrong = poisson(residual=lambda u, p: u.xx + jnp.ones(1))
        train(sx.PINN(wrong, width=4, depth=1, key=key), sx.LevenbergMarquardt(), 1)
    with pytest.raises(FloatingPointError, match="not finite at step 0"):
        wrong = poisson(residual=lambda u, p: u.xx + jnp.log(-1 - u.at["x"]))
        train(sx.PINN(wrong, width=4, depth=1, key=key), sx.LevenbergMarquardt(), 1)


@pytest.mark.parametrize("unit, told", [(1e5, True), (1e-7, True), (3.0, False)])
def test_units_far_from_the_solution_are_told(unit, told, key, recwarn):
    problem = sx.Problem(
        "u", sx.Box(x=(0, 1e-6)), residual=lambda u, p: u.xx + 1e12 * unit * jnp.sin(jnp.pi * 1e6 * u.at["x"])
    )
    model = sx.PINN(problem, width=4, depth=1, key=key)
    model.objective(None, sampler=sx.UniformSampler(8))
    assert [str(w.message)[:16] for w in recwarn] == ["the solution of "] * told
    sx.RandomFeatures(problem, features=4, key=key).objective(None)  # linear: any unit
    assert len(recwarn) == told


def test_points_outside_and_arguments_without_meaning_are_refused(key):
    problem = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + p.nu)
    model = sx.PINN(problem, width=4, depth=1, key=key)
    with pytest.raises(ValueError, match=r"is not on the box of Grid.*: 1 of 2 points lie outside"):
        model.predict({}, at=sx.PointCloud(np.array([[0.5], [1.5]])))
    with pytest.raises(ValueError, match=r"fit\(batch_size=3\) has no meaning without data"):
        sx.fit(sx.PINN(poisson(), width=4, depth=1, key=key), optimizer=optax.adam(1e-3), steps=1, batch_size=3)
    with pytest.raises(AttributeError, match=r"nothing is called 'nu' here; there are no inputs. .* u.at\['x'\]"):
        sx.fit(model, sampler=sx.UniformSampler(8), optimizer=optax.adam(1e-3), steps=1, progress=False)
