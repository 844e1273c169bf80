"""Smoke: no divergence, no flow through solids, balance at rest, symmetry, budgets, orders, derivatives, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core.domains import Box
from surrogax.solvers.kernels import staggered, stencil
from surrogax.solvers.linear import CG, FastPoissonSolve, Jacobi, Status

N = 12
SOLID = np.zeros((N, N), bool)
SOLID[4:8, 6:8] = True
METHOD = CG(Jacobi(), rtol=1e-6)
TIGHT = CG(Jacobi(), rtol=1e-11)


@pytest.fixture(scope="module")
def flow():
    return sx.problem("smoke", grid=(N, N), solid=SOLID)


@pytest.fixture(scope="module")
def plain():
    """With the scheme that compiles faster."""
    return sx.problem("smoke", grid=(N, N), solid=SOLID, scheme="semi_lagrangian")


def outflow(faces, boundaries, spacing=(1 / N, 1 / N)):
    return np.asarray(staggered.divergence(faces, spacing, boundaries))


@pytest.mark.nightly
def test_block_of_the_user_experience():
    """Three dimensions, an obstacle, a method of the caller's, and the derivative with respect to the buoyancy."""
    mask = np.zeros((6, 5, 8), bool)
    mask[2:4, 1:4, 4:6] = True
    flow = sx.problem("smoke", grid=mask.shape, solid=mask, scheme="semi_lagrangian")
    sol = flow.solve(steps=3, pressure_solver=METHOD)
    assert sol["density"].shape == sol["pressure"].shape == (3, *mask.shape)
    assert sol["velocity"].shape == (3, *mask.shape, 3)
    assert sol.status == Status.converged and sol.stats.iterations.shape == (3,) and (sol.stats.iterations > 0).all()
    assert not np.asarray(sol["density"])[:, mask].any() and sol["density"][-1].max() > 0.5
    slope = jax.grad(lambda b: flow.solve(steps=3, buoyancy=b, pressure_solver=METHOD)["density"][-1, 2, 2, 3].sum())(
        1.0
    )
    assert np.isfinite(slope) and slope != 0


def test_nothing_diverges_and_nothing_enters_solids(x64, flow):
    sol = flow.solve(steps=20, pressure_solver=TIGHT)
    density = np.asarray(sol["density"])
    assert sol.status == Status.converged
    left = outflow(sol.restart["velocity0"], ("neumann", "neumann"))
    assert abs(left).max() < 1e-9 and abs(np.asarray(sol.restart["velocity0"][1])).max() > 0.2
    np.testing.assert_allclose(
        np.linalg.norm(left) * N, sol.stats.residual[-1], rtol=0.3
    )  # b is the divergence over Δt
    crossed = stencil.open_faces(jnp.where(SOLID, 0.0, 1.0), ("neumann", "neumann"))
    assert not any(
        (np.asarray(v)[np.asarray(o) == 0]).any() for v, o in zip(sol.restart["velocity0"], crossed, strict=True)
    )
    assert not density[:, SOLID].any() and density.min() >= 0
    np.testing.assert_allclose(density, density[:, ::-1], atol=1e-8)  # left and right
    np.testing.assert_allclose(sol["velocity"][..., 0], -sol["velocity"][:, ::-1, :, 0], atol=1e-8)
    # The budget, exact while the smoke is at rest, then within the error of the advection.
    source = 4 * ((np.stack(np.meshgrid(*2 * [(np.arange(N) + 0.5) / N], indexing="ij"), -1) - [0.5, 0.2]) ** 2).sum(-1)
    supplied = (source < 4 / 64).sum() * 4 / N * np.arange(1, 21)
    np.testing.assert_allclose(density.sum((1, 2)), supplied, rtol=0.08)
    np.testing.assert_allclose(density[0].sum(), supplied[0], rtol=1e-6)


def test_uniform_density_stays_at_rest(x64, flow):
    """The buoyancy is the gradient of the hydrostatic pressure b ρ z, round the obstacle too."""
    sol = flow.solve(steps=20, pressure_solver=TIGHT, source=0.0, density0=2.0)
    np.testing.assert_allclose(np.asarray(sol["density"])[:, ~SOLID], 2, rtol=1e-11)
    assert abs(sol["velocity"]).max() < 1e-10
    height = np.broadcast_to((np.arange(N) + 0.5) / N, (N, N))[~SOLID]
    pressure = np.asarray(sol["pressure"])[-1][~SOLID]
    np.testing.assert_allclose(pressure - pressure.mean(), 2 * (height - height.mean()), atol=1e-9)


@pytest.mark.nightly
def test_parts_and_pockets_and_the_default_method():
    """A wall that cuts the box in two and a cell shut in on all sides: every part has its own pressure constant."""
    solid = np.zeros((N, N), bool)
    solid[:, 7] = solid[3:6, 2:5] = True
    solid[4, 3] = False
    sol = sx.problem("smoke", grid=(N, N), solid=solid, scheme="semi_lagrangian").solve(steps=4)
    assert sol.status == Status.converged and sol.stats.iterations.max() < 15
    pressure = np.asarray(sol["pressure"][-1])
    for part in (~solid & (np.arange(N) < 7), ~solid & (np.arange(N) > 7)):
        assert abs(pressure[part].sum()) < 1e-4 * abs(pressure).max() * part.sum() + 1e-6
    assert not np.asarray(sol["velocity"])[:, :, 8:].any() and np.isfinite(np.asarray(sol["density"])).all()


@pytest.mark.nightly
def test_open_top_and_periodic_side():
    """Through the top what comes out is what is displaced; on a periodic axis the solution may be shifted round."""
    box = Box(x=(0, 1, "periodic"), y=(0, 1, "neumann"))
    solid = np.zeros((N, N), bool)
    solid[0:3, 5:7] = solid[-1, 5:7] = True
    source = np.zeros((N, N), np.float32)
    source[2:5, 2:4] = 5

    def run(roll):
        turned = {"solid": np.roll(solid, roll, 0), "source": np.roll(source, roll, 0)}
        flow = sx.problem("smoke", grid=box.grid((N, N)), open_top=True, scheme="semi_lagrangian", **turned)
        return flow.solve(steps=6, pressure_solver=METHOD)

    sol = run(0)
    left = outflow(sol.restart["velocity0"], ("periodic", "dirichlet"))
    assert sol.status == Status.converged and abs(left).max() < 2e-5
    top = np.asarray(sol.restart["velocity0"][1])[:, -1]
    assert abs(top).max() > 1e-3 and abs(top.sum()) < 1e-4 and not np.asarray(sol.restart["velocity0"][1])[:, 0].any()
    np.testing.assert_allclose(run(5)["density"], np.roll(sol["density"], 5, 1), atol=1e-4)


@pytest.mark.nightly
def test_decay_of_a_vortex_is_of_first_order(x64):
    """The steady vortex sin πx cos πy in a box without friction: all loss of energy is the method's."""

    def loss(n):
        flow = sx.problem("smoke", grid=(n, n), source=0.0)
        face, centre = np.pi * np.arange(1, n) / n, np.pi * (np.arange(n) + 0.5) / n
        start = (np.outer(np.sin(face), np.cos(centre)), -np.outer(np.cos(centre), np.sin(face)))
        sol = flow.solve(steps=n // 2, velocity0=start, pressure_solver=FastPoissonSolve(rtol=1e-8))
        assert sol.status == Status.converged and (sol.stats.iterations == 1).all()
        return 1 - sum(float((v**2).sum()) for v in sol.restart["velocity0"]) / sum((v**2).sum() for v in start)

    coarse, fine = loss(16), loss(32)
    assert 0 < fine < 0.08 and 0.8 < np.log2(coarse / fine) < 1.1


@pytest.mark.nightly
def test_derivatives(x64, flow):
    """Of a functional of all frames with respect to every input, along random directions."""
    rng = np.random.default_rng(0)
    method = CG(Jacobi(), rtol=1e-12)
    at = {"buoyancy": 1.3, "density0": rng.random((N, N)) + 0.5, "source": rng.random((N, N)), "dt": 0.1}
    along = {"buoyancy": 1.0, "density0": rng.normal(size=(N, N)), "source": rng.normal(size=(N, N)), "dt": 0.3}
    cosines = rng.normal(size=(3, N, N))

    @jax.jit
    @jax.value_and_grad
    def value(inputs):
        sol = flow.solve(steps=3, pressure_solver=method, **inputs)
        return (cosines * sol["density"]).sum() + (cosines[..., None] * sol["velocity"]).sum()

    _, gradient = value(at)
    for name, direction in along.items():
        ends = [value({**at, name: at[name] + s * 1e-6 * direction})[0] for s in (1, -1)]
        np.testing.assert_allclose((gradient[name] * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=2e-5)


@pytest.mark.nightly
def test_times_and_generated_data(plain, key):
    """Frames at instants are those of the steps between them; `generate` draws buoyancies and stores trajectories."""
    steps = plain.solve(steps=4, pressure_solver=METHOD, dt=0.05)
    at = plain.solve(times=[0.0, 0.1, 0.2], pressure_solver=METHOD, dt=0.05)
    assert at["density"].shape == (3, N, N) and not at["density"][0].any() and at.stats.iterations.shape == (4,)
    np.testing.assert_allclose(at["velocity"][1:], steps["velocity"][1::2], atol=1e-5)

    random = sx.problem("smoke", grid=(N, N), buoyancy=sx.random.Uniform(0.5, 2), scheme="semi_lagrangian")
    times = np.array([0.0, 0.2])
    sample = sx.generate(random, n=2, grid=N, key=key, times=times, cache=False, progress=False)[0]
    assert sample["density"].shape == (2, N, N) and sample["velocity"].shape == (2, N, N, 2)
    assert 0.5 <= sample["buoyancy"] <= 2 and sample["density"][1].max() > 0.5
    recipes = {sx.problem("smoke", grid=(N, N), solid=solid).recipe for solid in (None, SOLID, ~SOLID)}
    assert len(recipes) == 3


@pytest.mark.nightly
def test_a_solve_goes_on_from_its_restart(plain):
    whole, half = (plain.solve(steps=n, pressure_solver=METHOD, dt=0.05) for n in (4, 2))
    rest = plain.solve(half.restart, steps=2, pressure_solver=METHOD, dt=0.05)
    for name in ("density", "velocity"):
        np.testing.assert_allclose(rest[name], whole[name][2:], atol=1e-5)
    with pytest.raises(ValueError, match="needs a problem that declares `step`"):
        plain.step(whole.fields, {}, plain.grid, 0.05)


@pytest.mark.nightly
def test_status_is_the_worst_and_each_lane_has_its_own(plain):
    buoyancy, rtol = jnp.array([1.0, jnp.nan, 0.0, 1.0]), jnp.array([1e-6, 1e-6, 1e-6, 1e-30])
    sol = jax.vmap(lambda b, r: plain.solve(steps=3, buoyancy=b, pressure_solver=CG(Jacobi(), rtol=r)))(buoyancy, rtol)
    statuses = [Status.converged, Status.non_finite, Status.converged]
    worst = np.asarray(sol.stats.status).max(1)
    assert worst[:3].tolist() == statuses and worst[3] in (Status.stagnated, Status.breakdown, Status.max_steps)
    assert not sol["velocity"][2].any() and np.isfinite(sol["density"][0]).all()


@pytest.mark.parametrize(
    "message, build",
    [
        ("2 or 3 axes", lambda: sx.problem("smoke", grid=(8,))),
        ("2 or 3 axes", lambda: sx.problem("smoke", grid=sx.Grid.unit_square(8))),
        ("solid has shape", lambda: sx.problem("smoke", grid=(8, 9), solid=SOLID)),
        ("unknown inputs", lambda: sx.problem("smoke", grid=(8, 8)).solve(steps=1, bouyancy=1.0)),
        ("are random", lambda: sx.problem("smoke", grid=(8, 8), buoyancy=sx.random.Uniform()).solve(steps=1)),
        ("lives on", lambda: sx.problem("smoke", grid=(8, 8)).solve({}, Box.unit(2, "neumann").grid(9), steps=1)),
        ("give steps", lambda: sx.problem("smoke", grid=(8, 8)).solve()),
        ("give steps", lambda: sx.problem("smoke", grid=(8, 8)).solve(steps=0)),
        ("instant after 0", lambda: sx.problem("smoke", grid=(8, 8)).solve(times=[0.0])),
    ],
)
def test_wrong_use_says_what_is_wrong(message, build):
    with pytest.raises(ValueError, match=message):
        build()
