"""Jets, the registry of problems, what a problem declares, and the symmetries of a square."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.solvers import random
from surrogax.solvers.pde import Dihedral, Jet, Problem, problem, register_problem, registered_problems
from surrogax.solvers.pde.grid_derivatives import OnGrid


@pytest.fixture
def u():
    """sin(3x) exp(−2t) at (0.4, 0.7) in float64."""
    with jax.enable_x64(True):
        yield Jet.of(lambda p: jnp.sin(3 * p[0]) * jnp.exp(-2 * p[1]), jnp.array([0.4, 0.7]), ("x", "t"))


def test_derivatives_against_closed_forms(u):
    s, c, e = np.sin(1.2), np.cos(1.2), np.exp(-1.4)
    expected = {"x": 3 * c * e, "t": -2 * s * e, "xx": -9 * s * e, "xt": -6 * c * e, "tx": -6 * c * e, "tt": 4 * s * e}
    expected |= {"xxx": -27 * c * e, "xxt": 18 * s * e, "value": s * e}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(u, name), value, rtol=1e-13)
    assert {k: float(v) for k, v in u.at.items()} == {"x": 0.4, "t": 0.7}


def test_arithmetic_acts_on_the_value_from_both_sides(u):
    v = np.sin(1.2) * np.exp(-1.4)
    two = jnp.asarray(2.0)
    pairs = [
        (u + 2, v + 2),
        (2 + u, 2 + v),
        (u - 2, v - 2),
        (2 - u, 2 - v),
        (u * 2, 2 * v),
        (2 * u, 2 * v),
        (u / 2, v / 2),
        (2 / u, 2 / v),
        (u**2, v**2),
        (-u, -v),
        (two + u, 2 + v),
        (two - u, 2 - v),
        (two * u, 2 * v),
        (two / u, 2 / v),
        (u + u, 2 * v),
        (u - u, 0),
        (u * u, v**2),
        (u / u, 1),
        (jnp.asarray(u), v),
        (jnp.sin(u.value) + u.x, np.sin(v) + 3 * np.cos(1.2) * np.exp(-1.4)),
    ]
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, rtol=1e-13)


def test_a_residual_as_it_is_written(u):
    """u_t + u u_x − ν u_xx of the closed form, under jit and vmap."""

    @jax.jit
    @jax.vmap
    def residual(point):
        u = Jet.of(lambda p: jnp.sin(3 * p[0]) * jnp.exp(-2 * p[1]), point, ("x", "t"))
        return u.t + u * u.x - 0.1 * u.xx

    x, t = np.random.default_rng(0).random((2, 5))
    s, c, e = np.sin(3 * x), np.cos(3 * x), np.exp(-2 * t)
    np.testing.assert_allclose(residual(jnp.stack([x, t], 1)), -2 * s * e + 3 * s * c * e**2 + 0.9 * s * e, rtol=1e-12)


def test_unknown_coordinates_are_named(u):
    with pytest.raises(AttributeError, match=r"u.xy is no derivative along the coordinates \['x', 't'\]"):
        u.xy  # noqa: B018
    assert not hasattr(u, "_private") and not hasattr(u, "__array__")


def test_names_of_several_letters():
    def jet(*names):
        return Jet.of(lambda p: p[0] ** 3 * p[1] ** 2, jnp.array([2.0, 3.0]), names)

    for names in (("theta", "t"), ("x1", "x2"), ("r", "rho")):
        u, (a, b) = jet(*names), names
        assert getattr(u, a) == u.partial(a) == 3 * 4 * 9 and getattr(u, b + b) == u.partial(b, b) == 2 * 8
        assert getattr(u, a + b) == getattr(u, b + a) == u.partial(b, a) == 3 * 4 * 6
    with pytest.raises(AttributeError, match=r"u.xx can be read in several ways along \['x', 'xx'\]; use u.partial"):
        jet("x", "xx").xx  # noqa: B018
    assert jet("x", "xx").partial("xx") == 8 * 6
    with pytest.raises(AttributeError, match=r"no coordinate \['y'\]"):
        jet("x", "t").partial("x", "y")


def test_numbers_of_numpy_on_the_left(u):
    v = np.sin(1.2) * np.exp(-1.4)
    for ours, expected in [(np.float64(2) * u, 2 * v), (np.ones(3) - u, np.ones(3) - v), (np.float32(2) / u, 2 / v)]:
        np.testing.assert_allclose(ours, expected, rtol=1e-13)


@pytest.mark.parametrize("boundary", [pytest.param("periodic", marks=pytest.mark.nightly), "dirichlet", "neumann"])
def test_derivatives_on_grids_are_those_of_the_function(x64, boundary):
    box = Box(x=(0, 1, boundary), y=(-1, 1, "dirichlet"))
    grid, times = box.grid((48, 41)), np.linspace(0, 1, 25) ** 1.1
    function = lambda p: jnp.cos(2 * jnp.pi * p[..., 0]) * jnp.exp(p[..., 1] - p[..., 2])  # noqa: E731
    points = jnp.stack(jnp.meshgrid(times, *grid.coordinates, indexing="ij"), -1)[..., jnp.array([1, 2, 0])]
    exact = Jet.of(function, points, ("x", "y", "t"))
    ours = Jet(OnGrid(exact.value, grid, times))
    for name in ("value", "x", "xx", "t", "xt", "yt", "xxy", "yyyy"):
        a, b = getattr(ours, name), getattr(exact, name)
        assert a.shape == b.shape == (25, 48, 41)
        assert abs(a - b).max() < 1e-5 * abs(b).max(), name
    for name, value in {"x": 0.0, "y": 1.0, "t": 0.0}.items():
        side = Jet(OnGrid(exact.value, grid, times, {name: value}))
        there = Jet.of(function, jnp.stack(jnp.broadcast_arrays(*side.at.values()), -1), ("x", "y", "t"))
        assert side.at[name].ravel().tolist() == [value]
        for derivative in ("value", "x", "y", "t"):
            np.testing.assert_allclose(getattr(side, derivative), getattr(there, derivative), atol=1e-4)


def test_registry():
    with pytest.raises(ValueError, match=r"unknown problem 'stokes'; known: \[.*'darcy', .*'poisson'"):
        problem("stokes")
    with pytest.raises(
        TypeError, match=r"problem\('burgers'\): .*'viscosity'; its arguments are nu=0\.1, u0=None, box=None"
    ):
        problem("burgers", viscosity=1.0)
    with pytest.raises(TypeError, match=r"problem\('shifted_laplacian'\): missing .*'c'; its arguments are c, "):
        problem("shifted_laplacian")

    @register_problem("test_problem.toy")
    def toy(rate: float = 1.0) -> Problem:
        return Problem("u", Box.unit(1))

    assert problem("test_problem.toy", rate=2.0).recipe == toy(2.0).recipe
    assert toy(2.0).recipe.startswith("test_problem.toy(rate=2.0)#") and problem("darcy").recipe.endswith("rtol=None)")
    assert toy().name == "test_problem.toy" and "test_problem.toy" in registered_problems()
    register_problem("test_problem.toy")(toy.__wrapped__)  # the same function again, as in a notebook
    with pytest.raises(ValueError, match=r"'darcy' is registered by surrogax.solvers.pde.problems.darcy.darcy"):
        register_problem("darcy")(toy.__wrapped__)


@dataclasses.dataclass(frozen=True)
class Ramp(random.Distribution):
    slope: float
    is_field, isotropic, smooth = True, False, True

    def sample(self, key, grid):
        return self.slope * grid.points[..., 0]


def test_a_problem_says_what_it_depends_on():
    text = repr(problem("burgers", nu=random.LogUniform(1e-3, 0.1)))
    assert "burgers: u on x∈[0, 1] periodic, t∈[0, 1]" in text and "nu ~ LogUniform(low=0.001, high=0.1)" in text
    assert "u0 ~ GaussianField(alpha=2, tau=5" in text and "has ['residual', 'solve', 'step']" in text
    constant = repr(Problem("u", Box.unit(1), inputs={"c": 1.0, "f": np.ones((64, 64))}))
    assert "Problem(u on x∈[0, 1] dirichlet; random inputs: none; constants: c=1.0, f=array(" in constant
    assert len(constant) < 300, "not all 4096 numbers"


def test_laws_of_ones_own_that_do_not_fit_are_named():
    @dataclasses.dataclass(frozen=True)
    class Three(random.Distribution):
        is_field, isotropic, smooth = True, False, True

        def sample(self, key, grid):
            return jnp.zeros(3)

    grid = Box.unit(1).grid(5)
    with pytest.raises(
        ValueError, match=r"the law of 'f' drew the shape \(3,\), expected \(5,\) by its is_field=True: .*Three"
    ):
        Problem("u", Box.unit(1), inputs={"f": Three()}).sample_inputs(jax.random.key(0), grid)
    with pytest.raises(TypeError, match=r"the input 'f' is the class Three; give a law, Three\(…\)"):
        Problem("u", Box.unit(1), inputs={"f": Three})
    for plain in (lambda key, grid: 0, object(), "law"):
        with pytest.raises(TypeError, match=r"the input 'u0' is .*: neither a number or array nor a law; derive laws"):
            Problem("u", Box.unit(1), inputs={"u0": plain})


def test_recipes_hold_every_digit_of_every_argument():
    def recipes(name, *options):
        return [problem(name, **o).recipe for o in options]

    boxes = [Box(x=(0, 1, "periodic")), Box(x=(0, 1 + 1e-15, "periodic"))]
    laws = [random.LogUniform(0.1), random.LogUniform(np.nextafter(0.1, 1))]
    different = recipes("burgers", *({"box": b} for b in boxes), *({"nu": law} for law in laws), {"dt": 1e-3})
    assert len(set(different)) == len(different)
    assert recipes("burgers", {}) == recipes("burgers", {"nu": 0.1, "dt": None}), "defaults are arguments too"
    assert recipes("burgers", {"nu": laws[0]}) == recipes("burgers", {"nu": random.LogUniform(0.1, 10.0)})
    nested = problem("darcy", a=random.Threshold(4, 2, random.GaussianField(tau=7.5))).recipe
    assert "Threshold(upper=4, lower=2, field=GaussianField(alpha=2.0, tau=7.5" in nested
    assert f"u0={__name__}.Ramp(slope=2.0)" in problem("heat", u0=Ramp(2.0)).recipe, "two users may choose one name"
    masks = [np.zeros((8, 8), bool), np.zeros((8, 8), bool), np.eye(8, dtype=bool)]
    a, b, c = recipes("smoke", *({"grid": (8, 8), "solid": m} for m in masks))
    assert a == b != c


def test_what_cannot_be_identified_has_no_recipe():
    class Wave(random.Distribution):
        is_field, isotropic, smooth = True, False, True

        def sample(self, key, grid):
            return jnp.zeros(grid.shape)

    with pytest.raises(TypeError, match=r"heat: u0 is .*Wave.*make it a frozen dataclass"):
        _ = problem("heat", u0=Wave()).recipe
    for hand_made in (Problem("u", Box.unit(1)), problem("heat").replace(box=Box(x=(0, 2, "periodic")))):
        with pytest.raises(ValueError, match="is hand-made, so that nothing identifies it"):
            _ = hand_made.recipe
    with pytest.raises(TypeError, match="smoke: buoyancy is traced"):
        jax.jit(lambda b: problem("smoke", grid=(8, 8), buoyancy=b).recipe)(1.0)


def test_symmetry_asks_the_laws():
    """Numbers are isotropic; a law with a preferred direction must not be augmented by rotations."""

    @dataclasses.dataclass(frozen=True)
    class Stripes(random.Distribution):
        is_field, isotropic, smooth = True, False, True

        def sample(self, key, grid):
            return 1 + jnp.sin(grid.points[..., 0] + jax.random.uniform(key)) ** 2

    for law in (random.Threshold(), random.Lognormal(), random.Uniform(1, 2), 1.0):
        assert problem("darcy", a=law).symmetry == Dihedral(), law
        assert problem("darcy", a=law, f=Stripes()).symmetry is None
    assert problem("darcy", a=Stripes()).symmetry is None
    # Where a is given as values alone, its slope is unknown; the law itself promises that it has one.
    problem("darcy", a=Stripes()).needs("residual", "test")


def test_solve_has_one_signature_and_names_what_it_cannot_use():
    poisson = problem("poisson", f=random.GaussianField(), box=Box.unit(1))
    grid, f = poisson.box.grid(9), jnp.ones(9)
    (fields, stats), named = poisson.solve({"f": f}, grid), poisson.solve(grid=grid, f=f, rtol=1e-3)
    np.testing.assert_allclose(fields["u"], named["u"], rtol=1e-4)
    assert named.status == stats.status == 0 and named.restart == {}
    np.testing.assert_allclose(poisson.solve({"f": f, "g": 2.0}, grid)["u"], fields["u"] + 2, rtol=1e-5)
    for message, wrong in (
        (r"inputs \['f'\] are random and were not given", lambda: poisson.solve({}, grid)),
        (r"unknown inputs \['q'\]", lambda: poisson.solve({"f": f, "q": f}, grid)),
        (r"unknown inputs or options \['dt'\]; .*options of its solver: \['rtol'\]",
         lambda: poisson.solve({"f": f}, grid, dt=1.0)),
        ("poisson is steady", lambda: poisson.solve({"f": f}, grid, times=[1.0])),
        ("give a grid", lambda: poisson.solve({"f": f})),
        ("step needs a problem that declares `step`", lambda: poisson.step({"u": f}, {"f": f}, grid, 0.1)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            wrong()


@pytest.mark.quick("heat")
@pytest.mark.parametrize("name", ["heat", "burgers", "kuramoto_sivashinsky"])
def test_a_step_is_a_short_solve(x64, name, key):
    options = {} if name == "kuramoto_sivashinsky" else {"nu": random.Uniform(0.02, 0.05)}
    declared = problem(name, **options)
    grid = declared.box.grid(32)
    inputs = declared.sample_inputs(key, grid)
    solved = declared.solve(inputs, grid, times=[0.0, 0.1, 0.2])
    rest = {k: v for k, v in inputs.items() if k != "u0"}
    after = declared.step({"u": solved["u"][1]}, rest, grid, 0.1)
    assert after["u"].shape == (32,)
    np.testing.assert_allclose(after["u"], solved["u"][2], atol=1e-5)


def test_what_a_problem_lacks_is_named():
    declared = Problem("u", Box.unit(1), residual=lambda u, p: u.xx)
    declared.needs("residual", "training")
    assert declared.unknowns == ("u",)
    with pytest.raises(ValueError, match=r"generate needs a problem that declares `solve`; Problem\(u on .*residual"):
        declared.needs("solve", "generate")
    with pytest.raises(ValueError, match=r"training needs a problem that declares `residual`; .* a jumps"):
        problem("darcy").needs("residual", "training")
    problem("poisson").needs("operator", "systems")


def test_every_parameter_has_its_own_stream(key):
    laws = {"a": random.Uniform(), "b": random.Uniform(), "f": random.GaussianField()}
    values = Problem("u", Box.unit(1), inputs=laws).sample_inputs(key, Grid.unit_interval(5))
    assert {k: v.shape for k, v in values.items()} == {"a": (), "b": (), "f": (5,)} and values["a"] != values["b"]
    more = Problem("u", Box.unit(1), inputs={**laws, "g": random.Uniform()}).sample_inputs(key, Grid.unit_interval(5))
    for name in laws:
        np.testing.assert_array_equal(values[name], more[name])


# Symmetries of the square ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nodes", "cells", "periodic"])
def test_the_eight_elements_are_a_group(layout):
    group, field = Dihedral(), jnp.arange(36.0).reshape(6, 6)
    images = {
        np.asarray(group.transform(e, field, layout)).tobytes(): np.asarray(group.transform(e, field, layout))
        for e in group.elements()
    }
    assert len(images) == group.order == len(group.elements())
    assert np.asarray(field).tobytes() in images
    for image in images.values():
        assert sorted(image.ravel()) == list(range(36))
        for element in group.elements():
            assert np.asarray(group.transform(element, jnp.asarray(image), layout)).tobytes() in images


@pytest.mark.parametrize("layout", ["nodes", "cells", "periodic"])
def test_elements_are_the_maps_of_the_square(layout):
    """The field f(x, y) becomes f(σx, σy) or with the axes exchanged; a periodic grid is mapped to itself modulo 1."""
    group, grid = Dihedral(), Grid.unit_square(8, layout)
    f = lambda x, y: np.cos(2 * np.pi * (x - 0.1)) + 3 * np.sin(2 * np.pi * y)  # noqa: E731
    x, y = grid.points[..., 0], grid.points[..., 1]
    field = jnp.asarray(f(x, y))
    for flip_x, flip_y, swap in group.elements():
        p, q = (y, x) if swap else (x, y)
        expected = f(1 - p if flip_x else p, 1 - q if flip_y else q)
        np.testing.assert_allclose(
            group.transform(jnp.array([flip_x, flip_y, swap]), field, layout), expected, atol=1e-5
        )


def test_transform_of_channels_batches_and_wrong_shapes(key):
    group = Dihedral()
    fields = jax.random.normal(key, (5, 4, 4, 2))
    elements = jax.vmap(group.random)(jax.random.split(key, 5))
    ours = jax.jit(jax.vmap(group.transform))(elements, fields)
    for element, field, moved in zip(elements, fields, ours, strict=True):
        for c in range(2):
            np.testing.assert_array_equal(moved[..., c], group.transform(element, field[..., c]))
    drawn = {tuple(e.tolist()) for e in jax.vmap(group.random)(jax.random.split(key, 100))}
    assert len(drawn) == 8
    with pytest.raises((ValueError, TypeError), match=r"4, ?5"):
        group.transform(elements[0], jnp.ones((4, 5)))
