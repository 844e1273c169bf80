"""Exponential integrators: accurate φ functions in every precision, orders 2 and 4 for real and complex L, exact instants."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.exponential import etdrk1, etdrk2, etdrk4, integrate, phi_functions, propagate

METHODS = {1: etdrk1, 2: etdrk2, 4: etdrk4}


# Coefficients ---------------------------------------------------------------------------------------------------------


def extended(z):
    """φ₁, φ₂, φ₃ in 80-bit arithmetic, by more terms and from a smaller radius than the kernel's."""
    z = z.astype(np.clongdouble)
    near = abs(z) < 1
    small, large = np.where(near, z, 0), np.where(near, 1, z)
    series = [sum(small**j / np.longdouble(math.factorial(j + k)) for j in range(25)) for k in (1, 2, 3)]
    first = (np.exp(large) - 1) / large
    second = (first - 1) / large
    return [np.where(near, a, b) for a, b in zip(series, (first, second, (second - 0.5) / large), strict=True)]


def weights(first, second, third):
    return first, second, third, first - 3 * second + 4 * third, 2 * second - 4 * third, 4 * third - second


def points(kind):
    rng = np.random.default_rng(0)
    size = 10 ** rng.uniform(-8, 4, 3000)
    angle = {"real": np.pi, "imaginary": np.pi / 2, "left": rng.uniform(np.pi / 2, 3 * np.pi / 2, size.shape)}[kind]
    return -size if kind == "real" else size * np.exp(1j * angle)


@pytest.mark.parametrize("kind", ["real", "imaginary", "left"])
def test_coefficients_are_accurate_to_rounding(kind):
    """Relative to φ₁ or 1/(1 + |z|), which is what an error of the weights of N is measured against."""
    z = points(kind)
    single = jnp.asarray(z, jnp.float32 if kind == "real" else jnp.complex64)
    for ours, at, bound in ((phi_functions(z), z, 2e-15), (phi_functions(single), np.asarray(single), 1e-6)):
        exact = extended(at)
        scale = np.maximum(abs(exact[0]), 1 / (1 + abs(at)))
        assert ours[0].dtype == at.dtype
        np.testing.assert_allclose(ours[0], np.exp(at.astype(np.clongdouble)).astype(complex), atol=bound)
        for w, e in zip(weights(*map(np.asarray, ours[1:])), weights(*exact), strict=True):
            assert (abs(w - e) / scale).max() < bound


def test_derivatives_of_coefficients(x64):
    """φ_k'(z) = (eᶻ-like quotient), at 0, on both sides of the switch and far away."""
    for z in (0.0, -1.999, -2.001, -40.0):
        slopes = [jax.grad(lambda z, k=k: phi_functions(z)[k])(z) for k in range(4)]
        whole, first, second, third = phi_functions(np.array([z]))
        # From z φ_{k+1} = φ_k − 1/k!, differentiated.
        np.testing.assert_allclose(slopes[0], whole[0], rtol=1e-14)
        for k, (slope, phi) in enumerate(zip(slopes[1:], (first, second, third), strict=True)):
            expected = (slopes[k] - phi[0]) / z if z else 1 / math.factorial(k + 2)
            np.testing.assert_allclose(slope, expected, rtol=1e-13)


# Order ----------------------------------------------------------------------------------------------------------------

SYMBOLS = {"real": np.array([-3.0, -20.0, 0.0]), "complex": np.array([5j, -1 + 8j, -20j])}


def slopes(errors):
    return np.log2(np.asarray(errors)[:-1] / np.asarray(errors)[1:])


@pytest.mark.quick("1-complex-True", "2-real-True", "2-complex-False", "4-real-False", "4-complex-True")
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("kind", SYMBOLS)
@pytest.mark.parametrize("order", METHODS)
def test_order_with_a_nonlinearity_that_depends_on_time(x64, order, kind, traced):
    """Each component solves u' = L u + N with u = exp(i(t + 1)) or cos(t + 1), N quadratic in u."""
    symbol = SYMBOLS[kind]
    exact = (lambda t: jnp.exp(1j * (t + 1))) if kind == "complex" else (lambda t: jnp.cos(t + 1))
    slope = (lambda t: 1j * exact(t)) if kind == "complex" else (lambda t: -jnp.sin(t + 1))

    @functools.partial(jax.jit, static_argnums=1)
    def final(linear, steps):
        linear = linear if traced else symbol
        nonlinear = lambda u, t: slope(t) - linear * exact(t) + u**2 - exact(t) ** 2  # noqa: E731
        start = jnp.broadcast_to(exact(0.0), symbol.shape)
        states, _ = integrate(functools.partial(METHODS[order], linear, nonlinear), start, [0.5], 0.5 / steps)
        return states[0]

    errors = [abs(final(jnp.asarray(symbol), 2**j) - exact(0.5)) for j in range(5, 9)]
    assert (abs(slopes(errors)[-1] - order) < 0.2).all(), slopes(errors)


@pytest.mark.parametrize("order", METHODS)
def test_a_constant_nonlinearity_is_integrated_exactly(x64, order):
    """u' = 5i u + 0.7, where real coefficients would give order 1."""
    method = functools.partial(METHODS[order], np.array([5j]), lambda u, t: jnp.full_like(u, 0.7))
    u, _ = integrate(method, jnp.array([1 + 0j]), [1.0], 0.1)
    np.testing.assert_allclose(u[0], np.exp(5j) + 0.7 * (np.exp(5j) - 1) / 5j, rtol=1e-14)


@pytest.mark.parametrize("order", [2, 4])
def test_order_on_a_soliton(x64, order):
    """u_t + 6 u u_x + u_xxx = 0: L = i k³ is imaginary and stiff, |L| Δt up to 30; u = 2 sech²(x − 4t) travels."""
    n, length = 216, 30.0
    k = 2 * np.pi / length * np.arange(n // 2 + 1)
    kept = 3 * np.arange(n // 2 + 1) < n
    x = np.linspace(-length / 2, length / 2, n, endpoint=False)
    soliton = lambda x: 2 / np.cosh((x + length / 2) % length - length / 2) ** 2  # noqa: E731

    def nonlinear(v, t):
        return -3j * k * kept * jnp.fft.rfft(jnp.fft.irfft(v * kept, n) ** 2)

    @functools.partial(jax.jit, static_argnums=0)
    def final(dt):
        method = functools.partial(METHODS[order], 1j * k**3, nonlinear)
        return jnp.fft.irfft(integrate(method, jnp.fft.rfft(soliton(x)), [0.5], dt)[0][0], n)

    sizes = (60, 120, 240) if order == 4 else (400, 800, 1600)
    errors = [abs(final(0.5 / steps) - soliton(x - 2)).max() for steps in sizes]
    assert abs(slopes(errors)[-1] - order) < 0.2 and errors[-1] < {2: 1e-3, 4: 1e-6}[order], (errors, slopes(errors))


def test_single_precision_keeps_its_digits():
    """The coefficients of a NumPy L are rounded once; those of a traced float32 L are as good."""
    symbol = -(np.linspace(0, 100, 50) ** 2)
    run = lambda linear, u: integrate(functools.partial(etdrk4, linear, lambda u, t: 1 - u**3), u, [1.0], 0.02)[0]  # noqa: E731
    with jax.enable_x64(True):
        exact = np.asarray(run(symbol, jnp.ones(50)))
    for linear in (symbol, jnp.asarray(symbol, jnp.float32)):
        single = run(linear, jnp.ones(50, jnp.float32))
        assert single.dtype == jnp.float32
        assert abs(single - exact).max() < 1e-6


# Instants -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times, dt, steps",
    [
        (np.linspace(0, 1, 6), 0.1, 10),
        (np.linspace(0, 1, 6, dtype=np.float32), 0.07, 15),
        (np.array([3.0, 3.5, 4.0, 4.5]), 0.25, 18),  # a warm-up
        ([0.1, 0.3, 0.35, 2.0], 0.5, 7),
        ([0.0], 1.0, 0),
        ([1e-9], 1.0, 1),
        ([2.0], np.inf, 1),
    ],
)
def test_states_are_those_of_the_instants(x64, times, dt, steps):
    """u' = L u + 0 and u' = t³, which both are integrated exactly whatever the steps."""
    times = np.asarray(times)
    symbol = np.array([-2.0, 3j, 0])
    nonlinear = lambda u, t: jnp.array([0, 0, 1]) * t**3 + 0 * u  # noqa: E731
    states, taken = integrate(functools.partial(etdrk4, symbol, nonlinear), jnp.array([1 + 0j, 1, 0]), times, dt)
    t = times.astype(float)
    expected = np.stack([np.exp(-2 * t), np.exp(3j * t), t**4 / 4], -1)
    np.testing.assert_allclose(states, expected, rtol=2e-7 if times.dtype == np.float32 else 1e-12, atol=1e-30)
    assert taken == steps


def test_linear_states_need_no_steps(x64):
    """u' = L u + s with L = 0 among its entries: exact at instants that are not uniform."""
    symbol, source, start = np.array([-2.0, 3j, 0]), jnp.array([1.0, 2.0, 3.0]), jnp.array([1 + 0j, 1, 1])
    t = np.array([0.0, 0.1, 0.2, 5.0])[:, None]
    exact = np.exp(symbol * t)
    np.testing.assert_allclose(propagate(symbol, start, t[:, 0]), exact, rtol=1e-14)
    safe = np.where(symbol == 0, 1, symbol)
    forced = exact + source * np.where(symbol == 0, t, (exact - 1) / safe)
    np.testing.assert_allclose(propagate(symbol, start, t[:, 0], source), forced, rtol=1e-13)


def test_equal_intervals_share_a_loop():
    def scans(times):
        run = lambda u: integrate(functools.partial(etdrk4, -np.ones(3), lambda u, t: u), u, times, 0.01)[0]  # noqa: E731
        text = str(jax.make_jaxpr(run)(jnp.ones(3)))
        return text.count("= scan["), len(text)

    assert scans(np.linspace(0, 1, 5))[0] == scans(np.linspace(0, 1, 40))[0] == 2
    assert scans(5 + np.arange(30.0))[0] == 4
    assert scans(np.linspace(0, 1, 40))[1] < 1.2 * scans(np.linspace(0, 1, 5))[1]


def test_any_shape_of_modes_and_complex_states_of_a_real_symbol(x64):
    rng = np.random.default_rng(0)
    symbol = -rng.random((4, 1, 3))
    u = jnp.asarray(rng.normal(size=(4, 5, 3)) + 1j * rng.normal(size=(4, 5, 3)))
    run = lambda L, u: integrate(functools.partial(etdrk4, L, lambda u, t: -(u**2)), u, [1.0], 0.1)[0][0]  # noqa: E731
    whole = run(symbol, u)
    part = run(symbol[1], u[1])
    assert whole.shape == u.shape
    np.testing.assert_allclose(whole[1], part, rtol=1e-13)


def test_wrong_use_is_named():
    method = functools.partial(etdrk4, np.array([-1.0]), lambda u, t: u)
    for times in ([], np.ones((1, 2)), [0.0, 1.0, 1.0], [-1.0, 0.0], [0.0, np.nan]):
        with pytest.raises(ValueError, match="increase"):
            integrate(method, jnp.ones(1), times, 0.1)
    for dt in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="must be positive"):
            integrate(method, jnp.ones(1), [1.0], dt)
    with pytest.raises(TypeError, match="static numbers"):
        jax.jit(lambda t: integrate(method, jnp.ones(1), t, 0.1)[0])(np.ones(1))
