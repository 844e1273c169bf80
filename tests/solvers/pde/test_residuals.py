"""Every registered problem's residual and conditions vanish on its own solver's solutions, at a measured order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.solvers import random
from surrogax.solvers.linear import Status
from surrogax.solvers.pde import Jet, Jets, problem, registered_problems, registry
from surrogax.solvers.pde.conditions import Neumann
from surrogax.solvers.pde.grid_derivatives import OnGrid

PI = np.pi
# Why these have no strong form is their attribute `no_residual`; Darcy flow has one where its coefficient is smooth.
WEAK = {
    "channel_flow": (lambda: problem("channel_flow", grid=(8, 8)), "solid cells have edges"),
    "compressible_navier_stokes": (lambda: problem("compressible_navier_stokes"), "solutions jump"),
    "darcy": (lambda: problem("darcy", a=random.Threshold()), "a jumps"),
    "euler": (lambda: problem("euler"), "solutions jump"),
    "inviscid_burgers": (lambda: problem("inviscid_burgers"), "solutions jump"),
    "navier_stokes_velocity": (lambda: problem("navier_stokes_velocity"), "the unknown velocity is a vector"),
    "shallow_water": (lambda: problem("shallow_water"), "solutions jump"),
    "smoke": (lambda: problem("smoke", grid=(8, 8)), "source and solid cells have edges"),
    "thermal_block": (lambda: problem("thermal_block"), "a jumps from block to block"),
}
FIELD = random.GaussianField()
MIXED = Box(x=(0, 1), y=(0, 1, "neumann"))
TORUS = Box(x=(0, 1, "periodic"), y=(0, 2, "periodic"))
# u has no flux through Neumann sides, but a third derivative there; on the torus its mean is zero.
SOLUTIONS = {
    "square": (Box.unit(2), lambda x, y: jnp.sin(2 * x + y) + x * y**2, lambda x, y: 2 + jnp.cos(3 * x) * y),
    "mixed": (MIXED, lambda x, y: jnp.cos(2 * x) + jnp.exp(x) * y**2 * (1 - y) ** 2, lambda x, y: 1 + x + y**2),
    "torus": (
        TORUS,
        lambda x, y: jnp.sin(2 * PI * x) * jnp.cos(PI * y),
        lambda x, y: 2 + jnp.sin(2 * PI * x) * jnp.sin(PI * y),
    ),
    "line": (Box(x=(-1, 1)), lambda x: jnp.exp(x), lambda x: 2 + jnp.sin(x)),
}


def zero_on_sides(x, y):
    return jnp.sin(PI * x) * y**2 * (1 - y) ** 2


def elliptic(name, case):
    """The problem, its inputs as functions of the coordinates, and its grids."""
    box, u, a = SOLUTIONS[case]
    if name == "shifted_laplacian":
        u = zero_on_sides
    names = box.names
    at = lambda p: Jet.of(lambda p: u(*jnp.moveaxis(p, -1, 0)), p, names)  # noqa: E731
    laplace = lambda *x: sum(at(jnp.stack(x, -1)).partial(n, n) for n in names)  # noqa: E731
    if name == "poisson":
        return problem(name, f=FIELD, g=FIELD, box=box, rtol=1e-12), {"f": lambda *x: -laplace(*x), "g": u}
    if name == "shifted_laplacian":
        f = lambda *x: 3.0 * u(*x) - laplace(*x)  # noqa: E731
        return problem(name, c=3.0, f=FIELD, box=box, rtol=1e-12), {"f": f}
    slopes = lambda h, p: Jet.of(lambda p: h(*jnp.moveaxis(p, -1, 0)), p, names)  # noqa: E731

    def source(*x):
        p = jnp.stack(x, -1)
        return -sum(slopes(a, p).partial(n) * at(p).partial(n) for n in names) - a(*x) * laplace(*x)

    law = random.Lognormal()
    return problem(name, a=law, f=FIELD, g=FIELD, box=box, rtol=1e-12), {"a": a, "f": source, "g": u}


def norm(r, weights):
    return float(np.sqrt((weights * np.square(r)).sum() / weights.sum()))


ELLIPTIC = [("darcy", "square"), ("darcy", "mixed"), ("darcy", "torus"), ("darcy", "line"), ("poisson", "square"),
            ("poisson", "mixed"), ("shifted_laplacian", "mixed")]  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "case"), ELLIPTIC)
def test_second_order_solutions_leave_residuals_of_second_order(x64, name, case):
    """The solution's error is h² e with a smooth e, so that the residual is h² L e: inside, and on Neumann sides."""
    declared, functions = elliptic(name, case)
    found = []
    for n in (17, 33):
        grid = declared.box.grid(n if case != "torus" else n - 1)

        @jax.jit
        def residuals(points, declared=declared, functions=functions, grid=grid):
            fields = {k: h(*jnp.moveaxis(points, -1, 0)) for k, h in functions.items()}
            solved = declared.solve(fields, grid)

            def inputs(points):
                return {
                    k: Jet.of(lambda p, h=h: h(*jnp.moveaxis(p, -1, 0)), points, declared.coordinates)
                    for k, h in functions.items()
                }

            inside = declared.residual(Jet(OnGrid(solved["u"], grid)), inputs(points))
            sides = []
            for condition in declared.boundary:
                at = [OnGrid(solved["u"], grid, at={side.axis: side.position}) for side in condition.sides]
                here = jnp.stack(jnp.broadcast_arrays(*at[0].coordinates), -1)
                u = [Jets({"u": Jet(d)}) for d in at]
                sides.append(condition.residual(u, declared.input_jets(inputs(here))))
            return solved.status, inside, sides

        status, inside, sides = residuals(jnp.asarray(grid.points))
        assert status == Status.converged
        found.append(norm(inside, grid.weights))
        # Dirichlet values are exact, and periodic ones for series of waves; fluxes have the order of the method.
        walls = [isinstance(c.condition, Neumann) for c in declared.boundary]
        exact = [abs(r).max() for side, w in zip(sides, walls, strict=True) if not w for r in jax.tree.leaves(side)]
        assert len(exact) == 0 or max(exact) < 1e-11
        found[-1] = [found[-1], *(norm(r, np.ones(r.shape)) for r, w in zip(sides, walls, strict=True) if w)]
    orders = np.log2(np.array(found[0]) / np.array(found[1]))
    assert (abs(orders - 2) < 0.25).all() and max(found[1]) < 0.5, (found, orders)


def waves(x):
    return jnp.sin(2 * PI * x) + 0.5 * jnp.cos(4 * PI * x)


EVOLUTION = {
    "heat": (lambda: problem("heat", nu=0.05, u0=FIELD), waves, 32, 0.2),
    "heat in a box": (
        lambda: problem("heat", nu=random.Uniform(), u0=FIELD, box=Box(x=(0, 1), y=(0, 2, "neumann"))),
        lambda x, y: jnp.sin(PI * x) * (1 + jnp.cos(PI * y / 2)),
        (33, 32),
        0.2,
    ),
    "burgers": (lambda: problem("burgers", nu=0.05, u0=FIELD, dt=1e-3), waves, 64, 0.1),
    "navier_stokes": (
        lambda: problem("navier_stokes", nu=0.01, dt=5e-3, stream_function=True),
        lambda x, y: jnp.sin(2 * PI * x) * jnp.cos(2 * PI * y) + jnp.cos(4 * PI * y),
        (32, 24),
        0.2,
    ),
    "kolmogorov_flow": (
        lambda: problem("kolmogorov_flow", nu=0.1, dt=5e-3, stream_function=True),
        lambda x, y: jnp.sin(x) * jnp.cos(y) + jnp.cos(2 * y),
        (32, 48),
        0.2,
    ),
    "advection": (lambda: problem("advection", speed=0.5), waves, 32, 0.2),
    "advection in a box": (
        lambda: problem("advection", direction=(1, -2, 0.5), box=Box.unit(3, "periodic")),
        lambda x, y, z: jnp.sin(2 * PI * (x + y)) * jnp.cos(2 * PI * z),
        (8, 9, 10),
        0.02,
    ),
    "allen_cahn": (lambda: problem("allen_cahn", epsilon=0.1, dt=2e-3), lambda x: 0.5 * waves(x / 2), 96, 0.1),
    "korteweg_de_vries": (lambda: problem("korteweg_de_vries", mu=0.1, dt=1e-3), lambda x: jnp.cos(PI * x), 64, 0.1),
    "kuramoto_sivashinsky_2d": (
        lambda: problem("kuramoto_sivashinsky_2d", dt=5e-3),
        lambda x, y: jnp.cos(2 * PI * (x + y) / 32) + jnp.sin(4 * PI * y / 32),
        (32, 48),
        0.4,
    ),
    "fisher_kpp": (lambda: problem("fisher_kpp", dt=2e-3), lambda x: 0.5 + 0.2 * waves(x), 48, 0.1),
    "gray_scott": (
        lambda: problem("gray_scott", feed=0.4, diffusion_u=0.02, v0=FIELD, dt=0.01),
        lambda x, y: 0.5 + 0.2 * jnp.sin(PI * x) * jnp.cos(PI * y),
        (24, 32),
        0.4,
    ),
    "wave": (lambda: problem("wave"), lambda x, y: waves(x) * jnp.cos(2 * PI * y), (24, 16), 0.1),
    "klein_gordon": (lambda: problem("klein_gordon", dt=2e-3), lambda x: jnp.cos(PI * x), 32, 0.2),
    "kuramoto_sivashinsky": (
        lambda: problem("kuramoto_sivashinsky", dt=5e-3),
        lambda x: jnp.cos(2 * PI * x / 22) + jnp.sin(4 * PI * x / 22),
        64,
        0.4,
    ),
}


@pytest.mark.quick("burgers", "navier_stokes", "gray_scott")
@pytest.mark.parametrize("case", EVOLUTION)
def test_spectral_solutions_leave_residuals_near_rounding(x64, case):
    make, start, shape, stop = EVOLUTION[case]
    declared = make()
    grid, times = declared.box.grid(shape), np.linspace(0, stop, 41)
    starts = [name for name in declared.initial.values() if name in declared.laws]
    inputs = {name: start(*jnp.moveaxis(jnp.asarray(grid.points), -1, 0)) for name in starts}
    inputs |= {"nu": 0.05} if "nu" in declared.laws else {}
    solved = jax.jit(lambda inputs: declared.solve(inputs, grid, times=times))(inputs)
    assert solved.status == Status.converged

    def jets(at):
        return Jets({name: Jet(OnGrid(values, grid, times, at, accuracy=8)) for name, values in solved.fields.items()})

    inside = jax.tree.leaves(declared.residual(jets({}), inputs))
    speed = max(float(abs(jet.t).max()) for jet in jets({}).values())
    assert len(inside) == len(declared.unknowns) and speed > 0.05
    for r in inside:
        assert r.shape == (41, *grid.shape) and abs(r).max() < 1e-5 * speed
    for initial in declared.initial_residual(jets({"t": 0.0}), inputs).values():
        assert abs(initial).max() < 1e-13
    for condition in declared.boundary:
        sides = [jets({side.axis: side.position}) for side in condition.sides]
        for r in jax.tree.leaves(condition.residual(sides, declared.input_jets(inputs))):
            assert abs(r).max() < 1e-6
    # The residual sees what it must: another viscosity or start is no solution.
    drift = times.reshape(-1, *[1] * grid.ndim)
    wrong = {name: Jet(OnGrid(1.1 * values**2 + drift, grid, times)) for name, values in solved.fields.items()}
    assert max(abs(r).max() for r in jax.tree.leaves(declared.residual(wrong, inputs))) > 0.1


def test_every_problem_has_a_residual_or_says_why_not():
    covered = {name for name, _ in ELLIPTIC} | {case.split()[0] for case in EVOLUTION} | {"helmholtz"}
    # Other tests register problems of their own.
    own = {name for name, make in registry._factories.items() if make.__module__.startswith("surrogax.")}
    assert covered | set(WEAK) == own and own <= set(registered_problems())
    for make, reason in WEAK.values():
        declared = make()
        assert declared.no_residual.startswith(reason)
        with pytest.raises(ValueError, match=f"training needs a problem that declares `residual`; .*{reason}"):
            declared.needs("residual", "training")
