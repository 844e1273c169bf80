"""Trial functions: derivatives in closed form against automatic ones, periodicity, conditions that hold exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.solvers.kernels.gaussian_sums import full_gaussian_sums, gaussian_sums, taylor
from surrogax.solvers.pde import Sides


def explicit(x, centres, widths, amplitudes, periodic):
    z = x - centres
    q = jnp.where(jnp.asarray(periodic), (1 - jnp.cos(np.pi * z)) / np.pi**2, 0.5 * z**2) / widths**2
    return (amplitudes * jnp.exp(-q.sum(-1))).sum(-1)


@pytest.mark.parametrize("periodic", [pytest.param((False, False), marks=pytest.mark.nightly), (True, False)])
def test_derivatives_of_gaussian_sums_are_the_automatic_ones(periodic, x64):
    rng = np.random.default_rng(0)
    centres, widths = rng.uniform(0, 2, (3, 5, 2)), rng.uniform(0.2, 0.8, (3, 5, 2))
    centres, widths, amplitudes = map(jnp.asarray, (centres, widths, rng.normal(size=(3, 5))))
    x = jnp.array([0.7, 1.1])
    function = lambda z: explicit(z, centres, widths, amplitudes, periodic)  # noqa: E731
    found = gaussian_sums((4, 1), x, centres, widths, amplitudes, periodic)
    assert len(found) == 10
    for (i, j), value in found.items():
        expected = function
        for index in [0] * i + [1] * j:
            expected = _along(expected, index)
        np.testing.assert_allclose(value, expected(x), rtol=1e-9, atol=1e-9)
    moved = jnp.array([1e-3, -2e-3])
    near = gaussian_sums((3, 3), x, centres, widths, amplitudes, periodic)
    np.testing.assert_allclose(taylor(near, moved), function(x + moved), rtol=1e-8)
    gradient = jax.grad(lambda c: gaussian_sums((2, 0), x, c, widths, amplitudes, periodic)[2, 0].sum())(centres)
    second = lambda c: _along(_along(lambda z: explicit(z, c, widths, amplitudes, periodic), 0), 0)(x).sum()  # noqa: E731
    np.testing.assert_allclose(gradient, jax.grad(second)(centres), rtol=1e-9, atol=1e-9)


def test_derivatives_of_rotated_gaussians_are_the_automatic_ones(x64):
    rng = np.random.default_rng(1)
    arrays = rng.uniform(0, 2, (3, 5, 2)), rng.normal(size=(3, 5, 2, 2)), rng.normal(size=(3, 5))
    centres, matrices, amplitudes = map(jnp.asarray, arrays)
    x = jnp.array([0.7, 1.1])

    def function(z):
        moved = jnp.einsum("kjab,kjb->kja", matrices, z - centres)
        return (amplitudes * jnp.exp(-0.5 * (moved**2).sum(-1))).sum(-1)

    found = jax.jit(lambda: full_gaussian_sums((3, 2), x, centres, matrices, amplitudes))()
    assert len(found) == 12

    def automatic():
        expected = {}
        for i, j in found:
            expected[i, j] = function
            for index in [0] * i + [1] * j:
                expected[i, j] = _along(expected[i, j], index)
        return {which: derivative(x) for which, derivative in expected.items()}

    for which, value in jax.jit(automatic)().items():
        np.testing.assert_allclose(found[which], value, rtol=1e-9, atol=1e-9)


def _along(function, index):
    return lambda x: jax.jvp(function, (x,), (jnp.zeros_like(x).at[index].set(1.0),))[1]


def heat(**changes):
    settings = {
        "residual": lambda u, p: u.t - u.xx,
        "initial": lambda x: 1 + x + jnp.sin(jnp.pi * x),
        "boundary": Sides(x=(1.0, lambda x, t: 2 + 0 * t)),
        **changes,
    }
    return sx.Problem("u", sx.Box(x=(0, 1)), time=(1, 3), **settings)


MODELS = [
    (lambda problem, key: sx.PINN(problem, width=6, depth=2, key=key)),
    (lambda problem, key: sx.PINN(problem, width=6, depth=1, factorised=True, key=key)),
    (lambda problem, key: sx.PIG(problem, gaussians=5, spread=0.5, key=key)),
    (lambda problem, key: sx.RandomFeatures(problem, features=7, key=key)),
    (
        lambda problem, key: sx.SPINN(
            problem, rank=3, width=4, depth=1, harmonics=1 + ("periodic" in problem.box.conditions), key=key
        )
    ),
    (lambda problem, key: sx.PINN(problem, width=4, depth=1, architecture="modified", key=key)),
    (lambda problem, key: sx.PINN(problem, depth=1, architecture="pirate", fourier=3, factorised=True, key=key)),
    (lambda problem, key: sx.PINN(problem, width=5, depth=2, activation="sine", frequency=3.0, key=key)),
]
NAMES = ["PINN", "factorised", "PIG", "features", "SPINN", "modified", "pirate", "sine"]


def filled(model, key):
    """Random features with coefficients that are not zero."""
    arrays, rest = jax.tree.flatten(model)
    noise = [0.3 * jax.random.normal(jax.random.fold_in(key, i), jnp.shape(a)) for i, a in enumerate(arrays)]
    return jax.tree.unflatten(
        rest, [a + n if jnp.ndim(a) == 2 and not jnp.any(a) else a for a, n in zip(arrays, noise, strict=True)]
    )


@pytest.mark.quick("SPINN")
@pytest.mark.parametrize("make", MODELS, ids=NAMES)
def test_conditions_hold_exactly_and_derivatives_are_those_of_the_values(make, key, x64):
    model = filled(make(heat(), key), key)
    values = lambda z: model.values(z, {})[0]  # noqa: E731
    s = jnp.linspace(0, 1, 5)
    start = jnp.stack([s, jnp.ones(5)], 1)
    np.testing.assert_allclose(jax.vmap(values)(start), 1 + s + jnp.sin(jnp.pi * s), atol=1e-12)
    for x in (0.0, 1.0):
        side = jnp.stack([jnp.full(5, x), 1 + 2 * s], 1)
        np.testing.assert_allclose(jax.vmap(values)(side), 1 + x, atol=1e-12)
    point = jnp.array([0.3, 2.1])
    jet = model.jets(point, {})["u"]
    assert abs(float(jet.value) - (1.3 + np.sin(0.3 * np.pi))) > 1e-5, "the function counts inside"
    h = 1e-4
    up, down = point.at[0].add(h), point.at[0].add(-h)
    np.testing.assert_allclose(jet.xx, (values(up) - 2 * values(point) + values(down)) / h**2, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jet.t, (values(point.at[1].add(h)) - values(point.at[1].add(-h))) / (2 * h), rtol=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize("make", MODELS, ids=NAMES)
def test_periodic_axes_are_periodic_with_all_derivatives(make, key, x64):
    problem = sx.Problem("u", sx.Box(x=(1, 4, "periodic"), y=(0, 1, "neumann")), residual=lambda u, p: u.xx + u.yy)
    model = filled(make(problem, key), key)
    left, right = (model.jets(jnp.array([x, 0.4]), {})["u"] for x in (1.0, 4.0))
    for name in ("value", "x", "xx", "xy"):
        a, b = (jet.value if name == "value" else jet.partial(*name) for jet in (left, right))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert len(model.split.boundary) == 2, "fluxes are left to the loss"


def test_all_sides_of_a_square_and_values_that_contradict_each_other(key, x64):
    box, residual = sx.Box(x=(0, 1), y=(0, 2)), lambda u, p: u.xx + u.yy
    problem = sx.Problem("u", box, residual=residual, boundary=lambda x, y: x**2 * y - jnp.cos(3 * y))
    model = sx.PINN(problem, width=4, depth=1, key=key)
    for point in ([0.0, 0.7], [1.0, 1.3], [0.2, 0.0], [0.6, 2.0], [1.0, 2.0]):
        x, y = point
        np.testing.assert_allclose(model.values(jnp.array(point), {})[0], x**2 * y - np.cos(3 * y), atol=1e-12)
    lid = problem.replace(boundary=Sides(y=(0.0, 1.0)))
    with pytest.raises(ValueError, match=r"conditions on 'u' contradict each other .* exact_boundary=False"):
        sx.PINN(lid, width=4, depth=1, key=key)
    assert len(sx.PINN(lid, width=4, depth=1, exact_boundary=False, key=key).split.boundary) == 4


def test_initial_values_with_a_kink_across_a_periodic_axis_warn(key, recwarn):
    def problem(start):
        box = sx.Box(x=(-1, 1, "periodic"), y=(0, 1, "periodic"))
        residual = lambda u, p: u.t - u.xx - u.yy  # noqa: E731
        return sx.Problem("u", box, time=(0, 1), initial=start, residual=residual)

    kink = problem(lambda x, y: x**2 * jnp.cos(jnp.pi * x))
    with pytest.warns(UserWarning, match=r"'u' .* periodic axis 'x' closes .* exact_initial=False"):
        sx.PINN(kink, width=4, depth=1, key=key)
    with pytest.warns(UserWarning, match="periodic axis 'y' closes"):
        sx.PINN(problem(lambda x, y: y), width=4, depth=1, key=key)
    recwarn.clear()
    sx.PINN(kink, width=4, depth=1, exact_initial=False, key=key)
    sx.PINN(problem(lambda x, y: jnp.sin(jnp.pi * x) * jnp.cos(2 * jnp.pi * y)), width=4, depth=1, key=key)
    assert not recwarn


def test_what_a_trial_function_cannot_be_is_refused(key):
    with pytest.raises(ValueError, match="declares `residual`"):
        sx.PINN(sx.Problem("u", sx.Box(x=(0, 1))), key=key)
    with pytest.raises(ValueError, match="random fields; trial functions know numbers alone"):
        sx.PIG(sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box.unit(1)), key=key)
    with pytest.raises(ValueError, match="width=0"):
        sx.PINN(heat(), width=0, key=key)
    with pytest.raises(ValueError, match=r"pirate.* needs fourier"):
        sx.PINN(heat(), architecture="pirate", key=key)
    with pytest.raises(ValueError, match="has tanh; activation='sine'"):
        sx.PINN(heat(), architecture="modified", activation="sine", key=key)
    with pytest.raises(ValueError, match="rotated ones are not periodic"):
        sx.PIG(sx.Problem("u", sx.Box(x=(0, 1, "periodic")), residual=lambda u, p: u.xx), covariance="full", key=key)
    with pytest.raises(ValueError, match=r"scale=-1\.0"):
        sx.RandomFeatures(heat(), scale=-1.0, key=key)


@pytest.mark.parametrize(
    "initial, told",
    [
        (lambda x: jnp.sin(4 * jnp.pi * x), False),
        (lambda x: jnp.cos(4 * jnp.pi * x), False),
        (lambda x: jnp.cos(x) ** 2 + jnp.sin(x) ** 2, False),
        (3.0, False),
        (lambda x: x**2 * jnp.cos(jnp.pi * x), True),
        (lambda x: x, True),
    ],
)
def test_initial_values_that_a_periodic_axis_does_not_close_are_told(key, initial, told):
    problem = sx.Problem(
        "u", sx.Box(x=(-1, 1, "periodic")), time=(0, 1), residual=lambda u, p: u.t - u.xx, initial=initial
    )
    with pytest.warns(UserWarning, match="not smooth .* exact_initial=False leaves") if told else np.errstate():
        model = sx.PINN(problem, width=4, depth=1, key=key)
    model.renewed(key)  # and not again


@pytest.mark.parametrize("start", [0.0, 10.0])
def test_kinks_are_looked_for_inside_the_box(key, start):
    kink = lambda x, y: x**2 * jnp.cos(jnp.pi * x) * jnp.exp(-50 * (y - start - 0.5) ** 2)  # noqa: E731
    axes = sx.Box(x=(-1, 1, "periodic"), y=(start, start + 1, "periodic"))
    problem = sx.Problem("u", axes, time=(0, 1), residual=lambda u, p: u.t - u.xx - u.yy, initial=kink)
    with pytest.warns(UserWarning, match="axis 'x' closes"):
        sx.PINN(problem, width=4, depth=1, key=key)
    sides = sx.pde.Sides(y=(lambda x, y: kink(x, start + 0.5), "g"))
    channel = sx.Problem(
        "u", sx.Box(x=(-1, 1, "periodic"), y=(start, start + 1)), inputs={"g": sx.random.Uniform(1, 2)}, boundary=sides,
        residual=lambda u, p: u.xx + u.yy,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="exact_boundary=False leaves"):
        sx.PINN(channel, width=4, depth=1, key=key)
