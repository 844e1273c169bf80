"""Patterns, level-scheduled substitutions and incomplete Cholesky factors: against scipy and the textbook loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve_triangular

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Sparse, Status, solve
from surrogax.solvers.linear.operators.sparsity_pattern import SymmetricPattern, square_matrix, symmetric_entries
from surrogax.solvers.linear.preconditioners.incomplete_cholesky import IncompleteCholesky, incomplete_cholesky
from surrogax.solvers.linear.preconditioners.triangular_factor import TriangularFactor, TriangularPattern

RNG = np.random.default_rng(0)


def random_spd(n: int = 17) -> np.ndarray:
    """Sparse, symmetric and diagonally dominant."""
    m = sp.random(n, n, 0.12, rng=np.random.default_rng(1)).toarray()
    a = -(m + m.T)
    return a + np.diag(1.5 * abs(a).sum(1) + 1)


def diffusion(shape, boundaries, shift=1.0) -> Diffusion:
    nodes = [n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)]
    a = jnp.asarray(RNG.uniform(0.5, 3, nodes), float)
    faces = jax.jit(lambda a: stencil.face_means(a, boundaries, "harmonic"))(a)
    return Diffusion(faces, shape, (0.3, 0.2, 0.5)[: len(shape)], boundaries, shift)


def pattern_of(a) -> SymmetricPattern:
    return SymmetricPattern(*np.nonzero(np.tril(a, -1)), len(a))


def dense(pattern, diagonal, lower) -> np.ndarray:
    matrix = np.diag(np.asarray(diagonal, float))
    matrix[pattern.rows, pattern.columns] = lower
    return matrix


def textbook_factor(a, modified: float) -> np.ndarray:
    """Column by column; products outside the pattern go to the diagonals of both rows."""
    a, inside = a.copy(), a != 0
    for k in range(len(a)):
        a[k, k] = np.sqrt(a[k, k])
        below = [i for i in range(k + 1, len(a)) if inside[i, k]]
        a[below, k] /= a[k, k]
        for i in below:
            for j in below:
                if inside[i, j]:
                    a[i, j] -= a[i, k] * a[j, k] * (i >= j)
                else:
                    a[i, i] -= modified * a[i, k] * a[j, k]
    return np.tril(a * inside)


# Patterns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, boundaries",
    [
        ((5, 4), ("dirichlet", "neumann")),
        ((2, 3), ("periodic", "dirichlet")),
        ((3, 2, 4), ("periodic",) * 3),
        ((1,), ("periodic",)),
    ],
)
def test_entries_of_a_diffusion_are_its_matrix(shape, boundaries):
    operator = diffusion(shape, boundaries)
    pattern = symmetric_entries(operator).pattern
    diagonal, lower, matrix = jax.jit(lambda o: (*symmetric_entries(o)[1:], o.as_matrix()))(operator)
    below = dense(pattern, 0 * diagonal, lower)
    np.testing.assert_allclose(np.diag(diagonal) + below + below.T, matrix, rtol=1e-6, atol=1e-5)


def test_entries_of_a_sparse_matrix_and_its_products():
    a = random_spd()
    pattern, diagonal, lower = symmetric_entries(Sparse.from_scipy(sp.csr_array(a.astype(np.float32))))
    below = dense(pattern, 0 * diagonal, lower)
    np.testing.assert_allclose(np.diag(diagonal) + below + below.T, a, rtol=1e-6)
    x = jnp.asarray(RNG.normal(size=len(a)), jnp.float32)
    np.testing.assert_allclose(
        pattern.multiply(diagonal, pattern.by_rows(lower, lower), x), a @ x, rtol=1e-4, atol=1e-4
    )
    values = RNG.normal(size=len(a) + 2 * pattern.places)
    general = dense(pattern, values[: len(a)], values[len(a) : -pattern.places])
    general += dense(pattern, np.zeros(len(a)), values[-pattern.places :]).T
    matrix = square_matrix(pattern, jnp.asarray(values, jnp.float32), (len(a),))
    products = jax.jit(lambda m, x: (m.mv(x), m.transpose().mv(x)))(matrix, x)
    np.testing.assert_allclose(products[0], general @ x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(products[1], general.T @ x, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(pattern.entries.ravel()[pattern.slots], np.arange(2 * pattern.places))


def test_wrong_patterns_and_operators_are_refused():
    with pytest.raises(ValueError, match="lower triangle"):
        SymmetricPattern([0], [1], 2)
    with pytest.raises(ValueError, match="twice"):
        SymmetricPattern([1, 1], [0, 0], 2)
    with pytest.raises(TypeError, match="Laplacian or Sparse"):
        symmetric_entries(jnp.eye(2))
    with pytest.raises(ValueError, match="not symmetric"):
        symmetric_entries(Sparse.from_scipy(sp.csr_array(np.triu(random_spd()).astype(np.float32))))
    with pytest.raises(ValueError, match="values of shape"):
        TriangularFactor(SymmetricPattern([1], [0], 2), jnp.ones(2))


# Substitutions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x64", [False, True])
def test_substitutions_are_exact(x64):
    with jax.enable_x64(x64):
        a = random_spd()
        pattern = pattern_of(a)
        values = RNG.normal(size=len(a) + pattern.places)
        values[: len(a)] = 2 + abs(values[: len(a)])
        factor = dense(pattern, values[: len(a)], values[len(a) :])
        r = RNG.normal(size=len(a))
        y = spsolve_triangular(sp.csr_array(factor), r)
        expected = spsolve_triangular(sp.csr_array(factor.T), y, lower=False)
        levels = TriangularPattern(pattern)
        apply = jax.jit(lambda values, r: TriangularFactor(levels, values)(r))
        tolerance = {"rtol": 1e-12 if x64 else 1e-4, "atol": 1e-13 if x64 else 1e-6}
        np.testing.assert_allclose(apply(jnp.asarray(values, float), jnp.asarray(r, float)), expected, **tolerance)


def test_levels_of_a_grid_are_its_diagonals_and_fields_keep_their_shape():
    levels = TriangularPattern(symmetric_entries(diffusion((4, 6), ("dirichlet", "neumann"))).pattern)
    assert levels.forward.unknowns.shape == levels.backward.unknowns.shape == (9, 4)
    result = jax.eval_shape(lambda v, r: TriangularFactor(levels, v)(r), jnp.ones(24 + 38), jnp.ones((4, 6)))
    assert levels.pattern.places == 38 and result.shape == (4, 6)


def test_derivatives_by_the_factor():
    a = random_spd(6)
    levels = TriangularPattern(pattern_of(a))
    with jax.enable_x64(True):
        values, r = jnp.asarray(RNG.uniform(1, 2, 6 + levels.pattern.places)), jnp.asarray(RNG.normal(size=6))
        f = jax.jit(lambda v: (TriangularFactor(levels, v)(r) ** 2).sum())
        direction = jnp.asarray(RNG.normal(size=values.shape))
        difference = (f(values + 1e-6 * direction) - f(values - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(jnp.vdot(jax.grad(f)(values), direction), difference, rtol=1e-6)


# Incomplete factors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modified", [0.0, 0.9])
def test_incomplete_factor_is_that_of_the_textbook(modified):
    a = random_spd()
    pattern = pattern_of(a)
    with jax.enable_x64(True):
        lower = jnp.asarray(a[pattern.rows, pattern.columns])
        levels = TriangularPattern(pattern)
        factor = jax.jit(lambda d, below: incomplete_cholesky(levels, d, below, modified))(
            jnp.asarray(np.diag(a)), lower
        )
    expected = textbook_factor(a, modified)
    np.testing.assert_allclose(dense(pattern, factor.values[: len(a)], factor.values[len(a) :]), expected, rtol=1e-12)


@pytest.mark.nightly
def test_modified_factor_keeps_row_sums_and_needs_fewest_iterations():
    with jax.enable_x64(True):
        operators = [diffusion((24, 24), ("dirichlet", "neumann"), shift) for shift in (0.0, 0.1)]
        ones = jnp.ones((24, 24))
        sums = jax.jit(lambda o: (IncompleteCholesky(1.0).bind(o).multiply(ones.ravel()), o.mv(ones).ravel()))
        np.testing.assert_allclose(*sums(operators[1]), atol=1e-9)
        b = jnp.asarray(RNG.normal(size=(24, 24)))

        @jax.jit
        def run(operator, modified):
            return jax.vmap(lambda m: solve(operator, b, CG(IncompleteCholesky(m), rtol=1e-8)).stats)(modified)

        stats = run(operators[0], jnp.asarray([0.0, 0.95]))
        plain = jax.jit(lambda b: solve(operators[0], b, CG(rtol=1e-8)))(b)
    assert (stats.status == Status.converged).all() and plain.status == Status.converged
    zero, modified = stats.iterations
    assert modified < 0.8 * zero < 0.4 * plain.iterations


def test_a_pivot_that_is_not_positive_is_replaced():
    pattern = SymmetricPattern([1], [0], 2)
    levels = TriangularPattern(pattern)
    factor = jax.jit(lambda d, below: incomplete_cholesky(levels, d, below))(jnp.ones(2), jnp.asarray([2.0]))
    np.testing.assert_allclose(factor.values, [1, 1, 2])
