"""Three forms of the residual norm on −u'' + μ u = 1, where the exact one is known: values, floors, what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from surrogax.solvers.pde.affine import AffineSystem
from surrogax.surrogates.reduced.certified.full_order import full_order
from surrogax.surrogates.reduced.certified.reduced_space import ReducedSpace
from surrogax.surrogates.reduced.certified.residual_bound import (
    GramResidual,
    OrthonormalResidual,
    eim_residual,
    reduced_coefficients,
    residual_coefficients,
)

CELLS = 200
# Largest over 200 test parameters, by number of basis vectors: error in H1, exact residual norm (coercivity 1).
REFERENCE = {4: (1.2e-4, 1.50e-4), 6: (1.6e-6, 2.32e-6), 7: (4.4e-8, 4.96e-8), 8: (3.9e-9, 5.15e-9)}


def reaction_diffusion(cells=CELLS):
    """P1 elements; X is the inner product of H1."""
    h, m = 1 / cells, cells - 1
    tridiagonal = lambda d, o: sp.diags_array([np.full(m - 1, o), np.full(m, d), np.full(m - 1, o)], offsets=(-1, 0, 1))  # noqa: E731
    parts = tridiagonal(2 / h, -1 / h), tridiagonal(4 * h / 6, h / 6)
    return AffineSystem(parts, (np.full(m, h),), lambda mu: jnp.stack([jnp.ones_like(mu), mu]), lambda mu: jnp.ones(1))


@pytest.fixture(scope="module")
def spaces():
    """Spaces of 4, 6, 7, 8 snapshots chosen by the true error over 1000 parameters; test coefficients and solutions."""
    full = full_order(reaction_diffusion())
    train = full.coefficients(np.geomspace(1, 1000, 1000))
    test = full.coefficients(np.exp(np.random.default_rng(0).uniform(0, np.log(1000), 200)))
    solutions, truth = (np.stack([full.solve(*c) for c in zip(*part, strict=True)]) for part in (train, test))
    space, found = ReducedSpace.empty(full), {}
    errors = solutions
    for n in range(1, 9):
        space = space.extended(solutions[np.argmax([full.norm(e) for e in errors])])
        errors = solutions - reduced_coefficients(space.matrices, space.rhs, *train) @ space.basis
        found[n] = space
    return {n: found[n] for n in REFERENCE}, train, test, truth


def online(space, theta, phi):
    c = reduced_coefficients(space.matrices, space.rhs, theta, phi)
    return c, residual_coefficients(c, theta, phi)


@pytest.mark.nightly
@pytest.mark.parametrize("n", REFERENCE)
def test_all_forms_against_the_exact_norm(spaces, n):
    found, train, test, truth = spaces
    space = found[n]
    c, x = online(space, *test)
    exact = np.array([space.residual_norm(*sample) for sample in zip(c, *test, strict=True)])
    error = np.array([space.full.norm(e) for e in truth - c @ space.basis])
    np.testing.assert_allclose([error.max(), exact.max()], REFERENCE[n], rtol=0.1)
    rounding = 1e-13 * max(space.full.norm(u) for u in truth)  # of the solutions
    assert (exact > error * (1 - 1e-4) - rounding).all()

    orthonormal = OrthonormalResidual(space.factor)(x)
    interpolated = eim_residual(space, *train)
    assert interpolated.squares.shape == (2 * n + 1,)
    for values in (orthonormal, interpolated(x)):
        assert values.max() < 1.1 * REFERENCE[n][1]
        assert np.median(np.abs(values / exact - 1)) < {4: 1e-10, 6: 1e-7, 7: 1e-7, 8: 1e-5}[n]
        np.testing.assert_allclose(values, exact, rtol=1e-3, atol=1e-11)

    gram = GramResidual.of(space)
    square, floor = gram.square(x), gram.rounding(x)
    assert (np.abs(square - exact**2) <= floor).all()
    if n < 6:
        assert np.median(np.abs(np.sqrt(square) / exact - 1)) < 1e-7
    if n < 8:
        assert np.sqrt(square.max()) < 1.1 * REFERENCE[n][1]
    else:  # below the floor √ε ‖b‖ its square is noise, of whichever sign
        assert np.abs(np.sqrt(np.abs(square)) / exact - 1).max() > 1 and (exact**2 < floor).all()


def test_floors_in_single_precision(spaces):
    found, _, test, _ = spaces
    size = found[8].factor[0, 0]  # ‖b‖_X'
    for n, space in found.items():
        _, x = online(space, *test)
        single = jnp.asarray(x, jnp.float32)
        gram = eqx.tree_at(
            lambda g: g.gram, GramResidual.of(space), jnp.asarray(space.factor.T @ space.factor, jnp.float32)
        )
        floor = float(jnp.sqrt(jnp.abs(gram.square(single)).max()))
        orthonormal = OrthonormalResidual(jnp.asarray(space.factor, jnp.float32))(single)
        assert orthonormal.dtype == jnp.float32
        if n == 4:
            np.testing.assert_allclose(orthonormal.max(), REFERENCE[n][1], rtol=0.1)
        else:
            assert 5 * REFERENCE[n][1] < floor and floor**2 <= float(gram.rounding(single).max())
            assert orthonormal.max() < max(1.1 * REFERENCE[n][1], 3 * np.finfo(np.float32).eps * size)


def test_the_gram_form_is_refused_where_it_would_deceive(spaces):
    space, (theta, phi) = spaces[0][8], spaces[2]
    gram = GramResidual.of(space)
    _, x = online(space, theta, phi)
    with pytest.warns(UserWarning, match="has reached its floor"):
        values = gram(x)
    assert (values >= OrthonormalResidual(space.factor)(x)).all() and 1e-8 < np.median(values) < 1e-7
    with pytest.raises(ValueError, match=r"floor of 3e-4 in float32; use OrthonormalResidual"):
        gram(jnp.asarray(x, jnp.float32))
    _, x = online(spaces[0][4], theta, phi)
    above = GramResidual.of(spaces[0][4])(x)  # without a warning
    np.testing.assert_allclose(above, OrthonormalResidual(spaces[0][4].factor)(x), rtol=3e-3)


def test_interpolated_squares_that_rounding_made_negative_are_cut(spaces):
    found, train, test, _ = spaces
    form = eim_residual(found[8], *train, rtol=1e-10)  # too coarse for errors of 1e-9
    _, x = online(found[8], *test)
    with pytest.warns(UserWarning, match="interpolated square of a residual is negative"):
        values = form(x)
    assert (form.square(x) < 0).any() and np.isfinite(values).all() and (values > 0).all()


def test_residual_basis_is_orthonormal_and_small(spaces):
    space = spaces[0][8]
    gram = np.stack([space.full.product(z) for z in space.residuals]) @ space.residuals.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
    gram = np.stack([space.full.product(v) for v in space.basis]) @ space.basis.T
    np.testing.assert_allclose(gram, np.eye(8), atol=1e-12)
    assert space.factor.shape[1] == 1 + 2 * 8 and len(space.residuals) <= 17
    for n in (4, 6):  # truncation is the smaller space, up to signs of nothing: the snapshots are the same
        for whole, part in (
            (space.truncated(n).factor, spaces[0][n].factor),
            (space.truncated(n).matrices, spaces[0][n].matrices),
        ):
            np.testing.assert_allclose(whole, part, atol=1e-13 * np.abs(part).max())


def test_norm_of_zero_has_a_derivative():
    form = OrthonormalResidual(jnp.eye(3))
    np.testing.assert_array_equal(jax.grad(form)(jnp.zeros(3)), 0)
    np.testing.assert_allclose(jax.grad(form)(jnp.array([3.0, 0, 4.0])), [0.6, 0, 0.8], rtol=1e-6)
