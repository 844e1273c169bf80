"""Darcy, Poisson and the shifted Laplacian: manufactured solutions, what holds discretely, derivatives, failures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.solvers import random
from surrogax.solvers.linear import Status
from surrogax.solvers.pde import Dihedral, problem, problems
from surrogax.solvers.pde.boundary_nodes import interior

FIELDS = {"a": random.Threshold(), "f": random.GaussianField(), "g": random.GaussianField()}
SQUARE, PI = Box.unit(2), np.pi


def darcy(box=SQUARE, a=FIELDS["a"], **options):
    return problems.darcy.darcy(a, FIELDS["f"], FIELDS["g"], box=box, **options)


def inputs(shape, seed=0, dtype=float):
    """A positive coefficient with jumps, a source and boundary values, all rough."""
    rng = np.random.default_rng(seed)
    a = np.where(rng.random(shape) < 0.5, 3.0, 12.0)
    return {"a": a.astype(dtype), "f": rng.random(shape).astype(dtype), "g": rng.normal(size=shape).astype(dtype)}


def norm(u, grid):
    return float(np.sqrt((grid.weights * np.square(u)).sum()))


# Order ----------------------------------------------------------------------------------------------------------------

# Exact solutions with no flux through Neumann sides and zero mean where there is no Dirichlet side; smooth coefficients.
CASES = {
    "1D": (Box(x=(0, 1)), lambda x: jnp.exp(x) * jnp.sin(3 * x), lambda x: 1 + 0.8 * jnp.sin(2 * x), (9, 17, 33)),
    "1D Neumann": (
        Box(x=(0, 2, "neumann")),
        lambda x: jnp.cos(PI * x / 2),
        lambda x: jnp.exp(0.5 * x),
        (24, 48),
    ),
    "2D": (
        Box(x=(0, 1), y=(-1, 1)),
        lambda x, y: jnp.sin(2 * x + y) + x * y**2,
        lambda x, y: 2 + jnp.cos(3 * x) * y,
        (17, 33),
    ),
    "2D mixed": (
        Box(x=(0, 1), y=(0, 1, "neumann")),
        lambda x, y: jnp.exp(x) * jnp.cos(PI * y),
        lambda x, y: 1 + x + y**2,
        (17, 33),
    ),
    "2D periodic": (
        Box(x=(0, 1, "periodic"), y=(0, 2, "periodic")),
        lambda x, y: jnp.sin(2 * PI * x) * jnp.cos(PI * y),
        lambda x, y: 2 + jnp.sin(2 * PI * x) * jnp.sin(PI * y),
        (16, 32),
    ),
    "3D": (
        Box(x=(0, 1), y=(0, 1, "neumann"), z=(0, 1, "periodic")),
        lambda x, y, z: jnp.cos(2 * x) * (jnp.cos(PI * y) + jnp.sin(2 * PI * z)),
        lambda x, y, z: 1 + 0.5 * x + 0.3 * jnp.cos(2 * PI * z),
        (7, 13),
    ),
}


def manufactured(box, u, a):
    """`points -> {a, f, g}` with f = −∇·(a∇u) by differentiation."""
    exact, coefficient = (lambda p, h=h: h(*p) + 0.0 for h in (u, a))

    def source(p):
        flux = lambda p: coefficient(p) * jax.grad(exact)(p)  # noqa: E731
        return -jnp.trace(jax.jacfwd(flux)(p))

    def at(points):
        rows = points.reshape(-1, points.shape[-1])
        values = {"a": jax.vmap(coefficient)(rows), "f": jax.vmap(source)(rows), "g": jax.vmap(exact)(rows)}
        return {name: v.reshape(points.shape[:-1]) for name, v in values.items()}

    return at


@pytest.mark.quick("2D mixed")
@pytest.mark.parametrize("case", CASES)
def test_order_of_manufactured_solutions(x64, case):
    box, u, a, sizes = CASES[case]
    kinds = ("harmonic", "arithmetic") if case in ("1D", "2D") else ("harmonic",)
    # The scaled preconditioner must work without a Dirichlet side too.
    choice = "scaled" if case == "2D periodic" else "plain"
    errors = []
    for n in sizes:
        grid = box.grid(n)

        @jax.jit
        def run(points, grid=grid):
            fields = manufactured(box, u, a)(points)
            return fields["g"], [darcy(box, faces=k, preconditioner=choice).solve(fields, grid) for k in kinds]

        exact, solved = run(jnp.asarray(grid.points))
        exact = np.asarray(exact)
        assert all(stats.status == Status.converged for _, stats in solved)
        errors.append([norm(v["u"] - exact, grid) / norm(exact, grid) for v, _ in solved])
        if "dirichlet" not in box.boundaries:
            assert abs(np.mean(solved[0]["u"])) < 1e-12
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (abs(orders[-1] - 2) < 0.2).all(), f"orders {orders}, errors {errors}"
    assert (np.array(errors[-1]) < 0.02).all()


@pytest.mark.nightly
def test_poisson_is_darcy_with_a_unit_coefficient_and_direct(x64):
    box = Box(x=(0, 1), y=(0, 2, "neumann"))
    grid = box.grid((9, 8))
    fields = inputs(grid.shape)
    poisson, unit = problems.poisson.poisson(FIELDS["f"], FIELDS["g"], box=box), darcy(box)

    @jax.jit
    def run(f, g):
        return poisson.solve({"f": f, "g": g}, grid), unit.solve({"a": jnp.ones_like(f), "f": f, "g": g}, grid)

    (ours, stats), (other, _) = run(fields["f"], fields["g"])
    assert stats.iterations == 1 and stats.status == Status.converged
    # The field is preconditioned in single precision, and solved to 1e-8.
    np.testing.assert_allclose(ours["u"], other["u"], rtol=1e-7, atol=1e-8)


@pytest.mark.nightly
def test_numbers_stand_for_constant_fields():
    grid = SQUARE.grid(9)
    fields = {name: jnp.full(grid.shape, v) for name, v in {"a": 2.0, "f": 3.0, "g": 0.5}.items()}
    numbers = problems.darcy.darcy(2.0, 3.0, 0.5)
    solve = jax.jit(lambda fields: [numbers.solve({}, grid)["u"], darcy().solve(fields, grid)["u"]])
    np.testing.assert_allclose(*solve(fields), rtol=1e-6)
    assert list(problems.darcy.darcy(FIELDS["a"], 1.0).laws) == ["a"]
    assert problem("darcy", f=2.0).recipe != problem("darcy", f=3.0).recipe


# What holds discretely ------------------------------------------------------------------------------------------------


@functools.cache
def batched(box, n, **options):
    """Solutions and statistics of a batch of inputs on one grid, compiled."""
    solve, grid = darcy(box, **options).solve, box.grid(n)
    return jax.jit(jax.vmap(lambda fields: solve(fields, grid)))


def stack(*samples):
    return {name: jnp.stack([jnp.asarray(s[name]) for s in samples]) for name in "afg"}


@pytest.mark.nightly
def test_maximum_principle(x64):
    fields = inputs((13, 13))
    zero = {**fields, "g": np.zeros((13, 13))}
    harmonic_values = {**fields, "f": np.zeros((13, 13))}
    solved, _ = batched(SQUARE, 13, rtol=1e-12)(stack(zero, fields, harmonic_values))
    edge = np.ones((13, 13), bool)
    edge[1:-1, 1:-1] = False
    edge[[0, 0, -1, -1], [0, -1, 0, -1]] = False  # corners touch no equation
    above, values, between = np.asarray(solved["u"])
    assert above[1:-1, 1:-1].min() > 0 and (above[edge] == 0).all()
    g = fields["g"]
    np.testing.assert_array_equal(values[edge], g[edge])
    assert values.min() >= g.min()
    assert g[edge].min() < between[1:-1, 1:-1].min() and between[1:-1, 1:-1].max() < g[edge].max()


@pytest.mark.nightly
@pytest.mark.parametrize("boundary", ["dirichlet", pytest.param("periodic", marks=pytest.mark.nightly)])
def test_symmetries_and_scaling(x64, boundary):
    box, group = Box.unit(2, boundary), Dihedral()
    layout = box.grid(12).layouts[0]
    fields = inputs((12, 12))
    moved = [{k: group.transform(e, jnp.asarray(v), layout) for k, v in fields.items()} for e in group.elements()]
    scaled = {**fields, "a": 7.5 * fields["a"], "g": fields["g"] / 7.5}
    solved, stats = batched(box, 12, rtol=1e-12)(stack(*moved, scaled))
    assert (stats.status == Status.converged).all()
    original = solved["u"][0]
    assert len({np.asarray(u).round(9).tobytes() for u in solved["u"][:8]}) == 8
    for element, u in zip(group.elements(), solved["u"], strict=False):
        np.testing.assert_allclose(u, group.transform(element, original, layout), atol=1e-9)
    np.testing.assert_allclose(solved["u"][-1], original / 7.5, atol=1e-9)
    assert darcy(box).symmetry == group


def test_symmetry_is_declared_for_squares_only():
    assert darcy(Box(x=(0, 1), y=(0, 2))).symmetry is None
    assert darcy(Box(x=(0, 1), y=(0, 1, "neumann"))).symmetry is None
    assert darcy(Box.unit(1)).symmetry is darcy(Box.unit(3)).symmetry is None


@pytest.mark.nightly
def test_operator_and_solve_are_one_system(x64):
    box = Box(x=(0, 1), y=(0, 1, "neumann"), z=(0, 1, "periodic"))
    grid = box.grid((6, 4, 5))
    fields = {k: jnp.asarray(v) for k, v in inputs(grid.shape).items()}
    declared = darcy(box, rtol=1e-13)
    operator, b = declared.operator(fields, grid)
    matrix = np.asarray(jax.jit(lambda operator: operator.as_matrix())(operator))
    dense = np.linalg.solve(matrix, np.ravel(b)).reshape(b.shape)
    solved = jax.jit(lambda fields: declared.solve(fields, grid))(fields)["u"]
    assert b.shape == (4, 4, 5) and solved.shape == grid.shape
    np.testing.assert_allclose(solved[1:-1], dense, atol=1e-10)
    np.testing.assert_array_equal(solved[::5], fields["g"][::5])


@pytest.mark.nightly
def test_precisions_agree():
    grid = SQUARE.grid(33)
    fields = inputs(grid.shape, dtype=np.float32)
    single = jax.jit(lambda fields: darcy().solve(fields, grid))(fields)["u"]
    with jax.enable_x64(True):
        fields = {k: jnp.asarray(v, jnp.float64) for k, v in fields.items()}
        double = np.asarray(jax.jit(lambda fields: darcy().solve(fields, grid))(fields)["u"])
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert 0 < norm(single - double, grid) / norm(double, grid) < 1e-4


@pytest.mark.nightly
def test_iterations_are_bounded_as_the_grid_is_refined(key):
    """Contrast 4: the plain preconditioner needs about as many iterations on every grid; without it they grow."""
    steps = []
    for n in (33, 129):
        grid = SQUARE.grid(n)
        a = FIELDS["a"].sample(key, grid)
        assert set(np.unique(a)) == {3, 12}
        _, stats = jax.jit(lambda a, grid=grid: problems.darcy.darcy(FIELDS["a"]).solve({"a": a}, grid))(a)
        assert stats.status == Status.converged
        steps.append(int(stats.iterations))
    assert max(steps) <= 14 and max(steps) - min(steps) <= 3, steps


@pytest.mark.nightly
def test_scaled_preconditioner_is_chosen_for_smooth_fields(key):
    law, grid = random.Lognormal(scale=2.0), SQUARE.grid(33)

    @jax.jit
    def run(a):
        choices = ("auto", "scaled", "plain")
        return [problems.darcy.darcy(law, preconditioner=choice).solve({"a": a}, grid).stats for choice in choices]

    auto, scaled, plain = run(law.sample(key, grid))
    assert auto.status == scaled.status == plain.status == Status.converged
    assert auto.iterations == scaled.iterations < 0.7 * plain.iterations


# Derivatives ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boundary", "choice"), [pytest.param("dirichlet", "plain", marks=pytest.mark.nightly), ("neumann", "scaled")]
)
def test_gradients_against_finite_differences(x64, boundary, choice):
    box = Box(x=(0, 1, boundary), y=(0, 1, "neumann"))
    grid = box.grid((7, 6))
    fields = {k: jnp.asarray(v) for k, v in inputs(grid.shape).items()}
    declared = darcy(box, preconditioner=choice, rtol=1e-13)

    rng = np.random.default_rng(5)
    weights, step = jnp.asarray(rng.normal(size=grid.shape)), 1e-4

    @jax.jit
    def value_and_gradient(fields):
        return jax.value_and_grad(lambda f: jnp.vdot(weights, jnp.sin(20 * declared.solve(f, grid)["u"])))(fields)

    _, gradient = value_and_gradient(fields)
    for name in "afg" if boundary == "dirichlet" else "af":
        direction = jnp.asarray(rng.normal(size=grid.shape))

        def value(s, name=name, direction=direction):
            return value_and_gradient({**fields, name: fields[name] + s * step * direction})[0]

        expected = (value(-2) - 8 * value(-1) + 8 * value(1) - value(2)) / (12 * step)
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(jnp.vdot(gradient[name], direction), expected, rtol=1e-6)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_coefficient_that_is_not_positive_fails_alone():
    good, bad = inputs((13, 13), dtype=np.float32), inputs((13, 13), 1, np.float32)
    bad["a"][4:7, 5:8] = -5
    solved, stats = batched(SQUARE, 13)(stack(good, bad, good))
    assert stats.status.tolist() == [Status.converged, Status.breakdown, Status.converged]
    np.testing.assert_array_equal(solved["u"][0], solved["u"][2])
    assert np.isfinite(solved["u"]).all()


# Shifted Laplacian ----------------------------------------------------------------------------------------------------


def shifted(box=SQUARE):
    return problems.shifted_laplacian.shifted_laplacian(random.Uniform(0, 40), FIELDS["f"], box=box)


@pytest.mark.nightly
def test_shifted_laplacian_on_an_eigenfunction(x64):
    """sin πx sin πy is an eigenvector of the discrete Laplacian too, with eigenvalue 8 sin²(πh/2)/h²."""
    shifts, errors = jnp.array([-19.0, -3.0, 0.0, 40.0]), []
    for n in (17, 33):
        grid = SQUARE.grid(n)
        wave = np.prod(np.sin(PI * grid.points), -1)
        f = (2 * PI**2 + shifts)[:, None, None] * wave
        solve = jax.jit(jax.vmap(lambda c, f, grid=grid: shifted().solve({"c": c, "f": f}, grid)))
        solution, stats = solve(shifts, f)
        h = grid.spacing[0]
        discrete = f / (8 * np.sin(PI * h / 2) ** 2 / h**2 + shifts)[:, None, None]
        assert (stats.status == Status.converged).all() and (stats.iterations == 1).all()
        np.testing.assert_allclose(solution["u"], discrete, atol=1e-11)
        errors.append(abs(solution["u"] - wave).max((1, 2)))
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.2)


@pytest.mark.nightly
def test_shifted_laplacian_against_dense_algebra_and_its_derivative(x64):
    box = Box(x=(0, 1), y=(0, 1, "periodic"))
    grid = box.grid((6, 7))
    f = jnp.asarray(inputs(grid.shape)["f"])
    declared = problems.shifted_laplacian.shifted_laplacian(random.Uniform(0, 40), FIELDS["f"], box=box, rtol=1e-12)
    operator, b = declared.operator({"c": jnp.asarray(-5.0), "f": f}, grid)
    matrix = np.asarray(operator.as_matrix())
    expected = np.linalg.solve(matrix, np.ravel(b))
    solve = jax.jit(lambda c: jax.jvp(lambda c: declared.solve({"c": c, "f": f}, grid)["u"], (c,), (1.0,)))
    u, slope = solve(jnp.asarray(-5.0))
    np.testing.assert_allclose(np.ravel(u[1:-1]), expected, atol=1e-10)
    np.testing.assert_allclose(np.ravel(slope[1:-1]), -np.linalg.solve(matrix, expected), atol=1e-9)


@pytest.mark.nightly
@pytest.mark.parametrize("boundary", ["neumann", pytest.param("periodic", marks=pytest.mark.nightly)])
def test_shift_reaches_the_mean_where_there_is_no_dirichlet_side(x64, boundary):
    box = Box.unit(2, boundary)
    grid = box.grid(8)
    f = jnp.asarray(3.0 + inputs(grid.shape)["f"])
    solve = jax.jit(jax.vmap(lambda c: shifted(box).solve({"c": c, "f": f}, grid)))
    solution, stats = solve(jnp.array([2.0, 0.0, -2.0]))
    assert stats.status.tolist() == [Status.converged, Status.converged, Status.breakdown]
    assert stats.iterations[0] == 1
    np.testing.assert_allclose(solution["u"].mean((1, 2))[:2], [f.mean() / 2, 0], rtol=1e-12, atol=1e-13)


@pytest.mark.nightly
def test_shift_beyond_the_smallest_eigenvalue_breaks_down():
    grid = SQUARE.grid(13)
    solve = jax.jit(jax.vmap(lambda c: shifted().solve({"c": c, "f": jnp.ones(grid.shape)}, grid)))
    assert solve(jnp.array([-19.0, -25.0])).stats.status.tolist() == [Status.converged, Status.breakdown]


CONTRASTS = {
    "blocks": Box.unit(2),
    "long": Box(x=(0, 2), y=(0, 0.5)),
    "ring": Box(x=(0, 1, "periodic"), y=(0, 1)),
    "closed": Box(x=(0, 1, "periodic"), y=(0, 1, "neumann")),
    "solid": Box.unit(3),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", CONTRASTS)
def test_a_contrast_of_a_million_is_solved(x64, name):
    """As by dense algebra, by the default and by multigrid."""
    box, rng = CONTRASTS[name], np.random.default_rng(0)
    grid = box.grid(7 if name == "solid" else 16)
    a = np.where(rng.random(grid.shape) < 0.5, 1.0, 1e6)
    f = rng.normal(size=grid.shape)
    for choice in ("auto", "scaled", "multigrid")[: 3 if name == "blocks" else 1]:
        declared = darcy(box, rtol=1e-10, preconditioner=choice)
        inputs = {"a": jnp.asarray(a), "f": jnp.asarray(f), "g": jnp.zeros(grid.shape)}
        operator, b = declared.operator(inputs, grid)
        exact = np.linalg.pinv(np.asarray(operator.as_matrix()), rcond=1e-14) @ np.ravel(b)
        solved = jax.jit(lambda inputs: declared.solve(inputs, grid))(inputs)  # noqa: B023
        u = interior(solved["u"], box)
        assert solved.status == 0
        np.testing.assert_allclose(np.ravel(u), exact, atol=1e-5 * abs(exact).max())
