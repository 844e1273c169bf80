"""Heat, Burgers and Kuramoto-Sivashinsky: exact solutions, orders, invariants, derivatives, generated data, failures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.datasets import generate
from surrogax.solvers import random
from surrogax.solvers.linear import Status
from surrogax.solvers.pde import periodic_evolution, problems

TIMES = np.array([0.0, 0.1, 0.2, 0.5])
PERIODIC = Grid.unit_interval(64, "periodic")


@functools.partial(jax.jit, static_argnames=("problem", "grid", "times", "rtol"))
def _run(problem, fields, grid, times, rtol):
    return problem.solve(fields, grid, rtol=rtol, times=np.array(times))


def run(problem, fields, grid=PERIODIC, times=TIMES, rtol=None):
    solution, stats = _run(problem, fields, grid, tuple(times), rtol)
    return np.asarray(solution["u"]), jax.tree.map(np.asarray, stats)


def norms(u):
    return np.sqrt((u**2).mean(-1))


# Heat -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box, shape, waves",
    [
        (Box(x=(-1, 2, "periodic")), (12,), [("sin", 2 * np.pi / 3)]),
        (Box(x=(-1, 2)), (11,), [("sin", 4 * np.pi / 3)]),
        (Box(x=(0, 2, "neumann")), (9,), [("cos", 3 * np.pi / 2)]),
        (
            Box(x=(0, 1), y=(0, 2, "neumann"), z=(0, 3, "periodic")),
            (9, 6, 8),
            [("sin", 2 * np.pi), ("cos", np.pi / 2), ("cos", 4 * np.pi / 3)],
        ),
    ],
    ids=["periodic", "dirichlet", "neumann", "mixed"],
)
def test_heat_is_exact_for_fields_of_the_grid(box, shape, waves):
    grid, nu = box.grid(shape), 0.05
    u0, decay = np.ones(shape), 0.0
    for x, low, (wave, k) in zip(np.moveaxis(grid.points, -1, 0), box.lower, waves, strict=True):
        u0, decay = u0 * getattr(np, wave)(k * (x - low)), decay + nu * k**2
    exact = np.exp(-decay * TIMES).reshape(-1, *[1] * len(shape)) * u0
    problem = problems.heat.heat(nu, random.GaussianField(), box=box)
    for double, bound in ((True, 2e-14), (False, 2e-6)):
        with jax.enable_x64(double):
            u, stats = run(problem, {"u0": jnp.asarray(u0, float)}, grid)
        assert stats.status == Status.converged and stats.iterations == 0
        assert u.dtype == (np.float64 if double else np.float32) and abs(u - exact).max() < bound


def test_derivatives_of_heat(x64):
    box = Box.unit(1)
    grid = box.grid(9)
    u0 = np.sin(np.pi * grid.coordinates[0])
    value = lambda nu: problems.heat.heat(box=box).solve({"nu": nu, "u0": u0}, grid, times=TIMES)["u"].sum(-1)  # noqa: E731
    slope = jax.jit(jax.jacfwd(value))(0.1)
    np.testing.assert_allclose(slope, -(np.pi**2) * TIMES * np.exp(-0.1 * np.pi**2 * TIMES) * u0.sum(), rtol=1e-12)


# Burgers --------------------------------------------------------------------------------------------------------------


def cole_hopf(x, t, nu, a=0.9):
    """u = −2ν θ_x/θ with θ = 1 + a cos(2πx) exp(−4π²νt), a positive solution of the heat equation."""
    k = 2 * np.pi
    wave = a * np.exp(-nu * k**2 * np.asarray(t)[:, None])
    return 2 * nu * k * wave * np.sin(k * x) / (1 + wave * np.cos(k * x))


def test_burgers_is_the_cole_hopf_solution():
    grid, nu = Grid.unit_interval(128, "periodic"), 0.05
    exact = cole_hopf(grid.coordinates[0], TIMES, nu)
    for double, dt, bound in ((True, None, 5e-6), (True, 1e-3, 1e-9), (False, 5e-3, 1e-5)):
        with jax.enable_x64(double):
            u, stats = run(problems.burgers.burgers(nu, dt=dt), {"u0": jnp.asarray(exact[0], float)}, grid)
        assert stats.status == Status.converged and (dt is None or stats.iterations == round(0.5 / dt))
        assert u.dtype == (np.float64 if double else np.float32)
        assert abs(u - exact).max() < bound * abs(exact).max()


@pytest.mark.nightly
def test_burgers_is_spectrally_accurate(x64):
    """Twice as many points square the error, about."""
    errors = []
    for n in (16, 32, 64):
        grid = Grid.unit_interval(n, "periodic")
        exact = cole_hopf(grid.coordinates[0], TIMES, 0.05)
        u, _ = run(problems.burgers.burgers(0.05, dt=2e-3), {"u0": exact[0]}, grid)
        errors.append(abs(u - exact).max())
    assert errors[1] < errors[0] ** 1.6 and errors[2] < errors[1] ** 1.6, errors


@pytest.mark.nightly
def test_a_random_viscosity_gives_the_solution_of_a_number(key):
    """Under vmap over both inputs, where the coefficients of the steps are computed in the program."""
    declared = problems.burgers.burgers(random.Uniform(0.01, 0.05))
    nus = np.array([0.012, 0.03], np.float32)
    u0 = np.stack([cole_hopf(PERIODIC.coordinates[0], [0.0], nu)[0] for nu in nus]).astype(np.float32)
    batch = jax.vmap(lambda nu, u: declared.solve({"nu": nu, "u0": u}, PERIODIC, times=TIMES))
    solution, stats = jax.jit(batch)(nus, u0)
    assert (stats.status == Status.converged).all() and len(set(stats.iterations.tolist())) == 1
    single, _ = run(declared, {"nu": nus[1], "u0": u0[1]})
    number, _ = run(problems.burgers.burgers(float(nus[1]), dt=0.01), {"u0": u0[1]})
    np.testing.assert_allclose(solution["u"][1], single, atol=2e-6)
    np.testing.assert_allclose(single, number, atol=2e-5)
    assert abs(solution["u"][0] - cole_hopf(PERIODIC.coordinates[0], TIMES, nus[0])).max() < 2e-5


def test_mass_is_conserved_and_energy_decays_as_it_must(x64):
    """½ d/dt ∫u² = −ν ∫u_x², which dealiasing preserves: checked by quadrature over time."""
    nu, times = 0.01, np.linspace(0, 0.5, 201)
    u0 = random.GaussianField(3, 5, 4, "periodic").sample(jax.random.key(1), PERIODIC) + 0.3
    u, _ = run(problems.burgers.burgers(nu), {"u0": u0}, times=times)
    assert abs(u.mean(-1) - u[0].mean()).max() < 1e-14
    k = 2 * np.pi * np.arange(33)
    dissipation = nu * norms(np.fft.irfft(1j * k * np.fft.rfft(u), 64)) ** 2
    energy = norms(u) ** 2 / 2
    lost = (dissipation[0] + 4 * dissipation[1:-1:2].sum() + 2 * dissipation[2:-1:2].sum() + dissipation[-1]) / 1200
    assert (np.diff(energy) < 0).all() and energy[-1] < 0.9 * energy[0]
    np.testing.assert_allclose(energy[0] - energy[-1], lost, rtol=1e-5)


@pytest.mark.parametrize("mode", [5, 7])
def test_products_do_not_alias(x64, mode):
    """On 16 points the square of mode 5 appears as mode 6, that of mode 7 as mode 2: both are dropped, so they just decay."""
    grid = Grid.unit_interval(16, "periodic")
    u0 = np.cos(2 * np.pi * mode * grid.coordinates[0])
    u, _ = run(problems.burgers.burgers(0.01), {"u0": u0}, grid)
    np.testing.assert_allclose(u, np.exp(-0.01 * (2 * np.pi * mode) ** 2 * TIMES)[:, None] * u0, atol=1e-13)


@pytest.mark.nightly
def test_default_steps_follow_their_rule(monkeypatch):
    """½ max(h, ν/U)/U, at most L²/(800 ν), with U the largest of 64 draws; rtol by the fourth root."""
    steps = []
    monkeypatch.setattr(periodic_evolution, "integrate", lambda method, v, times, dt: (v[None], steps.append(dt) or 1))
    law = random.GaussianField(2, 5, 2, "periodic")
    draws = jax.vmap(lambda key: law.sample(key, PERIODIC))(jax.random.split(jax.random.key(0), 64))
    speed = float(abs(draws).max())

    def step(nu, n=64, rtol=None, **options):
        problem = problems.burgers.burgers(nu, law, **options)
        problem.solve({"u0": np.zeros(n), "nu": 0.1}, problem.box.grid(n), rtol=rtol, times=[1.0])
        return steps[-1]

    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    for n in (64, 256):
        close(step(1e-5, n), 0.5 / n / speed)
    close(step(0.03), 0.5 * 0.03 / speed**2)
    close(step(1.0, box=Box(x=(0, 3, "periodic"))), 9 / 800)
    np.testing.assert_allclose(step(random.Uniform(0.02, 0.03), 256), 0.5 * 0.02 / speed**2, rtol=0.03)
    close(step(1e-5, rtol=1e-10), step(1e-5) / 10)
    close(step(1e-5, rtol=1e-1), step(1e-5) * 2)
    close(step(1e-5, rtol=1e-10, dt=0.1), 0.1)


# Order ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["burgers", "kuramoto_sivashinsky"])
def test_order_in_time(x64, name):
    if name == "burgers":
        make, grid, stop, steps = functools.partial(problems.burgers.burgers, 0.02), PERIODIC, 0.3, (16, 32, 64)
        u0 = cole_hopf(grid.coordinates[0], [0.0], 0.05)[0]
    else:
        make, stop, steps = problems.kuramoto_sivashinsky.kuramoto_sivashinsky, 4.0, (160, 320, 640)
        grid = Box(x=(0, 22, "periodic")).grid(32)
        x = 2 * np.pi * grid.coordinates[0] / 22
        u0 = np.cos(x) + np.sin(2 * x) + 0.5 * np.cos(3 * x)
    finals = [run(make(dt=stop / m), {"u0": u0}, grid, [stop])[0] for m in (*steps, 16 * steps[-1])]
    errors = [abs(u - finals[-1]).max() for u in finals[:-1]]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - 4) < 0.2 and errors[-1] < 1e-5, (errors, slopes)


# Kuramoto-Sivashinsky -------------------------------------------------------------------------------------------------


def test_small_waves_grow_and_decay_as_linear_theory_says(x64):
    problem = problems.kuramoto_sivashinsky.kuramoto_sivashinsky()
    grid, times = problem.box.grid(64), np.array([1.0, 5.0])
    for mode in (1, 2, 4):
        k = 2 * np.pi * mode / 22
        u0 = 1e-9 * np.cos(k * grid.coordinates[0])
        u, _ = run(problem, {"u0": u0}, grid, times)
        np.testing.assert_allclose(u, np.exp((k**2 - k**4) * times)[:, None] * u0, atol=1e-16)


@pytest.mark.nightly
def test_the_attractor(key):
    """On (0, 32π): amplitude about 1.3 whatever the start, mean kept, energy in the unstable waves, none at the cut-off."""
    problem = problems.kuramoto_sivashinsky.kuramoto_sivashinsky(box=Box(x=(0, 32 * np.pi, "periodic")))
    grid, times = problem.box.grid(256), np.linspace(100, 150, 26)
    starts = [2 * problem.sample_inputs(key, grid)["u0"], 0.1 * jnp.cos(jnp.asarray(grid.coordinates[0]) / 2)]
    for u0 in starts:
        u, stats = run(problem, {"u0": u0}, grid, times)
        assert stats.status == Status.converged and stats.iterations == 3000
        assert 1.15 < norms(u).mean() < 1.45 and abs(u).max() < 4.5
        assert abs(u.mean(-1)).max() < 1e-4
        spectrum = norms(abs(np.fft.rfft(u)).T)
        assert 0.5 < np.argmax(spectrum) / 16 < 1.0
        assert spectrum[75:].max() < 1e-4 * spectrum.max()


def test_chaos_grows_at_the_rate_of_the_largest_exponent(x64):
    """Two trajectories on (0, 22) part by a factor of e in about 20 units of time."""
    problem = problems.kuramoto_sivashinsky.kuramoto_sivashinsky()
    grid = problem.box.grid(48)
    u0 = jnp.cos(2 * jnp.pi * jnp.asarray(grid.coordinates[0]) / 11) + 0.1 * jnp.cos(
        2 * jnp.pi * grid.coordinates[0] / 22
    )
    times = np.linspace(200, 500, 31)
    u, _ = run(problem, {"u0": u0}, grid, times)
    v, _ = run(problem, {"u0": u0 * (1 + 1e-12)}, grid, times)
    rate = np.polyfit(times, np.log(norms(u - v) + 1e-300), 1)[0]
    assert 0.03 < rate < 0.07, rate


# Derivatives ----------------------------------------------------------------------------------------------------------


def test_derivatives_are_those_of_finite_differences(x64):
    declared, grid = problems.burgers.burgers(random.Uniform(0.01, 0.05)), Grid.unit_interval(32, "periodic")
    rng = np.random.default_rng(0)
    x = 2 * np.pi * grid.coordinates[0]
    start, weight = jnp.asarray(np.sin(x) + 0.5 * np.cos(2 * x)), rng.normal(size=(len(TIMES), 32))
    direction = jnp.asarray(rng.normal(size=32))

    @jax.jit
    def value(nu, u0):
        return (weight * declared.solve({"nu": nu, "u0": u0}, grid, times=TIMES)["u"]).sum()

    slope_nu, slope_u0 = jax.jit(jax.grad(value, (0, 1)))(0.02, start)
    e = 1e-4
    central = lambda f: (8 * (f(e) - f(-e)) - (f(2 * e) - f(-2 * e))) / (12 * e)  # noqa: E731
    np.testing.assert_allclose(slope_nu, central(lambda s: value(0.02 + s / 10, start)) * 10, rtol=1e-7)
    np.testing.assert_allclose(slope_u0 @ direction, central(lambda s: value(0.02, start + s * direction)), rtol=1e-8)


# Generated data -------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("name", [pytest.param("heat", marks=pytest.mark.nightly), "burgers", "kuramoto_sivashinsky"])
def test_generated_trajectories(key, name):
    laws = {} if name == "kuramoto_sivashinsky" else {"nu": random.Uniform(0.01, 0.02)}
    problem = getattr(getattr(problems, name), name)(u0=random.GaussianField(3, 1, 1, "periodic"), **laws)
    options = {"label_samples": 2 if name == "burgers" else 0, "cache": False, "progress": False}
    data = generate(problem, 3, 32, key, times=jnp.linspace(0, 1, 5), **options)
    assert (
        data["u"].shape == (3, 5, 32) and data["u0"].shape == (3, 32) and data.times.tolist() == [0, 0.25, 0.5, 0.75, 1]
    )
    np.testing.assert_allclose(data["u"][:, 0], data["u0"], atol=1e-6)
    assert name != "burgers" or 0 < data.attributes["label_error"]["u"] < 0.05
    (rows,) = data.snapshots("u")
    np.testing.assert_array_equal(rows[7], data["u"][1, 2])
    fields = {k: data[k][1] for k in problem.laws}
    u, _ = run(problem, fields, data.grid, data.times)
    np.testing.assert_allclose(u, data["u"][1], atol=2e-5)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_step_that_is_too_long_is_reported():
    problem = problems.burgers.burgers(1e-3, dt=0.1)
    u, stats = run(problem, {"u0": 3 * np.sin(2 * np.pi * PERIODIC.coordinates[0]).astype(np.float32)}, times=[10.0])
    assert stats.status == Status.non_finite and not np.isfinite(u).all()


def test_wrong_use_is_named():
    problem = problems.burgers.burgers(random.Uniform(0.01, 0.1))
    fields = {"u0": np.zeros(64), "nu": 0.1}
    with pytest.raises(ValueError, match="burgers: give the instants"):
        problem.solve(fields, PERIODIC)
    with pytest.raises(ValueError, match=r"'nu'\] are random and were not given, only \['u0'\]"):
        problem.solve({"u0": np.zeros(64)}, PERIODIC, times=TIMES)
    with pytest.raises(ValueError, match=r"u0 has shape \(32,\)"):
        problem.solve({**fields, "u0": np.zeros(32)}, PERIODIC, times=TIMES)
    for make in (problems.burgers.burgers, problems.heat.heat):
        with pytest.raises(ValueError, match="does not suit"):
            make(random.Uniform(0.01, 0.1)).solve(fields, Grid.unit_interval(64), times=TIMES)
    for make in (problems.burgers.burgers, problems.kuramoto_sivashinsky.kuramoto_sivashinsky):
        with pytest.raises(ValueError, match="lives in a periodic interval"):
            make(box=Box.unit(1))
    with pytest.raises(ValueError, match="the first not before 0"):
        problems.heat.heat().solve(fields, PERIODIC, times=[-1.0, 0.0])
    with pytest.raises(TypeError, match="static numbers"):
        jax.jit(lambda t: problem.solve(fields, PERIODIC, times=t))(TIMES)
