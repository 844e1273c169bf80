"""Empirical cubature: non-negative least squares, exactness on polynomials, the volume, bad input."""

import numpy as np
import pytest
import scipy.optimize

from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.interpolation.cubature import empirical_cubature


@pytest.mark.parametrize("rows, elements", [(30, 60), (60, 30)])
def test_without_tolerance_it_is_non_negative_least_squares(rows, elements):
    rng = np.random.default_rng(0)
    g, b = rng.normal(size=(rows, elements)), rng.normal(size=rows)
    exact, residual = scipy.optimize.nnls(g, b)
    error = residual / np.linalg.norm(b)
    ours = empirical_cubature(g, b, rtol=error * (1 + 1e-12))
    weights = np.zeros(elements)
    weights[ours.elements] = ours.weights
    np.testing.assert_allclose(weights, exact, atol=1e-6)
    assert ours.error == pytest.approx(error, rel=1e-10)
    with pytest.raises(ValueError, match=f"the best error is {error:.1e}"):
        empirical_cubature(g, b, rtol=0.99 * error)


def test_polynomials_need_at_most_as_many_points_as_monomials():
    x = (np.arange(500) + 0.5) / 500
    monomials = x ** np.arange(8)[:, None] / 500
    rule = empirical_cubature(monomials, rtol=1e-9)
    assert len(rule.elements) <= 8 and rule.weights.min() > 0 and rule.error <= 1e-9
    np.testing.assert_allclose(monomials[:, rule.elements] @ rule.weights, 1 / np.arange(1, 9), rtol=1e-5)
    counts = [len(empirical_cubature(monomials, rtol=10.0**-k).elements) for k in (1, 2, 4, 6)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_volume_and_limit():
    rng = np.random.default_rng(1)
    g, volumes = rng.normal(size=(10, 200)) + 0.05, rng.uniform(0.5, 2, 200)
    rule = empirical_cubature(g, rtol=1e-3, volumes=volumes)
    assert rule.weights @ volumes[rule.elements] == pytest.approx(volumes.sum(), rel=2e-3)
    plain = empirical_cubature(g, rtol=1e-3)
    assert abs(plain.weights @ volumes[plain.elements] / volumes.sum() - 1) > 0.1
    few = empirical_cubature(g, rtol=1e-3, volumes=volumes, max_elements=4)
    assert len(few.elements) == 4 and few.error > 1e-3
    for r in (rule, few):
        assert r.error == pytest.approx(
            np.linalg.norm(g[:, r.elements] @ r.weights - g.sum(1)) / np.linalg.norm(g.sum(1))
        )
    assert rule.error <= 1e-3
    with pytest.raises(ValueError, match="no non-negative weights"):  # the rows alone are met, not the volume
        empirical_cubature(np.array([[1.0, 1.0]]), np.array([2e-3]), volumes=np.ones(2))


def test_cubature_bad_input(tmp_path):
    g = np.ones((2, 3))
    for arguments, message in [
        ((np.where(np.eye(2, 3), np.nan, g),), "NaN"),
        ((g * [1, 1, -2],), "all sums are zero"),
        ((-g, np.ones(2)), "no non-negative weights reach rtol"),
    ]:
        with pytest.raises(ValueError, match=message):
            empirical_cubature(*arguments)
    save(tmp_path / "rule", rule := empirical_cubature(g))
    np.testing.assert_array_equal(load(tmp_path / "rule").weights, rule.weights)
