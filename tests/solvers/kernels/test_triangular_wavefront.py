"""Triangular solves by wavefronts: against dense triangular solves in natural order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from surrogax.solvers.kernels import stencil
from surrogax.solvers.kernels import triangular_wavefront as wavefront

SPACING = (0.3, 0.2, 0.5)
CASES = [
    ((5,), ("dirichlet",)),
    ((1, 4), ("neumann", "dirichlet")),
    ((6, 3), ("dirichlet", "neumann")),
    ((4, 2, 3), ("dirichlet", "neumann", "dirichlet")),
]


@pytest.mark.parametrize(("shape", "boundaries"), CASES)
def test_triangular_solves_and_products_equal_dense_ones(shape, boundaries):
    rng = np.random.default_rng(0)
    spacing = SPACING[: len(shape)]
    a = rng.uniform(0.5, 3.0, [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)])
    shift, r = rng.uniform(0.1, 2, shape), rng.normal(size=shape)

    @jax.jit
    def run(a, shift, r, omega):
        faces = stencil.face_means(a, boundaries, "harmonic")
        operator = wavefront.pack(faces, spacing, boundaries, shift)
        fronts = operator.skew(r)
        results = (
            wavefront.solve_lower(operator, fronts, omega),
            wavefront.solve_upper(operator, fronts, omega),
            wavefront.apply(operator, fronts),
            fronts,
        )
        unit = jnp.eye(r.size).reshape(-1, *shape)
        matrix = jax.vmap(lambda e: (stencil.apply_diffusion(e, faces, spacing, boundaries) + shift * e).ravel())(unit)
        return [operator.unskew(v) for v in results], fronts, matrix

    with jax.enable_x64(True):
        results, fronts, matrix = run(*map(jnp.asarray, (a, shift, r, 1.3)))
        matrix = np.asarray(matrix)
    assert fronts.shape[0] == sum(shape) - len(shape) + 1 and fronts.size == fronts.shape[0] * r.size // max(shape)
    diagonal, omega = np.diag(np.diag(matrix)), 1.3
    lower = diagonal + omega * np.tril(matrix, -1)
    expected = (
        scipy.linalg.solve_triangular(lower, r.ravel(), lower=True),
        scipy.linalg.solve_triangular(lower.T, r.ravel()),
        matrix @ r.ravel(),
        r.ravel(),
    )
    for ours, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(np.ravel(ours), reference, rtol=1e-12, atol=1e-12 * abs(reference).max())


def test_fronts_are_the_anti_diagonals():
    @jax.jit
    def run(sums):
        faces = stencil.unit_faces(sums.shape, ("dirichlet",) * 2, jnp.float32)
        return wavefront.pack(faces, (1.0, 1.0), ("dirichlet",) * 2, jnp.zeros(())).skew(sums)

    fronts = np.asarray(run(jnp.asarray(1.0 + np.indices((3, 4)).sum(0), jnp.float32)))
    for t, row in enumerate(fronts):
        assert set(row[row > 0]) == {1.0 + t}


def test_rings_have_no_fronts():
    boundaries = ("dirichlet", "periodic")
    with pytest.raises(ValueError, match=r"axes with two ends, got boundaries \('dirichlet', 'periodic'\)"):
        wavefront.pack(
            stencil.unit_faces((4, 4), boundaries, jnp.float32), (1.0, 1.0), boundaries, jnp.zeros((), jnp.float32)
        )
