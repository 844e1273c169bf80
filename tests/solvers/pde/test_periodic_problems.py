"""Problems on periodic boxes: exact solutions, measured orders, invariants, default steps, derivatives, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.datasets import generate
from surrogax.solvers import pde, random
from surrogax.solvers.linear import Status
from surrogax.solvers.pde import problem

PI = np.pi


def run(declared, inputs, grid, times, **options):
    """The solution as NumPy arrays; it must have converged."""
    solved = jax.jit(lambda inputs: declared.solve(inputs, grid, times=np.asarray(times), **options))(inputs)
    assert solved.status == Status.converged
    return {name: np.asarray(values) for name, values in solved.fields.items()}


def lines(grid):
    return np.moveaxis(grid.points, -1, 0)


# Exact solutions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16,), (15,), pytest.param((8, 9, 10), marks=pytest.mark.nightly)])
def test_advection_shifts(x64, shape):
    """By whole spacings also what the grid cannot resolve but the alternating wave: jumps; by parts the waves it holds."""
    ndim = len(shape)
    box = Box.unit(ndim, "periodic")
    grid, along = box.grid(shape), (1.0, -2.0, 0.5)[:ndim]
    declared = problem("advection", speed=0.7, direction=along, box=box)
    x = lines(grid)
    times = np.array([0.0, 0.11, 3.0])

    def moved(t):
        return sum(np.sin(4 * PI * (x_i - 0.7 * c * t) + i) for i, (x_i, c) in enumerate(zip(x, along, strict=True)))

    u = run(declared, {"u0": moved(0.0)}, grid, times)["u"]
    np.testing.assert_allclose(u, np.stack([moved(t) for t in times]), atol=1e-12)
    if ndim == 1 and shape[0] % 2:
        jump = (x[0] < 0.4).astype(float)
        shifted = run(declared, {"u0": jump}, grid, [3 / (0.7 * shape[0])])["u"][0]
        np.testing.assert_allclose(shifted, np.roll(jump, 3), atol=1e-12)


def test_phases_of_a_number_are_exact_in_single_precision():
    declared = problem("advection", speed=7.0)
    grid = declared.box.grid(64)
    u0 = jnp.asarray(np.sin(20 * PI * grid.coordinates[0]), jnp.float32)
    u = run(declared, {"u0": u0}, grid, [100.0])["u"][0]
    assert u.dtype == np.float32
    np.testing.assert_allclose(u, u0, atol=5e-6)  # 7000 turns of this wave


def test_waves_swing_and_keep_their_energy(x64):
    box = Box(x=(0, 2, "periodic"), y=(0, 1, "periodic"))
    declared, grid = problem("wave", speed=1.5, box=box), box.grid((12, 15))
    x, y = lines(grid)
    shape, omega = np.cos(PI * x) * np.sin(4 * PI * y), 1.5 * PI * np.sqrt(17)
    times = np.array([0.0, 0.3, 10.0])
    start = {"u0": 2 * shape + 0.5, "v0": 3 * shape - 0.25}
    u = run(declared, start, grid, times)
    t = times[:, None, None]
    np.testing.assert_allclose(
        u["u"], (2 * np.cos(omega * t) + 3 / omega * np.sin(omega * t)) * shape + 0.5 - t / 4, atol=1e-12
    )
    np.testing.assert_allclose(
        u["v"], (3 * np.cos(omega * t) - 2 * omega * np.sin(omega * t)) * shape - 0.25, atol=1e-11
    )
    law = {k: v.sample(jax.random.key(0), grid) for k, v in declared.laws.items()}
    u = run(declared, law, grid, times)
    slopes = [
        np.fft.irfftn(1j * k * np.fft.rfftn(u["u"], axes=(1, 2)), grid.shape, axes=(1, 2)) for k in waves_of(grid)
    ]
    energy = (u["v"] ** 2 + 2.25 * sum(s**2 for s in slopes)).mean((1, 2))
    assert energy[0] > 0.1 and abs(energy / energy[0] - 1).max() < 1e-2  # but for the share of the alternating waves


def waves_of(grid):
    (n, m), (a, b) = grid.shape, grid.box.extent
    return 2 * PI / a * np.fft.fftfreq(n, 1 / n)[:, None], 2 * PI / b * np.arange(m // 2 + 1)[None]


def test_a_decaying_vortex_is_the_one_of_taylor_and_green(x64):
    """w = cos kx cos ky decays by exp(−2νk²t), to rounding: its advection is zero."""
    declared = problem("navier_stokes", nu=0.01, f=0.0, drag=0.3, stream_function=True)
    grid, times = declared.box.grid((24, 20)), np.array([0.0, 1.0, 2.0])
    x, y = lines(grid)
    w0 = np.cos(2 * PI * x) * np.cos(2 * PI * y)
    u = run(declared, {"w0": w0}, grid, times)
    decay = np.exp(-(0.3 + 0.08 * PI**2) * times)[:, None, None]
    np.testing.assert_allclose(u["w"], decay * w0, atol=1e-13)
    np.testing.assert_allclose(u["psi"], decay * w0 / (8 * PI**2), atol=1e-14)


def test_the_shear_flow_of_kolmogorov_is_steady(x64):
    declared = problem("kolmogorov_flow", nu=0.5, drag=0.1)
    grid = declared.box.grid(20)
    w0 = -4 / (0.1 + 0.5 * 16) * np.cos(4 * lines(grid)[1])
    np.testing.assert_allclose(run(declared, {"w0": w0}, grid, [3.0])["w"][0], w0, atol=1e-12)


def soliton(x, t, c=2.0, mu=0.1):
    """3c sech²(½√c (x − ct)/μ) on (−1, 1), where it is 1e-6 of its height at the sides."""
    moved = (x - c * t + 1) % 2 - 1
    return 3 * c / np.cosh(0.5 * np.sqrt(c) * moved / mu) ** 2


def test_a_soliton_of_korteweg_and_de_vries_travels(x64):
    declared = problem("korteweg_de_vries", mu=0.1, dt=5e-4)
    grid = declared.box.grid(128)
    (x,) = grid.coordinates
    u = run(declared, {"u0": soliton(x, 0)}, grid, [0.2])["u"][0]
    assert abs(u - soliton(x, 0.2)).max() < 2e-4 * 6


def test_a_wave_of_klein_and_gordon(x64):
    """A constant field is Duffing's oscillator; small waves swing with √(m² + c²k²), exactly for g = 0."""
    declared = problem("klein_gordon", speed=2.0, mass=1.5, coupling=0.0)
    grid, times = declared.box.grid(24), np.array([0.0, 7.3])
    wave = np.cos(3 * PI * grid.coordinates[0])
    omega = np.hypot(1.5, 6 * PI)
    u = run(declared, {"u0": wave}, grid, times)
    np.testing.assert_allclose(u["u"], np.cos(omega * times)[:, None] * wave, atol=1e-11)
    np.testing.assert_allclose(u["v"], -omega * np.sin(omega * times)[:, None] * wave, atol=1e-10)


def test_logistic_growth_of_a_constant_population(x64):
    """Growth and competition balance and are stepped together: with growth in the exponential the error is 4.0e-7."""
    declared = problem("fisher_kpp", dt=0.02)
    u = run(declared, {"u0": np.full(16, 0.1)}, declared.box.grid(16), [0.5])["u"]
    np.testing.assert_allclose(u, 1 / (1 + 9 * np.exp(-2.5)), rtol=3e-7)


def test_phases_of_allen_and_cahn(x64):
    """u' = r (u − u³) from ½: u = (1 + 3 exp(−2rt))^(−½)."""
    declared = problem("allen_cahn", dt=0.0025)
    u = run(declared, {"u0": np.full(16, 0.5)}, declared.box.grid(16), [0.3])["u"]
    np.testing.assert_allclose(u, (1 + 3 * np.exp(-3.0)) ** -0.5, rtol=1e-9)


@pytest.mark.quick("dirichlet")
@pytest.mark.parametrize("condition", ["periodic", "dirichlet"])
def test_helmholtz_above_the_lowest_frequency(x64, condition):
    box = Box(x=(-1, 1, condition), y=(-1, 1, condition))
    declared, grid = problem("helmholtz", k=5.3, box=box), box.grid((33, 40))
    x, y = lines(grid)
    exact = np.sin(PI * x) * np.sin(4 * PI * y)
    solved = declared.solve({"f": (5.3**2 - 17 * PI**2) * exact}, grid)
    assert solved.status == Status.converged
    np.testing.assert_allclose(solved["u"], exact, atol=1e-13)


# Orders ---------------------------------------------------------------------------------------------------------------


def smooth(*x):
    return sum(np.sin(x_i) + 0.5 * np.cos(2 * x_i + i) for i, x_i in enumerate(x)) / len(x)


def phases(grid):
    """The coordinates, scaled to one turn."""
    return [2 * PI * (x - a) / b for x, a, b in zip(lines(grid), grid.box.lower, grid.box.extent, strict=True)]


ORDERS = {  # the problem for a step, points, end, steps
    "navier_stokes": (lambda dt: problem("navier_stokes", nu=2e-3, dt=dt), 32, 2.0, 16),
    "allen_cahn": (lambda dt: problem("allen_cahn", epsilon=0.02, dt=dt), 64, 0.5, 10),
    "korteweg_de_vries": (lambda dt: problem("korteweg_de_vries", mu=0.1, dt=dt), 64, 0.2, 40),
    "kuramoto_sivashinsky_2d": (lambda dt: problem("kuramoto_sivashinsky_2d", dt=dt), 32, 4.0, 20),
    "fisher_kpp": (lambda dt: problem("fisher_kpp", nu=0.05, dt=dt), 48, 0.5, 10),
    "gray_scott": (
        lambda dt: problem("gray_scott", v0=random.Bumps(), diffusion_u=2e-3, diffusion_v=1e-3, dt=dt), 24, 10.0, 20,
    ),
    "klein_gordon": (lambda dt: problem("klein_gordon", dt=dt), 32, 1.0, 10),
}  # fmt: skip


@pytest.mark.quick("navier_stokes")
@pytest.mark.parametrize("name", ORDERS)
def test_the_order_in_time_is_four(x64, name):
    make, n, stop, steps = ORDERS[name]
    grid = make(None).box.grid(n)
    start = smooth(*phases(grid))
    inputs = {"v0" if name == "gray_scott" else dict(make(None).initial)[make(None).unknowns[0]]: start}
    if name in ("gray_scott", "fisher_kpp"):
        inputs = {k: 0.5 + 0.2 * start for k in inputs}
    finals = [
        np.concatenate([u.ravel() for u in run(make(stop / m), inputs, grid, [stop]).values()])
        for m in (steps, 2 * steps, 4 * steps, 32 * steps)
    ]
    errors = [abs(u - finals[-1]).max() for u in finals[:-1]]
    order = np.log2(errors[1] / errors[2])
    assert abs(order - 4) < 0.3 and 1e-11 < errors[2] < 1e-3, (errors, order)


# Invariants -----------------------------------------------------------------------------------------------------------


def test_inviscid_flow_keeps_energy_enstrophy_and_the_mean(x64):
    declared = problem("navier_stokes", nu=0.0, f=0.0, stream_function=True, dt=0.01)
    grid = declared.box.grid(32)
    w0 = smooth(*phases(grid)) + 0.3 * np.sin(phases(grid)[0] - phases(grid)[1])
    u = run(declared, {"w0": w0 + 0.2}, grid, np.linspace(0, 2, 5))
    w, psi = u["w"], u["psi"]
    assert abs(w.mean((1, 2)) - 0.2).max() < 1e-14
    for integral in ((w**2).mean((1, 2)), (w * psi).mean((1, 2))):
        assert abs(integral / integral[0] - 1).max() < 1e-8
    assert abs(w[-1] - w[0]).max() > 0.1


@pytest.mark.nightly
def test_the_flow_turns_with_the_square(x64):
    """Mirrored in the diagonal, w changes its sign, and so must the forcing."""
    declared = problem("navier_stokes", f=random.GaussianField(boundary="periodic"), nu=1e-3)
    grid = declared.box.grid(32)
    w0, f = smooth(*phases(grid)), 0.1 * np.sin(phases(grid)[0])
    u = run(declared, {"w0": w0, "f": f}, grid, [1.0])["w"][0]
    mirrored = run(declared, {"w0": -w0.T, "f": -f.T}, grid, [1.0])["w"][0]
    np.testing.assert_allclose(mirrored, -u.T, atol=1e-13)
    assert abs(u - w0).max() > 0.05


def test_solitons_keep_mass_momentum_and_energy(x64):
    declared = problem("korteweg_de_vries", mu=0.05, dt=2e-3)
    grid = declared.box.grid(96)
    u = run(declared, {"u0": np.cos(PI * grid.coordinates[0]) + 0.1}, grid, np.linspace(0, 0.4, 5))["u"]
    slope = np.fft.irfft(1j * PI * np.arange(49) * np.fft.rfft(u), 96)
    energy = (u**3 / 6 - 0.05**2 * slope**2 / 2).mean(-1)
    assert abs(u.mean(-1) - 0.1).max() < 1e-14
    assert abs((u**2).mean(-1) / (u**2).mean(-1)[0] - 1).max() < 1e-6
    assert abs(energy / energy[0] - 1).max() < 1e-5 and abs(u[-1] - u[0]).max() > 0.5


def test_the_energy_of_klein_and_gordon_is_kept_and_that_of_allen_and_cahn_falls(x64):
    declared = problem("klein_gordon", dt=0.01)
    grid = declared.box.grid(48)
    k = PI * np.arange(25)
    slope = lambda u: np.fft.irfft(1j * k * np.fft.rfft(u), 48)  # noqa: E731
    u = run(declared, {"u0": smooth(*phases(grid))}, grid, np.linspace(0, 5, 6))
    energy = (u["v"] ** 2 + slope(u["u"]) ** 2 + u["u"] ** 2 + u["u"] ** 4 / 2).mean(-1)
    assert abs(energy / energy[0] - 1).max() < 1e-6
    declared = problem("allen_cahn", epsilon=0.01)
    u = run(declared, {"u0": smooth(*phases(grid))}, grid, np.linspace(0, 1, 11))["u"]
    energy = (0.01 * slope(u) ** 2 / 2 + 5 / 4 * (1 - u**2) ** 2).mean(-1)
    assert (np.diff(energy) < 0).all() and energy[-1] < 0.8 * energy[0]


@pytest.mark.nightly
def test_both_forms_of_the_advection_agree():
    """The square of float64 and the flux of float32, whose error is rounding."""
    grid = Box.unit(2, "periodic").grid((30, 25))
    w0 = smooth(*phases(grid))
    declared = problem("navier_stokes", nu=1e-3, dt=0.02)
    single = run(declared, {"w0": jnp.asarray(w0, jnp.float32)}, grid, [1.0])["w"]
    with jax.enable_x64(True):
        double = run(declared, {"w0": w0}, grid, [1.0])["w"]
    assert single.dtype == np.float32 and abs(single - double).max() < 5e-6 * abs(double).max()


@pytest.mark.nightly
def test_a_flat_front_is_the_equation_in_one_dimension(x64):
    flat, line = (
        problem("kuramoto_sivashinsky_2d", dt=0.02),
        problem("kuramoto_sivashinsky", dt=0.02, box=Box(x=(0, 32, "periodic"))),
    )
    grid = flat.box.grid((48, 8))
    k = 2 * PI / 32
    x = grid.coordinates[0]
    u0 = np.cos(k * x) + 0.5 * np.sin(3 * k * x)
    u = run(flat, {"u0": np.broadcast_to(u0[:, None], grid.shape)}, grid, [5.0])["u"][0]
    v = run(line, {"u0": -k * np.sin(k * x) + 1.5 * k * np.cos(3 * k * x)}, line.box.grid(48), [5.0])["u"][0]
    slope = np.fft.irfft(1j * k * np.arange(25) * np.fft.rfft(u[:, 0]), 48)
    np.testing.assert_allclose(u, np.broadcast_to(u[:, :1], u.shape), atol=1e-12)
    np.testing.assert_allclose(slope, v, atol=1e-6)


# Default steps --------------------------------------------------------------------------------------------------------

DEFAULTS = {  # arguments, points, end, relative error in time of the law's first draw in float64
    "navier_stokes": ({"nu": 1e-4}, 64, 5.0, 1e-6),
    "kolmogorov_flow": ({}, 64, 2.0, 1e-5),
    "allen_cahn": ({}, 128, 1.0, 1e-5),
    "korteweg_de_vries": ({}, 128, 0.5, 1e-5),
    "kuramoto_sivashinsky_2d": ({}, 64, 5.0, 1e-5),
    "fisher_kpp": ({}, 64, 1.0, 1e-5),
    "gray_scott": ({}, 64, 100.0, 1e-5),
    "klein_gordon": ({}, 64, 2.0, 1e-5),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", DEFAULTS)
def test_default_steps_are_accurate(x64, name):
    arguments, n, stop, bound = DEFAULTS[name]
    declared = problem(name, **arguments)
    grid = declared.box.grid(n)
    inputs = {k: jnp.asarray(v, float) for k, v in declared.sample_inputs(jax.random.key(0), grid).items()}
    coarse, fine = (run(declared, inputs, grid, [stop], **options) for options in ({}, {"rtol": 1e-6 / 256}))
    for field, exact in zip(coarse.values(), fine.values(), strict=True):
        assert np.linalg.norm(field - exact) < bound * np.linalg.norm(exact)


def test_steps_follow_the_inputs_that_are_given(x64):
    """A rate a hundred times the declared one, and a field ten times as large as those of the law."""
    declared = problem("fisher_kpp")
    grid = declared.box.grid(16)
    solved = declared.solve({"rho": 500.0, "u0": np.full(16, 0.1)}, grid, times=[0.005])
    np.testing.assert_allclose(solved["u"], 1 / (1 + 9 * np.exp(-2.5)), rtol=1e-6)
    usual, large = (declared.solve({"u0": np.full(16, a)}, grid, times=[0.1]).stats.iterations for a in (0.1, 10.0))
    assert usual == 10 and large == 100


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["kuramoto_sivashinsky", "kuramoto_sivashinsky_2d", "gray_scott"])
def test_draws_of_the_laws_do_not_shorten_the_default_step(name):
    declared = problem(name)
    grid = declared.box.grid(16)
    fields = {k: np.asarray(law.sample(jax.random.key(5), grid)) for k, law in declared.laws.items()}
    steps = declared.solve(fields, grid, times=[2.0]).stats.iterations
    assert steps == (4 if name == "gray_scott" else 40)


@pytest.mark.quick("3")
@pytest.mark.parametrize("wave", [3, 10])
def test_a_vorticity_forced_in_time(x64, wave):
    """One wave, which does not advect itself: w' = g(t) − ν|k|²w, below and above a third of the grid's waves."""
    times, nu = np.array([0.0, 0.3, 0.5, 1.1]), 1e-3
    declared = problem("navier_stokes", nu=nu, f=pde.Stirring(random.GaussianField(4, 7, 0.1, "periodic")), dt=0.2)
    grid = declared.box.grid((24, 8))
    shape, g = np.cos(2 * PI * wave * lines(grid)[0]), np.array([1.0, -2.0, 0.5, 3.0])
    found = run(declared, {"w0": 0 * shape, "f": g[:, None, None] * shape}, grid, times)["w"]
    s = (np.arange(200_000) + 0.5) / 200_000 * 1.1
    rate, push = nu * (2 * PI * wave) ** 2, np.interp(s, times, g)
    for t, w in zip(times, found, strict=True):
        expected = (np.exp(-rate * (t - s)) * push)[s < t].sum() * 1.1 / 200_000
        np.testing.assert_allclose(w, expected * shape, atol=2e-5)


@pytest.mark.nightly
def test_generated_vorticities_with_a_forcing_in_time(key):
    """The forcing is recorded at the instants with every sample and gives the solution again; there is no step."""
    times, smooth = np.linspace(0, 1, 4), random.GaussianField(6, 7, 0.3, "periodic")
    declared = problem("navier_stokes", f=pde.Stirring(smooth), w0=smooth)
    data = generate(declared, 2, 16, key, times=times, cache=False, progress=False)
    assert data["f"].shape == data["w"].shape == (2, 4, 16, 16) and data.attributes["label_error"]["w"] < 0.05
    again = declared.solve({k: data[k][1] for k in declared.laws}, data.grid, times=times)
    np.testing.assert_allclose(again["w"], data["w"][1], atol=1e-4 * abs(data["w"]).max())
    with pytest.raises(ValueError, match="declares `step`"):
        declared.step({"w": data["w"][0, 0]}, {"f": data["f"][0]}, data.grid, 0.1)


# Inputs that vary, derivatives, one step ------------------------------------------------------------------------------


@pytest.mark.nightly
def test_every_input_may_vary_and_be_differentiated(x64):
    laws = {
        "nu": random.LogUniform(1e-3, 1e-2),
        "drag": random.Uniform(),
        "f": random.GaussianField(boundary="periodic"),
    }
    declared = problem("navier_stokes", **laws)
    grid, times = declared.box.grid(16), np.array([0.2, 0.4])
    start, push = smooth(*phases(grid)), 0.3 * np.cos(phases(grid)[1])
    weight = np.random.default_rng(0).normal(size=(2, 16, 16))

    @jax.jit
    def value(nu, drag, f, w0):
        return (weight * declared.solve({"nu": nu, "drag": drag, "f": f, "w0": w0}, grid, times=times)["w"]).sum()

    at = (2e-3, 0.3, jnp.asarray(push), jnp.asarray(start))
    slopes = jax.jit(jax.grad(value, (0, 1, 2, 3)))(*at)
    for i, (slope, size) in enumerate(zip(slopes, (1e-4, 1e-2, 1e-2, 1e-2), strict=True)):
        direction = np.random.default_rng(i).normal(size=np.shape(slope))

        def move(s, i=i, direction=direction):
            return value(*(a + s * direction if j == i else a for j, a in enumerate(at)))

        e = size / 10
        central = (8 * (move(e) - move(-e)) - (move(2 * e) - move(-2 * e))) / (12 * e)
        np.testing.assert_allclose((slope * direction).sum(), central, rtol=1e-6)


@pytest.mark.nightly
def test_a_number_and_the_same_number_as_an_input_agree():
    """The coefficients of the one are computed on the host, those of the other in the program, here under vmap."""
    grid = Box.unit(2, "periodic").grid(32)
    w0 = smooth(*phases(grid)).astype(np.float32)
    fixed = run(problem("navier_stokes", nu=2e-3, dt=0.02), {"w0": w0}, grid, [0.5])["w"]
    varied = problem("navier_stokes", nu=random.Uniform(1e-3, 3e-3), dt=0.02)
    batch = jax.jit(jax.vmap(lambda nu: varied.solve({"nu": nu, "w0": w0}, grid, times=[0.5])["w"]))
    np.testing.assert_allclose(batch(np.array([1e-3, 2e-3], np.float32))[1], fixed, atol=2e-6)


@pytest.mark.quick("wave")
@pytest.mark.parametrize("name", ["navier_stokes", "gray_scott", "klein_gordon", "wave", "advection"])
def test_steps_go_on_where_the_last_ended(x64, name):
    declared = problem(name, **({"stream_function": True} if name == "navier_stokes" else {}))
    grid, h = declared.box.grid(16), 2.0 if name == "gray_scott" else 0.1
    inputs = {k: jnp.asarray(v, float) for k, v in declared.sample_inputs(jax.random.key(1), grid).items()}
    whole = declared.solve(inputs, grid, times=[h, 2 * h])
    half = {k: v[0] for k, v in whole.fields.items()}
    rest = {k: v for k, v in inputs.items() if k not in declared.initial.values()}
    after = declared.step(half, rest, grid, h)
    for unknown in declared.unknowns:
        np.testing.assert_allclose(after[unknown], whole[unknown][1], atol=1e-6)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problem("navier_stokes", box=Box.unit(1, "periodic")), "lives in a periodic rectangle"),
        (lambda: problem("navier_stokes", box=Box(x=(0, 3, "periodic"), y=(0, 1.5, "periodic"))), "is not periodic on"),
        (lambda: problem("kolmogorov_flow", wavenumber=1.5), "KolmogorovForcing.* is not periodic on"),
        (lambda: problem("gray_scott", box=Box.unit(2)), "lives in a periodic box of 1 to 3 axes"),
        (lambda: problem("advection", direction=(1, 2)), "has 2 entries; the box has 1 axes"),
        (lambda: problem("klein_gordon", mass=0.0), "is not positive; take problem"),
        (lambda: problem("wave", box=Box.unit(2)), "wave lives in a periodic box"),
        (lambda: solved("helmholtz", k=np.sqrt(2) * PI / 2), "is a resonance: k² equals the eigenvalue 4.93"),
        (lambda: solved("wave"), "u0 has shape"),
        (
            lambda: solved("navier_stokes", f=random.GaussianField(), given={"f": np.zeros(9)}),
            "f has shape .9,., expected",
        ),
        (lambda: solved("burgers", given={"nu": np.ones(9)}), "nu has shape .9,., expected a number"),
        (lambda: solved("burgers", given={"u0": np.full(9, 1e9)}), "steps away; give dt"),
        (lambda: solved("burgers", given={"u0": np.ones(9)}, rtol=0.0), "rtol=0.0.: expected a finite number above 0"),
        (lambda: solved("allen_cahn", given={"u0": np.ones(9)}, times=[np.inf]), "finite instants that increase"),
        (
            lambda: solved(
                "navier_stokes", f=pde.Stirring(random.GaussianField()), given={"w0": 0.0, "f": np.zeros((2, 9, 9))}
            ),
            "2 fields of a forcing in time for 1 instants",
        ),
        (lambda: random.UnitRange(random.Threshold()), "expected a law of smooth isotropic fields"),
    ],
)
def test_refusals(x64, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def solved(name, given=None, times=(1.0,), rtol=None, **arguments):
    declared = problem(name, **arguments)
    fields = {"f": np.zeros((9, 9))} if name == "helmholtz" else {"u0": np.zeros(9)}
    fields = {**{k: 0.0 for k in declared.laws}, **given} if given is not None else fields
    options = {} if name == "helmholtz" else {"times": list(times), "rtol": rtol}
    return declared.solve(fields, declared.box.grid(9), **options)


def test_a_random_wavenumber_at_resonance_is_a_breakdown():
    declared = problem("helmholtz", k=random.Uniform(0, 3), box=Box.unit(1, "periodic"))
    grid = declared.box.grid(16)
    f = np.ones(16, np.float32)
    status = jax.jit(jax.vmap(lambda k: declared.solve({"k": k, "f": f}, grid).status))(
        np.array([0.0, 1.0], np.float32)
    )
    assert status.tolist() == [Status.breakdown, Status.converged]


def test_jumps_leave_no_pointwise_residual():
    declared = problem("advection", u0=random.SquareWave())
    with pytest.raises(ValueError, match="u0 jumps"):
        declared.needs("residual", "training")
