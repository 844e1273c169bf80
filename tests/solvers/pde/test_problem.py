"""Jets, the registry of problems, what a problem declares, and the symmetries of a square."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.solvers import random
from surrogax.solvers.pde import Dihedral, Jet, Problem, problem, register_problem, registered_problems


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


def test_registry():
    with pytest.raises(ValueError, match=r"unknown problem 'stokes'; known: \[.*'darcy', .*'poisson'"):
        problem("stokes")
    with pytest.raises(TypeError, match="viscosity"):
        problem("darcy", viscosity=1.0)

    @register_problem("test_problem.toy")
    def toy(rate: float = 1.0) -> Problem:
        return Problem("u", Box.unit(1))

    assert problem("test_problem.toy", rate=2.0).recipe == toy(2.0).recipe == "test_problem.toy(rate=2.0)"
    assert toy().name == "test_problem.toy" and "test_problem.toy" in registered_problems()
    register_problem("test_problem.toy")(toy.__wrapped__)  # the same function again, as in a notebook
    with pytest.raises(ValueError, match=r"'darcy' is registered by surrogax.solvers.pde.problems.darcy.darcy"):
        register_problem("darcy")(toy.__wrapped__)


def test_what_a_problem_lacks_is_named():
    declared = Problem("u", Box.unit(1), residual=lambda u, p: u.xx)
    declared.needs("residual", "training")
    assert declared.unknowns == ("u",)
    with pytest.raises(ValueError, match=r"generate needs a problem that declares `solve`; Problem\(u; .*residual"):
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
