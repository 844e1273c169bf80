"""Neural spectral methods: the basis, the two losses, what is learned without data, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import surrogax as sx
from surrogax.solvers.kernels.laplacian_eigenbasis import eigenfunctions
from surrogax.solvers.pde.declaration import Interval
from surrogax.solvers.pde.pointwise_derivatives import Jet
from surrogax.surrogates.operators.spectral_space import InSpace, SpectralSpace

MIXED = sx.Box(x=(0, 2, "periodic"), y=(1, 2), z=(0, 1, "neumann"))
SMALL = dict(width=4, depth=1)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet", "neumann"])
def test_eigenfunctions_and_their_derivatives(boundary):
    x = np.linspace(0, 1.5, 40)
    for order in range(4):
        ends = [eigenfunctions(5, x + h, 1.5, boundary, order) for h in (-1e-5, 1e-5)]
        slope = eigenfunctions(5, x, 1.5, boundary, order + 1)
        np.testing.assert_allclose((ends[1] - ends[0]) / 2e-5, slope, atol=1e-6 * abs(slope).max())
    np.testing.assert_allclose(
        eigenfunctions(5, jnp.asarray(x), 1.5, boundary), eigenfunctions(5, x, 1.5, boundary), atol=1e-5
    )


@pytest.mark.parametrize("factor", [1, 1.5])
def test_coefficients_of_values_and_values_at_points(factor):
    space = SpectralSpace(MIXED, (5, 4, 3))
    hat = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3, 2)), jnp.float32)
    grid = space.grid(factor)
    values = space.values(hat, grid)
    np.testing.assert_allclose(space.coefficients(values, grid), hat, atol=2e-6)
    np.testing.assert_allclose((grid.weights[..., None] * values**2).sum((0, 1, 2)), (hat**2).sum((0, 1, 2)), rtol=1e-5)
    points = grid.points.reshape(-1, 3)[::7]
    there = space.at(hat, sx.PointCloud(np.float32(points)))
    np.testing.assert_allclose(there, values.reshape(-1, 2)[::7], atol=1e-4)
    with pytest.raises(ValueError, match="finer grid"):
        space.coefficients(jnp.zeros((3, 6, 3, 1)), MIXED.grid((3, 6, 3)))


@pytest.mark.quick("2")
@pytest.mark.parametrize("factor", [1, 2])
def test_functions_of_space_and_time(factor):
    """Coefficients, Parseval's identity, derivatives by a difference quotient, and values at the instants of a task."""
    box = sx.Box(x=(0, 2, "periodic"), y=(1, 2))
    space = SpectralSpace(box, (5, 4), Interval(0.5, 2.0), 6)
    hat = jnp.asarray(np.random.default_rng(0).normal(size=(*space.shape, 2)), jnp.float32)
    grid, instants = space.grid(factor), space.instants(factor)
    values = space.values(hat, grid, instants=instants)
    np.testing.assert_allclose(space.coefficients(values, grid), hat, atol=5e-6)
    weights = space.weights(grid, instants)
    np.testing.assert_allclose(weights.sum(), space.size, rtol=1e-6)
    np.testing.assert_allclose((weights[..., None] * values**2).sum((0, 1, 2)), (hat**2).sum((0, 1, 2)), rtol=1e-5)
    jet = Jet(InSpace(hat[..., 0], space, grid, instants))
    later, earlier = (space.values(hat, grid, instants=instants + h)[..., 0] for h in (1e-3, -1e-3))
    np.testing.assert_allclose(jet.t, (later - earlier) / 2e-3, atol=2e-3 * abs(jet.t).max())
    np.testing.assert_allclose(jet.xxt, space.values(hat, grid, (1, 2, 0), instants)[..., 0])
    assert jet.at["t"].shape == (6 * factor, 1, 1) and 0.5 < jet.at["t"].min() < jet.at["t"].max() < 2
    there = grid.over_time(4, 0.5)
    expected = space.values(hat, grid, instants=np.array([0, 0.5, 1, 1.5]))
    np.testing.assert_allclose(space.at(hat, there), expected, atol=1e-4)
    cloud = sx.PointCloud(np.float32(grid.points.reshape(-1, 2))[:6])
    np.testing.assert_allclose(space.at(hat, cloud.over_time(4, 0.5)), expected.reshape(4, -1, 2)[:, :6], atol=1e-4)


def in_time(kind: str) -> sx.Problem:
    law = sx.random.PeriodicGP(0.5, modes=7)
    if kind == "heat":
        return sx.problem("heat", nu=0.005, u0=law, box=sx.Box.unit(1, "periodic"))
    if kind == "reaction and diffusion":
        return sx.problem("fisher_kpp", nu=0.02, rho=2.0, u0=sx.random.UnitRange(law))
    return sx.problem("navier_stokes", nu=1e-2, w0=law, f=0.0, stream_function=True, duration=1.0)


def solved(kind: str) -> dict | None:
    return {"psi": sx.InverseLaplacian("w")} if kind == "Navier-Stokes" else None


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["heat", "Navier-Stokes"])
def test_an_untrained_network_starts_at_the_initial_value(kind, key):
    """Exactly, on any grid; what is solved for in the coefficients follows."""
    problem = in_time(kind)
    model = sx.NeuralSpectral(problem, modes=9, degrees=4, solved=solved(kind), key=key, **SMALL)
    name, start = problem.unknowns[0], next(iter(problem.initial.values()))
    grid = problem.box.grid(12)
    field = jax.vmap(lambda k: problem.sample_inputs(k, grid)[start])(jax.random.split(key, 3))
    u = model.predict({start: field})[name]
    assert u.shape == (3, 33, *grid.shape)
    np.testing.assert_allclose(u[:, 0], field, atol=1e-5 * abs(field).max())
    assert abs(u[:, -1] - u[:, 0]).max() > 1e-3 * abs(field).max()
    if kind == "Navier-Stokes":
        objective = model.objective(None, samples=2)
        residual, _ = objective.residuals(model, objective.draw(None, None, key))
        stream = residual["stream"].at[..., 0, 0].set(0)  # no flow has a mean of w, which training has to learn
        assert abs(stream).max() < 1e-5 * abs(residual["transport"]).max()
        sx.check_surrogate(model)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "kind, modes, degrees, steps, error",
    [("heat", 7, 8, 600, 0.03), ("reaction and diffusion", 11, 8, 1000, 0.03), ("Navier-Stokes", 11, 8, 1000, 0.15)],
)
def test_trajectories_are_learned_without_data(kind, modes, degrees, steps, error, key):
    """Beside the solver, for initial values that training has not seen."""
    problem = in_time(kind)
    model = sx.NeuralSpectral(problem, modes=modes, degrees=degrees, width=16, depth=2, solved=solved(kind), key=key)
    adam = optax.adam(optax.exponential_decay(1e-2, steps, 1e-3), b2=0.95)
    fit = sx.fit(model, optimizer=adam, steps=steps, samples=8, check_every=100, progress=False)
    (start,), grid = problem.initial.values(), problem.box.grid(24)
    field = jax.vmap(lambda k: problem.sample_inputs(k, grid)[start])(jax.random.split(jax.random.key(7), 4))
    times = tuple(map(float, np.linspace(0, 1, 33)))
    exact = jax.jit(jax.vmap(lambda f: problem.solve({start: f}, grid, times=times).fields))(field)
    first, truth = problem.unknowns[0], {name: np.asarray(values) for name, values in exact.items()}
    for name, u in fit.predict({start: field}).items():
        assert np.linalg.norm(u - truth[name]) < error * np.linalg.norm(truth[name]), name
    moved = np.linalg.norm(truth[first] - truth[first][:, :1])
    assert moved > 5 * error * np.linalg.norm(truth[first]), "it would be enough to stand still"


def test_periodic_gaussian_processes():
    """Variance and covariance at a distance of three points, over 4000 draws in one dimension and two lengths."""
    law = sx.random.PeriodicGP(0.5, mean_mode=True)
    grid = sx.Box(x=(0, 3, "periodic")).grid(16)
    f = jax.jit(jax.vmap(lambda key: law.sample(key, grid)))(jax.random.split(jax.random.key(0), 4000))
    expected = np.exp(-2 * np.sin(np.pi * 3 / 16) ** 2 / 0.5**2)
    np.testing.assert_allclose([(f**2).mean(), (f * jnp.roll(f, 3, 1)).mean()], [1, expected], atol=0.05)
    without = sx.random.PeriodicGP(0.5, modes=7)
    g = jax.vmap(lambda key: without.sample(key, grid))(jax.random.split(jax.random.key(0), 50))
    np.testing.assert_allclose(g.mean(1), 0, atol=1e-6)
    waves = np.abs(np.fft.rfft(g, axis=1))
    assert waves[:, 4:].max() < 1e-5 * waves.max() and scipy.special.ive(4, 4.0) > 0.01


def quadratic(box: sx.Box, **laws) -> sx.Problem:
    """−Δu + u + c u² = f."""
    return sx.Problem(
        "u", box, inputs=laws, residual=lambda u, p: -u.xx - u.yy + u.value + p.c.value * u.value**2 - p.f.value
    )


def losses(problem, modes, key, **options):
    model = sx.NeuralSpectral(problem, modes=modes, key=key, **SMALL)
    objectives = [model.objective(None, samples=3, norm=norm, **options) for norm in ("spectral", "grid")]
    points = objectives[0].draw(None, None, key)
    return [jax.jit(lambda m, p, o=o: o.value(m, p)[0])(model, points) for o in objectives]


@pytest.mark.nightly
def test_spectral_and_grid_loss_agree_up_to_aliasing(key):
    """A linear equation and a source in the basis: to rounding. With a quadratic term what differs falls with the modes."""
    law = sx.random.PeriodicGP(0.4, modes=7)
    periodic = sx.Box.unit(2, "periodic")
    spectral, grid = losses(quadratic(periodic, f=law, c=0.0), 7, key)
    np.testing.assert_allclose(spectral, grid, rtol=2e-5)
    apart = []
    for modes in (7, 11, 15):
        spectral, grid = losses(quadratic(periodic, f=sx.random.PeriodicGP(0.4), c=0.0), modes, key)
        apart.append(float(abs(grid / spectral - 1)))
    assert apart[0] > 4 * apart[1] > 16 * apart[2]


@pytest.mark.quick("dirichlet")
@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_poisson_is_learned_without_data(boundary, key):
    """The error against the exact solution of what the modes hold of the source."""
    law = sx.random.PeriodicGP(0.5, modes=5)
    problem = sx.problem("poisson", f=law, box=sx.Box.unit(2, boundary))
    model = sx.NeuralSpectral(problem, modes=7, key=key, **SMALL)
    steps = 600 if boundary == "periodic" else 2000
    adam = optax.adam(optax.exponential_decay(3e-2, steps, 1e-3), b2=0.95)
    fit = sx.fit(model, optimizer=adam, steps=steps, samples=8, check_every=200, progress=False)
    assert fit.history.loss[-1][0] < 1e-2
    space, grid = model.settings.space, problem.box.grid(model.task.domain.at_shape((24, 24)).shape)
    f = jax.vmap(lambda k: law.sample(k, grid))(jax.random.split(jax.random.key(5), 6))
    hat = jax.vmap(lambda f: space.coefficients(f[..., None], grid))(f)
    k2 = np.where(space.eigenvalues == 0, np.inf, space.eigenvalues)[..., None]
    exact = np.asarray(jax.vmap(lambda h: space.values(h, grid))(hat / k2))[..., 0]
    predicted = fit.predict({"f": f})["u"]
    assert np.linalg.norm(predicted - exact) < 0.05 * np.linalg.norm(exact)
    if boundary == "dirichlet":
        assert abs(predicted[:, 0]).max() < 1e-6 * abs(predicted).max()
    else:
        assert abs(predicted.mean((1, 2))).max() < 1e-6 * abs(predicted).max()
        sx.check_surrogate(fit)


@pytest.mark.nightly
def test_nonlinear_equations_with_numbers_and_two_unknowns(key):
    """−u'' + c u + u³ = f and a coupled second equation, on Neumann sides: the loss falls, in units of any length."""
    lengths, losses = (1.0, 1e-3), []
    for length in lengths:
        problem = sx.Problem(
            ("u", "v"),
            sx.Box(x=(0, length, "neumann")),
            inputs={"f": sx.random.GaussianField(alpha=3, mean_mode=True), "c": sx.random.Uniform(1, 2)},
            residual=lambda w, p, length=length: {
                "first": -(length**2) * w.u.xx + p.c.value * w.u.value + w.u.value**3 - p.f.value,
                "second": w.v.value - w.u.value,
            },
        )
        model = sx.NeuralSpectral(problem, modes=8, key=key, **SMALL)
        fit = sx.fit(model, optimizer=optax.adam(1e-2), steps=150, samples=8, check_every=50, progress=False)
        losses.append([loss[0] for loss in fit.history.loss])
    assert losses[0][-1] < 0.2 * losses[0][0]
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=0.5)


def test_what_it_does_not_solve_is_said(key):
    law = sx.random.PeriodicGP()
    box = sx.Box.unit(2, "periodic")
    with pytest.raises(ValueError, match="declares `residual`"):
        sx.NeuralSpectral(sx.problem("darcy"), modes=5, key=key)
    with pytest.raises(ValueError, match="is in time and declares no initial value"):
        sx.NeuralSpectral(
            sx.Problem("u", box, time=(0, 1), inputs={"c": law}, residual=lambda u, p: u.t), modes=5, key=key
        )
    with pytest.raises(ValueError, match=r"degrees=4\): .* is steady"):
        sx.NeuralSpectral(sx.problem("poisson", f=law, box=box), modes=5, degrees=4, key=key)
    flow = in_time("Navier-Stokes")
    for wrong in ({"w": sx.InverseLaplacian("psi")}, {"u": sx.InverseLaplacian("w")}):
        with pytest.raises(ValueError, match=r"solved=.*expected some of the unknowns \('w', 'psi'\)"):
            sx.NeuralSpectral(flow, modes=5, solved=wrong, key=key)
    with pytest.raises(ValueError, match=r"solved={'psi': …}\) returned an array of shape \(\)"):
        sx.NeuralSpectral(flow, modes=5, solved={"psi": lambda hats, space: hats["w"].sum()}, key=key)
    with pytest.raises(ValueError, match=r"degrees=1\): expected 2 or more"):
        sx.NeuralSpectral(sx.problem("burgers"), modes=5, degrees=1, key=key)
    with pytest.raises(ValueError, match="prescribes 1"):
        sx.NeuralSpectral(sx.problem("poisson", f=law, g=1.0), modes=5, key=key)
    with pytest.raises(ValueError, match="take one more"):
        sx.NeuralSpectral(sx.problem("poisson", f=law, box=box), modes=6, key=key)
    with pytest.raises(ValueError, match="no random input"):
        sx.NeuralSpectral(sx.problem("poisson", box=box), modes=5, key=key)
