"""Boundary and initial conditions as they are declared, for one and for several unknowns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.domains import Box
from surrogax.solvers import random
from surrogax.solvers.pde import Dirichlet, Free, Interval, Jet, Jets, Neumann, Problem, Sides
from surrogax.solvers.pde.conditions import BoundaryCondition, Periodic, Side

BOX = Box(x=(0, 2), y=(-1, 1, "neumann"), z=(0, 1, "periodic"))


def pair():
    """Two unknowns of a reaction in time, with a parameter, an input field, all kinds of sides and a start each."""
    return Problem(
        ("u", "v"),
        BOX,
        time=(0.5, 2),
        inputs={"rate": random.Uniform(1, 2), "c": 3.0, "k": random.GaussianField(), "g": random.GaussianField()},
        residual=lambda w, p: {
            "first": w.u.t - p.c * w.u.xx + p.rate * w.u * w.v,
            "second": w["v"].t - p.k.x * w.v.x - w.u,
        },
        boundary={"u": Sides(x=("g", lambda x, y, z, t: x + t), y=2.0), "v": Free()},
        initial={"u": "g", "v": lambda x, y, z: x * y + z},
    )


def functions(names=("x", "y", "z", "t")):
    """u = x² t + y, v = x y z t, k = x³, g = 5 + x at two points of every side."""
    parts = {
        "u": lambda p: p[..., 0] ** 2 * p[..., 3] + p[..., 1],
        "v": lambda p: p[..., 0] * p[..., 1] * p[..., 2] * p[..., 3],
        "k": lambda p: p[..., 0] ** 3 + 0 * p[..., 3],
        "g": lambda p: 5 + p[..., 0],
    }
    return lambda points: {k: Jet.of(f, points, names) for k, f in parts.items()}


POINTS = np.float32([[0.3, 0.5, 0.25, 1.0], [1.5, -0.25, 0.75, 2.0]])


def split(jets):
    return {k: jets[k] for k in ("u", "v")}, {"rate": 2.0, "k": jets["k"], "g": jets["g"]}


def test_residual_of_two_unknowns_at_one_point_and_at_many():
    declared = pair()
    many = declared.residual(*split(functions()(jnp.asarray(POINTS))))
    x, y, z, t = POINTS.T
    u, v = x**2 * t + y, x * y * z * t
    np.testing.assert_allclose(many["first"], x**2 - 3 * 2 * t + 2 * u * v, rtol=1e-5)
    np.testing.assert_allclose(many["second"], x * y * z - 3 * x**2 * y * z * t - u, rtol=1e-5)
    single = jax.vmap(lambda p: declared.residual(*split(functions()(p))))(jnp.asarray(POINTS))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), single, many)


def test_every_side_has_what_was_declared():
    declared = pair()
    conditions = {(c.unknown, tuple((s.axis, s.outward) for s in c.sides)): c for c in declared.boundary}
    assert len(conditions) == len(declared.boundary) == 10

    def at(unknown, axis, *outward):
        condition = conditions[unknown, tuple((axis, o) for o in outward)]
        points = [
            jnp.asarray(POINTS).at[:, declared.coordinates.index(axis)].set(side.position) for side in condition.sides
        ]
        jets = [split(functions()(p)) for p in points]
        residual = condition.residual([Jets(u) for u, _ in jets], declared.input_jets(jets[0][1]))
        return residual, [p.T for p in points]

    r, [(x, y, _, t)] = at("u", "x", -1)
    np.testing.assert_allclose(r, x**2 * t + y - (5 + x), rtol=1e-6)
    r, [(x, y, _, t)] = at("u", "x", 1)
    np.testing.assert_allclose(r, x**2 * t + y - (x + t), rtol=1e-6)
    assert at("u", "y", -1)[0].tolist() == [-3, -3] and at("u", "y", 1)[0].tolist() == [-1, -1]
    assert at("v", "x", -1)[0] == () and at("v", "y", 1)[0] == ()
    (values, slopes), [(x, y, _, t), _] = at("v", "z", -1, 1)
    np.testing.assert_allclose(values, -x * y * t, rtol=1e-6)
    assert slopes.tolist() == [0, 0]


def test_initial_values():
    declared = pair()
    points = jnp.asarray(POINTS).at[:, 3].set(declared.time.start)
    found = declared.initial_residual(*split(functions()(points)))
    x, y, z, t = points.T
    np.testing.assert_allclose(found["u"], x**2 * t + y - (5 + x), rtol=1e-6)
    np.testing.assert_allclose(found["v"], x * y * z * t - (x * y + z), rtol=1e-6)


def test_plain_values_follow_the_box_and_conditions_speak_for_themselves():
    box = Box(x=(0, 1), y=(0, 1, "neumann"), z=(0, 1, "periodic"))
    sides = {(c.sides[0].axis, c.sides[0].outward): c.condition for c in Problem("u", box, boundary=2.0).boundary}
    assert sides == {
        ("x", -1): Dirichlet(2.0), ("x", 1): Dirichlet(2.0), ("y", -1): Neumann(2.0), ("y", 1): Neumann(2.0),
        ("z", -1): Periodic(),
    }  # fmt: skip
    mixed = Problem("u", Box(x=(0, 1)), boundary=Sides(x=(1.0, Neumann(-1.0)))).boundary
    assert [c.condition for c in mixed] == [Dirichlet(1.0), Neumann(-1.0)]
    assert mixed[1] == BoundaryCondition("u", (Side("x", 1.0, 1),), Neumann(-1.0))


def test_block_of_the_user_experience():
    ac = Problem(
        "u",
        Box(x=(-1, 1, "periodic")),
        time=(0, 1),
        residual=lambda u, p: u.t - 1e-4 * u.xx + 5 * u**3 - 5 * u,
        initial=lambda x: x**2 * jnp.cos(jnp.pi * x),
    )
    assert ac.time == Interval(0.0, 1.0) and ac.coordinates == ("x", "t") and ac.space_time.names == ("x", "t")
    u = Jet.of(lambda p: jnp.sin(p[0]) * jnp.exp(p[1]), jnp.array([0.3, 0.0]), ac.coordinates)
    s = np.sin(0.3)
    np.testing.assert_allclose(ac.residual(u), s + 1e-4 * s + 5 * s**3 - 5 * s, rtol=1e-5)
    np.testing.assert_allclose(ac.initial_residual(u)["u"], s - 0.09 * np.cos(np.pi * 0.3), rtol=1e-5)


@pytest.mark.parametrize(
    "message, make",
    [
        (r"entries for \['u'\], expected one for each", lambda: Problem(("u", "v"), BOX, boundary={"u": 0.0})),
        (r"no values are prescribed on \['z'\]", lambda: Problem("u", BOX, boundary=Sides(z=1.0))),
        (r"conditions name \['g'\], which are no inputs", lambda: Problem("u", BOX, boundary="g")),
        (r"values of \['v'\]", lambda: Problem("u", BOX, time=(0, 1), initial={"v": 0.0})),
        (r"no time interval", lambda: Problem("u", BOX, initial=0.0)),
        (r"is empty; the end must be later", lambda: Problem("u", BOX, time=(1, 1))),
        (r"axes \['t'\] without boundary condition; give time apart", lambda: Problem("u", Box(x=(0, 1), t=(0, 1)))),
        (r"'t' means time", lambda: Problem("u", Box(t=(0, 1, "dirichlet")))),
        (r"leave one of them out", lambda: Problem("u", BOX, residual=lambda u, p: u.x, no_residual="jumps")),
        (r"jets of \['u'\]; the unknowns are", lambda: pair().residual(Jet.of(lambda p: p[0], jnp.ones(1), ("x",)))),
        (r"unknown inputs \['nu'\]", lambda: pair().input_jets({"nu": 1.0})),
    ],
)
def test_declarations_that_contradict_themselves(message, make):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_law_is_refused():
    class Wave:
        is_field = True

        def sample(self, key, grid):
            return jnp.zeros(grid.shape)

    with pytest.raises(
        TypeError, match=r"input 'u0' is .*Wave.* derive laws of your own from surrogax.random.Distribution"
    ):
        Problem("u", BOX, inputs={"u0": Wave()})


def test_derivatives_that_are_not_known_are_named():
    declared = Problem(
        "u", Box(x=(0, 1)), inputs={"a": random.Lognormal(), "b": 2.0}, residual=lambda u, p: p.a.x + p.b.x
    )
    point = jnp.array([0.5])
    u = Jet.of(lambda p: p[0], point, ("x",))
    assert declared.residual(u, {"a": Jet.of(lambda p: 3 * p[0], point, ("x",))}) == 3, "numbers have no slope"
    with pytest.raises(ValueError, match="given by its values alone"):
        declared.residual(u, {"a": jnp.ones(())})
    with pytest.raises(AttributeError, match=r"nothing is called 'a' here; there is b\. "):
        declared.residual(u)
