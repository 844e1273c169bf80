"""Incompressible flow on a torus and through channels: exact solutions, orders, invariants, forces, derivatives, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.datasets import generate
from surrogax.solvers import pde, random
from surrogax.solvers.linear import CG, Jacobi, Status
from surrogax.solvers.pde import problem
from surrogax.solvers.pde.channel import ViscousFlow, centre_velocity

TAU = 2 * np.pi
TORUS = Box(x=(0, TAU, "periodic"), y=(0, TAU, "periodic"))
CUBE = Box(x=(0, TAU, "periodic"), y=(0, TAU, "periodic"), z=(0, TAU, "periodic"))
TIGHT = CG(Jacobi(), rtol=1e-11, max_steps=2000)


def vortices(grid):
    x, y = np.moveaxis(grid.points, -1, 0)
    return np.stack([np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)], -1)


def divergence(v, box):
    """By Fourier series, of the waves below the highest."""
    total = 0
    for axis, length in enumerate(box.extent):
        n = v.shape[axis]
        k = np.fft.fftfreq(n, 1 / n) * 2 * np.pi / length
        k[2 * abs(np.fft.fftfreq(n, 1 / n)) == n] = 0
        total = total + np.fft.ifft(np.fft.fft(v[..., axis], axis=axis) * 1j * k.reshape([-1 if a == axis else 1 for a in range(v.ndim - 1)]), axis=axis).real  # fmt: skip # noqa: E501
    return total


# Torus ----------------------------------------------------------------------------------------------------------------


@pytest.mark.quick("True")
@pytest.mark.parametrize("double", [True, False])
def test_taylor_green(double):
    """v decays by exp(−2νt) and p by its square, to rounding, with long steps, also while a uniform wind moves the vortices."""
    with jax.enable_x64(double):
        grid, nu, times = TORUS.grid((32, 24)), 0.05, np.array([0.0, 1.0])
        x, y = np.moveaxis(grid.points, -1, 0)
        v = vortices(grid)
        sol = problem("navier_stokes_velocity", nu=nu, dt=0.25).solve({"velocity0": v}, grid, times=times)
        bound = 1e-14 if double else 1e-5
        assert sol.status == Status.converged and sol.stats.iterations == 4
        assert abs(sol["velocity"][1] - v * np.exp(-2 * nu)).max() < bound
        pressure = (np.cos(2 * x) + np.cos(2 * y)) / 4
        assert abs(sol["pressure"][1] - pressure * np.exp(-4 * nu)).max() < bound
        np.testing.assert_allclose(sol["velocity"][0], v, atol=bound)


@pytest.mark.nightly
def test_order_in_time_and_a_moving_frame(x64):
    """Vortices carried by a wind (1, ½) are those at rest, moved; the error of the steps is of fourth order."""
    grid, nu = TORUS.grid(16), 0.02
    x, y = np.moveaxis(grid.points, -1, 0)
    wind, t = np.array([1.0, 0.5]), 1.0
    moved = np.stack([np.sin(x - t) * np.cos(y - t / 2), -np.cos(x - t) * np.sin(y - t / 2)], -1)
    errors = []
    for n in (8, 16, 32):
        declared = problem("navier_stokes_velocity", nu=nu, dt=t / n)
        v = declared.solve({"velocity0": vortices(grid) + wind}, grid, times=[t])["velocity"][0]
        errors.append(abs(v - moved * np.exp(-2 * nu * t) - wind).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - 4) < 0.3 and errors[-1] < 1e-4, (errors, slopes)


@pytest.mark.nightly
def test_energy_and_its_loss(x64, key):
    """Without viscosity energy stays, to the error of the steps, and momentum to rounding; the field has no divergence."""
    grid = TORUS.grid(24)
    v0 = np.asarray(pde.Swirls(speed=0.5).sample(key, grid)) + np.array([0.2, -0.1])
    v = np.asarray(
        problem("navier_stokes_velocity", nu=0.0, dt=0.02).solve({"velocity0": v0}, grid, times=[0, 0.5])["velocity"]
    )
    assert abs(divergence(v[1], TORUS)).max() < 1e-12 and abs(v.mean((1, 2)) - v0.mean((0, 1))).max() < 1e-14
    kept = abs(np.fft.fftfreq(24, 1 / 24)) < 8
    spectra = np.fft.fft2(v, axes=(1, 2))[:, kept][:, :, kept]
    energy = (abs(spectra) ** 2).sum((1, 2, 3))
    assert abs(v[1] - v[0]).max() > 0.05
    np.testing.assert_allclose(energy[1], energy[0], rtol=1e-6)


@pytest.mark.nightly
def test_three_dimensions(x64):
    """Beltrami's flow, whose vorticity is the velocity (Arnold, Beltrami, Childress), decays by exp(−νt)."""
    grid = CUBE.grid((12, 10, 8))
    x, y, z = np.moveaxis(grid.points, -1, 0)
    v = np.stack([np.sin(z) + np.cos(y), np.sin(x) + np.cos(z), np.sin(y) + np.cos(x)], -1)
    found = problem("navier_stokes_velocity", nu=0.1, velocity0=v, box=CUBE, dt=0.1).solve(grid=grid, times=[1.0])
    np.testing.assert_allclose(found["velocity"][0], v * np.exp(-0.1), atol=1e-13)


@pytest.mark.nightly
def test_forcing_in_time(x64):
    """A uniform forcing cos t gives v = sin t, linear in between instants; its part with divergence does nothing."""
    grid, times = TORUS.grid(8), np.linspace(0, 1, 21)
    x = grid.points[..., 0]
    push = np.stack([np.cos(times)[:, None, None] + np.sin(x), np.zeros((21, 8, 8))], -1)
    declared = problem(
        "navier_stokes_velocity", nu=0.1, velocity0=random.Part(_Nothing(), "v"), forcing=pde.Stirring(), dt=0.05
    )
    solved = declared.solve({"velocity0": np.zeros((8, 8, 2)), "forcing": push}, grid, times=times)
    v = solved["velocity"]
    trapezoids = np.concatenate([[0], np.cumsum((np.cos(times[1:]) + np.cos(times[:-1])) / 40)])
    np.testing.assert_allclose(v[..., 0], np.broadcast_to(trapezoids[:, None, None], (21, 8, 8)), atol=1e-12)
    assert abs(v[..., 1]).max() < 1e-12
    np.testing.assert_allclose(solved["pressure"], np.broadcast_to(-np.cos(x), (21, 8, 8)), atol=1e-12)


@pytest.mark.quick("shape0")
@pytest.mark.parametrize("shape", [(8, 9), (7, 8, 6)])
def test_swirls_have_no_divergence(key, shape):
    """In boxes of any sides; the components are independent."""
    sides = zip("xyz", shape, strict=False)
    box = Box(**{name: (0.0, 1.0 + i, "periodic") for i, (name, _) in enumerate(sides)})
    v = np.asarray(pde.Swirls(2.0).sample(key, box.grid(shape)), np.float64)
    assert v.shape == (*shape, len(shape)) and abs(divergence(v, box)).max() < 1e-4 * abs(v).max()
    np.testing.assert_allclose((v**2).sum(-1).mean(), 4, rtol=1e-5)
    assert abs(np.corrcoef(v.reshape(-1, len(shape)).T) - np.eye(len(shape))).max() < 0.5


@pytest.mark.nightly
def test_default_swirls_in_three_dimensions(key):
    """Energy falls at the rate of the viscosity, dE/dt = −ν⟨|ω|²⟩."""
    declared = problem("navier_stokes_velocity", nu=0.05, box=CUBE)
    data = generate(declared, 1, 16, key, times=[0.0, 0.01], label_samples=0, cache=False, progress=False)
    v = np.asarray(data["velocity"][0], np.float64)
    energy = (v**2).sum(-1).mean((1, 2, 3)) / 2
    k = np.fft.fftfreq(16, 1 / 16)
    k = np.where(abs(k) == 8, 0, k)
    slopes = [np.fft.ifft(np.fft.fft(v, axis=a) * 1j * k.reshape(-1, *[1] * (4 - a)), axis=a).real for a in (1, 2, 3)]
    loss = 0.05 * sum((s**2).sum(-1).mean((1, 2, 3)) for s in slopes).mean()
    np.testing.assert_allclose((energy[0] - energy[1]) / 0.01, loss, rtol=0.02)


class _Nothing(random.JointLaw):
    parts = ("v",)

    def sample(self, key, grid):
        return {"v": jnp.zeros((*grid.shape, 2))}


@pytest.mark.nightly
def test_generated_flows(key):
    """Viscosity, start and forcing in time are recorded with every sample and give the solution again."""
    times = np.linspace(0, 0.5, 4)
    large = random.GaussianField(6, 2, 1, "periodic")  # 16 points resolve these swirls, not those of the default
    declared = problem(
        "navier_stokes_velocity",
        nu=random.LogUniform(1e-3, 1e-2),
        velocity0=pde.Swirls(1.0, large),
        forcing=pde.Stirring(pde.Swirls(0.1, large)),
        dt=0.05,
    )
    data = generate(declared, 2, 16, key, times=times, cache=False, progress=False)
    assert data["velocity"].shape == (2, 4, 16, 16, 2) and data["forcing"].shape == (2, 4, 16, 16, 2)
    assert data["nu"].shape == (2,) and 0 < data.attributes["label_error"]["velocity"] < 0.1
    speed = np.sqrt((data["velocity0"] ** 2).sum(-1).mean((1, 2)))
    np.testing.assert_allclose(speed, 1, rtol=1e-5)
    assert max(abs(divergence(v, TORUS)).max() for v in data["velocity"][:, -1]) < 1e-4
    again = declared.solve({k: data[k][1] for k in declared.laws}, data.grid, times=times)
    np.testing.assert_allclose(again["velocity"], data["velocity"][1], atol=1e-4)


@pytest.mark.quick("False")
@pytest.mark.parametrize("batched", [False, True])
def test_derivatives_are_those_of_finite_differences(x64, key, batched):
    grid = TORUS.grid(8)
    declared = problem("navier_stokes_velocity", nu=random.Uniform(0.01, 0.1), dt=0.25)
    direction = np.random.default_rng(0).normal(size=(8, 8, 2)) / 10
    start, e = pde.Swirls(speed=0.5).sample(key, grid).astype(float), 1e-5

    @jax.jit
    def value(v, nu):
        return (declared.solve({"velocity0": v, "nu": nu}, grid, times=[0.5])["velocity"] ** 2).sum()

    if batched:
        pair = jax.jit(jax.vmap(value))(jnp.stack([start, 2 * start]), jnp.array([0.05, 0.02]))
        np.testing.assert_allclose(pair, [value(start, 0.05), value(2 * start, 0.02)], rtol=1e-12)
        return
    slopes = jax.jit(jax.grad(value, (0, 1)))(start, 0.05)
    along = (value(start + e * direction, 0.05) - value(start - e * direction, 0.05)) / (2 * e)
    np.testing.assert_allclose((slopes[0] * direction).sum(), along, rtol=1e-8)
    np.testing.assert_allclose(slopes[1], (value(start, 0.05 + e) - value(start, 0.05 - e)) / (2 * e), rtol=1e-8)


# Channel --------------------------------------------------------------------------------------------------------------


def channel(n=(24, 12), **options):
    grid = Box(x=(0, n[0] / n[1], "neumann"), y=(0, 1, "neumann")).grid(n)
    return grid, problem("channel_flow", grid=grid, **options)


@pytest.mark.nightly
def test_order_of_the_staggered_grid(x64):
    errors = []
    for n in (16, 32, 64):
        grid = TORUS.grid(n)
        v = vortices(grid)
        found = problem("channel_flow", grid=grid, nu=0.05).solve({"velocity0": v}, times=[0.5], dt=0.3 * TAU / n)
        errors.append(np.sqrt(((found["velocity"][0] - v * np.exp(-0.05)) ** 2).mean()))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - 2) < 0.1, (errors, slopes)


@pytest.mark.nightly
def test_poiseuille(x64):
    """The parabola between walls is steady, to the error of its cells, with the pressure falling by 8ν U/H² per length."""
    grid, _ = channel((24, 16))
    y = grid.coordinates[1]
    declared = problem("channel_flow", grid=grid, inflow=4 * y * (1 - y), nu=0.05)
    found = declared.solve(steps=400, dt=0.01, pressure_solver=TIGHT)
    assert found.status == Status.converged
    v, p = np.asarray(found["velocity"][-1]), np.asarray(found["pressure"][-1])
    np.testing.assert_allclose(v[12, :, 0], 4 * y * (1 - y), atol=0.01)
    assert abs(v[4:-4, :, 1]).max() < 1e-3
    np.testing.assert_allclose(np.diff(p, axis=0)[8:16, 8] / grid.spacing[0], -8 * 0.05, rtol=0.02)


SQUARE = np.zeros((24, 12), bool)
SQUARE[8:10, 5:7] = True


@pytest.mark.nightly
def test_a_square_in_a_channel(x64):
    """The flow passes every section whole, none of it the solid; up and down alike; drag, and no lift."""
    _, declared = channel(solid=SQUARE, nu=0.02)
    sol = declared.solve(steps=10, dt=0.02, pressure_solver=TIGHT)
    assert sol.status == Status.converged and sol.diagnostics["force"].shape == (10, 2)
    v = np.asarray(sol["velocity"][-1])
    np.testing.assert_allclose(v[..., 0], v[:, ::-1, 0], atol=1e-8)
    np.testing.assert_allclose(v[..., 0].sum(1)[[0, 5, 20]], 12, rtol=1e-9)
    assert not v[SQUARE].any() and sol.diagnostics["force"][-1, 0] > 0.1
    assert abs(sol.diagnostics["force"][-1, 1]) < 1e-8


@pytest.mark.nightly
def test_the_derivative_of_the_drag(x64):
    _, declared = channel(solid=SQUARE, nu=random.Uniform(0.01, 0.1))

    @jax.jit
    def drag(inflow, nu):
        return declared.solve(inflow=inflow, nu=nu, steps=10, dt=0.02, pressure_solver=TIGHT).diagnostics["force"][
            -1, 0
        ]

    profile, e = jnp.linspace(0.8, 1.2, 12), 1e-5
    slopes = jax.jit(jax.grad(drag, (0, 1)))(profile, 0.02)
    ends = [drag(profile + s * e, 0.02) for s in (1, -1)], [drag(profile, 0.02 + s * e) for s in (1, -1)]
    np.testing.assert_allclose(slopes[0].sum(), (ends[0][0] - ends[0][1]) / (2 * e), rtol=1e-6)
    np.testing.assert_allclose(slopes[1], (ends[1][0] - ends[1][1]) / (2 * e), rtol=1e-6)
    batch = jax.jit(jax.vmap(drag))(jnp.stack([profile, 2 * profile]), jnp.array([0.02, 0.05]))
    np.testing.assert_allclose(batch, [drag(profile, 0.02), drag(2 * profile, 0.05)], rtol=1e-8)


def test_the_discrete_flow_has_no_divergence_and_exchanges_momentum_exactly(x64, key):
    """Away from the sides the momentum that the cells lose is the force on the solid."""
    shape, spacing = (12, 10), (0.1, 0.1)
    solid = np.zeros(shape, bool)
    solid[4:7, 4:6] = True
    flow = ViscousFlow(shape, spacing, (False, True), solid)
    faces, _ = flow.start(jax.random.normal(key, (*shape, 2)), jnp.ones(10))
    inner = np.zeros(shape)
    inner[2:10] = 1  # faces and pressures near the ends are zero, so that nothing passes there
    window = tuple(jnp.asarray(np.pad(inner, [(0, 1), (0, 0)]) if axis == 0 else inner) for axis in range(2))
    faces = tuple(f * w for f, w in zip(faces, window, strict=True))
    for axis in range(2):
        rate, force = flow.exchanged(faces, axis, 0.03)
        ends = np.ones(rate.shape)
        ends[[0, -1]] = 0
        np.testing.assert_allclose((rate * flow.free[axis] * ends).sum() * 0.01, -force, rtol=1e-11)
        assert abs(force) > 1e-3
    assert centre_velocity(faces, flow.boundaries).shape == (*shape, 2)


@pytest.mark.nightly
def test_the_cylinder_of_schaefer_and_turek(x64):
    """Their steady case 2D-1 (1996): c_D 5.5795, c_L 0.0106, Δp 0.1175, with 10 cells over the cylinder made of steps."""
    n = (220, 41)
    grid = Box(x=(0, 2.2, "neumann"), y=(0, 0.41, "neumann")).grid(n)
    solid = ((grid.points - [0.2, 0.2]) ** 2).sum(-1) < 0.05**2
    y = grid.coordinates[1]
    declared = problem("channel_flow", grid=grid, solid=solid, inflow=4 * 0.3 * y * (0.41 - y) / 0.41**2, nu=1e-3)
    found = declared.solve(times=[6.0], dt=0.012, rtol=1e-6)
    assert found.status == Status.converged
    drag, lift = np.asarray(found.diagnostics["force"][-1]) * 2 / (0.2**2 * 0.1)
    assert abs(drag - 5.5795) < 0.4 and abs(lift - 0.0106) < 0.03, (drag, lift)


@pytest.mark.nightly
def test_recorded_inflows(key):
    grid, declared = channel((12, 6), inflow=random.Uniform(0.5, 1.0), nu=random.LogUniform(0.01, 0.1))
    data = generate(declared, 3, grid, key, times=[0.1, 0.2], cache=False, progress=False)
    assert data["inflow"].shape == data["nu"].shape == (3,) and data["velocity"].shape == (3, 2, 12, 6, 2)
    np.testing.assert_allclose(data["velocity"][:, -1, :, :, 0].mean((1, 2)), data["inflow"], rtol=1e-3)


def test_wrong_use_is_named():
    _, declared = channel((8, 4))
    torus, start = problem("navier_stokes_velocity"), np.zeros((8, 8, 2), np.float32)
    for match, call in [
        ("give steps", lambda: declared.solve()),
        ("inflow has shape", lambda: declared.solve(inflow=np.zeros(3), steps=1)),
        ("velocity0 has shape", lambda: declared.solve(velocity0=np.zeros((8, 4)), steps=1)),
        ("forcing has shape", lambda: declared.solve(forcing=np.zeros(3), steps=1)),
        ("solid has shape", lambda: problem("channel_flow", grid=(8, 4), solid=np.zeros((4, 8), bool))),
        ("2 or 3 axes", lambda: problem("channel_flow", grid=Box.unit(2).grid(8))),
        ("periodic along all axes", lambda: problem("channel_flow", grid=TORUS.grid(8), solid=np.zeros((8, 8), bool))),
        ("2 or 3 numbers of cells", lambda: problem("channel_flow", grid=())),
        ("give the instants", lambda: torus.solve({"velocity0": start}, TORUS.grid(8))),
        ("velocity0 has shape", lambda: torus.solve({"velocity0": start[..., :1]}, TORUS.grid(8), times=[1.0])),
        ("forcing has shape", lambda: torus.solve(
            {"velocity0": start, "forcing": np.zeros((3, 8, 8, 2))}, TORUS.grid(8), times=[1.0])),
        ("does not suit", lambda: torus.solve({"velocity0": start}, Box.unit(2, "periodic").grid(8), times=[1.0])),
        ("2 or 3 periodic axes", lambda: problem("navier_stokes_velocity", box=Box.unit(2))),
        ("dt=-1", lambda: problem("navier_stokes_velocity", dt=-1.0)),
        ("live on a periodic rectangle", lambda: pde.Swirls().sample(jax.random.key(0), Box.unit(2).grid(8))),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            call()
