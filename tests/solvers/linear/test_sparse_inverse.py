"""Sparse approximate inverses: against dense algebra, and the iterations that the polynomial form promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Jacobi, Status, solve
from surrogax.solvers.linear.operators.sparsity_pattern import square_matrix, symmetric_entries
from surrogax.solvers.linear.preconditioners.sparse_inverse import PolynomialInverse, SparseInverse

SIDES = ("dirichlet", "neumann")


def diffusion(shape) -> Diffusion:
    a = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3, (shape[0] + 2, shape[1])), float)
    make = jax.jit(lambda a: Diffusion(stencil.face_means(a, SIDES, "harmonic"), shape, (0.3, 0.2), SIDES))
    return make(a)


def test_products_and_definiteness_against_dense_algebra():
    rng = np.random.default_rng(1)
    pattern = symmetric_entries(diffusion((3, 5))).pattern
    values = rng.normal(size=(2, 15 + 2 * pattern.places)).astype(np.float32)
    shift = jnp.asarray(rng.uniform(0.1, 1, (3, 5)), float)

    @jax.jit
    def matrices(values):
        first, second = (square_matrix(pattern, v, (3, 5)) for v in values)
        inverse = SparseInverse(first @ second, shift)
        columns = jax.vmap(lambda e: inverse(e.reshape(3, 5)).ravel())(jnp.eye(15))
        return first.as_matrix(), second.as_matrix(), columns

    first, second, found = (np.asarray(m, np.float64) for m in matrices(jnp.asarray(values)))
    product = first @ second
    inverse = product @ product.T + np.diag(np.ravel(shift))
    np.testing.assert_allclose(found, inverse, rtol=2e-4, atol=2e-4)
    assert np.linalg.eigvalsh(found).min() > 0.09


def test_polynomial_form_is_the_polynomial_of_the_normalised_matrix():
    with jax.enable_x64(True):
        operator = diffusion((3, 4))
        scale = np.diag(1 / np.sqrt(operator.diagonal().ravel()))
        a = scale @ np.asarray(operator.as_matrix()) @ scale
        eigenvalues, vectors = np.linalg.eigh(a)

        @functools.partial(jax.jit, static_argnums=1)
        def applied(operator, factors):
            bound = PolynomialInverse(factors, 0.02).bind(operator)
            return jax.vmap(lambda e: bound(e.reshape(3, 4)).ravel())(jnp.eye(12))

        for factors in (1, 2):
            n = 2 * factors + 1
            # λ p(λ) = 1 − T_n(1 − λ), with T_n(x) = cos(n arccos x).
            p = (1 - np.cos(n * np.arccos(1 - eigenvalues))) / eigenvalues + 0.02
            expected = scale @ (vectors * p) @ vectors.T @ scale
            found = applied(operator, factors)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.nightly
def test_iterations_fall_below_half_of_jacobi():
    with jax.enable_x64(True):
        b = jnp.asarray(np.random.default_rng(2).normal(size=(24, 23)))

        @jax.jit
        def run(operator):
            preconditioners = (Jacobi(), PolynomialInverse(), PolynomialInverse(2, 0.5))
            return [solve(operator, b, CG(p, rtol=1e-8)).stats for p in preconditioners]

        found = run(diffusion((24, 23)))
    assert all(stats.status == Status.converged for stats in found)
    jacobi, one, two = (int(stats.iterations) for stats in found)
    assert two < 0.9 * one and one < 0.5 * jacobi
