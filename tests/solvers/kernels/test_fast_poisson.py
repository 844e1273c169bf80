import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import fast_poisson, stencil

CASES = [
    ((7,), ("dirichlet",)),
    ((6, 9), ("dirichlet", "neumann")),
    ((8, 5), ("periodic", "neumann")),
    ((7, 6), ("periodic", "periodic")),
    ((5, 6, 4), ("neumann", "periodic", "dirichlet")),
    ((4, 1, 3), ("periodic", "neumann", "neumann")),
]
SPACING = (0.3, 0.2, 0.5)


def random(*shape):
    return np.random.default_rng(0).normal(size=shape)


def solve(b, boundaries, shift=0.0, method="auto"):
    return fast_poisson.solve_constant(b, SPACING[: b.ndim], boundaries, shift, method=method)


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_inverts_the_stencil_in_float64(shape, boundaries):
    """Both methods give A⁺ b, also where constants are the null space; there A A⁺ b is b without its mean."""
    b, singular = random(*shape), "dirichlet" not in boundaries
    with jax.enable_x64(True):

        @jax.jit
        def solve_and_apply(b, shift):
            solutions = [solve(b, boundaries, shift, method) for method in ("fft", "dft")]
            apply = functools.partial(stencil.apply_laplacian, spacing=SPACING[: len(shape)], boundaries=boundaries)
            return [(x, apply(x) + shift * x) for x in solutions], jax.vmap(apply)(jnp.eye(b.size).reshape(-1, *shape))

        (plain, columns), (shifted, _) = (
            jax.tree.map(np.asarray, solve_and_apply(jnp.asarray(b), shift)) for shift in (0.0, 2.5)
        )
    expected = (np.linalg.pinv(columns.reshape(b.size, b.size)) @ b.ravel()).reshape(shape)
    for x, applied in plain:
        np.testing.assert_allclose(applied, b - b.mean() if singular else b, atol=1e-12)
        np.testing.assert_allclose(x, expected, atol=1e-12)
    for _, applied in shifted:
        np.testing.assert_allclose(applied, b, atol=1e-12)


@pytest.mark.parametrize("boundaries", [("dirichlet", "neumann"), ("periodic", "dirichlet")])
def test_inverts_the_stencil_in_float32(boundaries):
    x = jnp.asarray(random(31, 16), jnp.float32)
    solved = jax.jit(lambda x: solve(stencil.apply_laplacian(x, SPACING[:2], boundaries), boundaries))(x)
    assert solved.dtype == jnp.float32
    np.testing.assert_allclose(solved, x, atol=1e-4)


@pytest.mark.parametrize(("shape", "boundaries"), CASES[1:4])
def test_is_symmetric_and_positive(shape, boundaries):
    n = np.prod(shape)
    with jax.enable_x64(True):
        flat = lambda b: solve(b.reshape(shape), boundaries).ravel()  # noqa: E731
        matrix = np.asarray(jax.jit(jax.vmap(flat))(jnp.eye(n)))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    eigenvalues = np.linalg.eigvalsh(matrix)
    null = "dirichlet" not in boundaries
    assert abs(eigenvalues[0]) < 1e-14 if null else eigenvalues[0] > 1e-4
    assert eigenvalues[1] > 1e-4


def test_second_order_against_a_closed_form():
    # −Δu = f on (0, 1)², u = sin(πx) cos(2πy): zero on the x ends, no flux through the y ends.
    errors = []
    with jax.enable_x64(True):
        for n in (16, 32, 64):
            x, y = np.arange(1, n) / n, (np.arange(n) + 0.5) / n
            u = np.outer(np.sin(np.pi * x), np.cos(2 * np.pi * y))
            b = jnp.asarray(5 * np.pi**2 * u)
            spacing = (1 / n, 1 / n)
            solution = jax.jit(lambda b, h=spacing: fast_poisson.solve_constant(b, h, ("dirichlet", "neumann")))(b)
            errors.append(abs(np.asarray(solution) - u).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.2)


def test_gradients_match_finite_differences():
    def loss(b, shift):
        return jnp.sum(solve(b, ("neumann", "periodic"), shift) ** 3)

    @jax.jit
    def derivatives(b, shift, direction):
        h, (v, s) = 1e-5, direction
        difference = (loss(b + h * v, shift + h * s) - loss(b - h * v, shift - h * s)) / (2 * h)
        by_b, by_shift = jax.grad(loss, argnums=(0, 1))(b, shift)
        return jnp.vdot(by_b, v) + by_shift * s, difference

    b, v = random(4, 5), np.random.default_rng(1).normal(size=(4, 5))
    with jax.enable_x64(True):
        for shift, s in ((1.5, 0.7), (0.0, 0.0)):  # the second at the singular mode, where only b may move
            np.testing.assert_allclose(*derivatives(*map(jnp.asarray, (b, shift)), (v, s)), rtol=1e-7)


def test_one_compilation_serves_all_shifts_and_vmap_equals_a_loop():
    f = jax.jit(lambda b, shift: solve(b, ("dirichlet", "periodic"), shift))
    b, shifts = jnp.asarray(random(4, 5), jnp.float32), jnp.array([0.0, 1.0, 10.0])
    single = np.stack([f(b, jnp.asarray(shift)) for shift in np.asarray(shifts)])
    assert f._cache_size() == 1
    np.testing.assert_allclose(jax.vmap(f, in_axes=(None, 0))(b, shifts), single, atol=1e-6)


@pytest.mark.parametrize("method", ["fft", "dft"])
def test_exports_for_every_platform_without_callbacks_or_doubles(method):
    function = jax.jit(lambda b: solve(b, ("dirichlet", "neumann", "periodic"), method=method))
    argument = jax.ShapeDtypeStruct((4, 5, 6), jnp.float32)
    text = jax.export.export(function, platforms=["cpu", "cuda", "tpu"])(argument).mlir_module()
    assert "custom_call" not in text and "f64" not in text
    assert ("complex" in text) == (method == "fft")


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="zip"):
        fast_poisson.solve_constant(jnp.ones((3, 3)), (1.0,), ("periodic", "periodic"))
