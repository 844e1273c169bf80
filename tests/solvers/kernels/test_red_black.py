"""Compact red-black storage and relaxation: against a point-by-point loop over the dense matrix."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import red_black, stencil

SPACING = (0.3, 0.2, 0.5)
CASES = [
    ((6,), ("periodic",)),
    ((1, 4), ("dirichlet", "neumann")),
    ((5, 4), ("dirichlet", "periodic")),
    ((4, 7), ("periodic", "neumann")),
    ((3, 4, 5), ("neumann", "periodic", "dirichlet")),
]


@functools.cache
def swept(shape, boundaries):
    """Inputs and results of two sweeps, and the matrix, in float64."""
    rng = np.random.default_rng(0)
    spacing = SPACING[: len(shape)]
    a = rng.uniform(0.5, 3.0, [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)])
    x, b, shift = rng.normal(size=shape), rng.normal(size=shape), rng.uniform(0, 2, shape)

    @jax.jit
    def run(a, x, b, shift, omega):
        faces = stencil.face_means(a, boundaries, "harmonic")
        operator = red_black.pack(faces, spacing, boundaries, shift)
        halves, right = red_black.split(x), red_black.split(b)
        r_red = red_black.residual_red(operator, *halves, right[0])
        r_black = red_black.residual_black(operator, *halves, right[1])
        residual = red_black.merge(r_red, r_black, shape)
        for _ in range(2):
            halves, r_red, square = red_black.sor_sweep(operator, halves, right, r_red, omega)
        unit = jnp.eye(x.size).reshape(-1, *shape)
        matrix = jax.vmap(lambda e: (stencil.apply_diffusion(e, faces, spacing, boundaries) + shift * e).ravel())(unit)
        return residual, red_black.merge(*halves, shape), square, matrix

    with jax.enable_x64(True):
        arguments = [jnp.asarray(v) for v in (a, x, b, shift, 1.3)]
        return x, b, *map(np.asarray, run(*arguments))


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_sweeps_equal_a_loop_over_points(shape, boundaries):
    x, b, residual, ours, square, matrix = swept(shape, boundaries)
    np.testing.assert_allclose(residual.ravel(), b.ravel() - matrix @ x.ravel(), atol=1e-11)
    expected = x.ravel().copy()
    points = list(itertools.product(*map(range, shape)))
    for colour in (0, 1, 0, 1):
        for row in (row for row, point in enumerate(points) if sum(point) % 2 == colour):
            expected[row] += 1.3 * (b.ravel()[row] - matrix[row] @ expected) / matrix[row, row]
    np.testing.assert_allclose(ours.ravel(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(square, np.sum((b.ravel() - matrix @ expected) ** 2), rtol=1e-11)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)])
def test_halves_hold_the_points_of_their_colour(shape):
    u = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)

    @jax.jit
    def run(u):
        halves = red_black.split(u, fill=-1)
        return *halves, red_black.merge(*halves, shape)

    *halves, merged = map(np.asarray, run(jnp.asarray(u, jnp.float32)))
    parity = np.indices(shape).sum(0) % 2
    for half, colour in zip(halves, (0, 1), strict=True):
        assert half.shape == (*shape[:-1], (shape[-1] + 1) // 2)
        assert sorted(half[half > 0].tolist()) == sorted(u[parity == colour].tolist())
    np.testing.assert_array_equal(merged, u)


def test_a_point_without_an_open_face_stays_zero():
    @jax.jit
    def run(across, along, b):
        operator = red_black.pack((across, along), (1.0, 1.0), ("neumann",) * 2, jnp.zeros(()))
        halves, zero = red_black.split(b), red_black.split(0 * b)
        x, *_ = red_black.sor_sweep(operator, zero, halves, halves[0], 1.5)
        return red_black.merge(*x, b.shape)

    faces = [jnp.asarray(a, jnp.float32) for a in ([[0, 1]], [[0], [1]])]
    x = run(*faces, jnp.asarray([[0, 1], [2, 3]], jnp.float32))
    assert x[0, 0] == 0 and np.isfinite(x).all() and (x.ravel()[1:] != 0).all()


def test_odd_rings_cannot_be_coloured():
    boundaries = ("dirichlet", "periodic")
    faces = [np.ones((5, 5), np.float32), np.ones((4, 5), np.float32)]
    faces = [jnp.asarray(a) for a in faces]
    with pytest.raises(ValueError, match="even number of points along periodic axes, axis 1 has 5"):
        red_black.pack(faces, (1.0, 1.0), boundaries, jnp.zeros(()))


def test_exports_without_callbacks_or_doubles():
    def run(x, b, r, omega):
        faces = stencil.unit_faces((5, 6), ("dirichlet", "periodic"), jnp.float32)
        operator = red_black.pack(faces, (0.1, 0.1), ("dirichlet", "periodic"), jnp.zeros(()))
        return red_black.sor_sweep(operator, x, b, r, omega)

    half = jax.ShapeDtypeStruct((5, 3), jnp.float32)
    arguments = ((half, half), (half, half), half, jax.ShapeDtypeStruct((), jnp.float32))
    text = jax.export.export(jax.jit(run), platforms=["cpu", "cuda", "tpu"])(*arguments).mlir_module()
    assert "custom_call" not in text and "f64" not in text
