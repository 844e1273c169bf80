"""Differentiation matrices: exactness, the classical weights, Fourier modes, failures."""

import numpy as np
import pytest

from surrogax.solvers.kernels.differentiation import finite_difference_matrix, fourier_matrix


def test_classical_weights():
    nodes = np.arange(9.0)
    second = finite_difference_matrix(nodes, nodes, 2, accuracy=3)[4, 2:7]
    np.testing.assert_allclose(second, np.array([-1, 16, -30, 16, -1]) / 12, atol=1e-14)
    first = finite_difference_matrix(nodes, nodes, 1, accuracy=2)[0, :3]
    np.testing.assert_allclose(first, [-1.5, 2, -0.5], atol=1e-14)


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("accuracy", [2, 5, 6])
def test_polynomials_are_exact_on_uneven_nodes_inside_and_beyond(order, accuracy):
    nodes = np.linspace(-1, 1, 13) + np.random.default_rng(0).uniform(-0.04, 0.04, 13)
    targets = np.array([-1.1, -0.3, nodes[6], 0.9, 1.05])
    matrix = finite_difference_matrix(nodes, targets, order, accuracy)
    for degree in range(order + accuracy + 1):
        p = np.polynomial.Polynomial(np.random.default_rng(degree).normal(size=degree + 1))
        error = abs(matrix @ p(nodes) - p.deriv(order)(targets)).max() / (1 + abs(p.deriv(order)(targets)).max())
        assert error < 1e-7 if degree < order + accuracy else error > 1e-7, (degree, error)


@pytest.mark.parametrize("n", [12, 13])
@pytest.mark.parametrize("order", range(5))
def test_waves_are_exact_at_and_between_nodes(n, order):
    length, start = 3.0, -1.0
    nodes = start + length * np.arange(n) / n
    targets = np.append(nodes, [0.123, 1.7])
    matrix = fourier_matrix(nodes, targets, length, order)
    for mode in range((n + 1) // 2):
        k = 2 * np.pi * mode / length
        wave = lambda x, k=k, d=order: (1j * k) ** d * np.exp(1j * k * x)  # noqa: E731
        expected = wave(targets)
        np.testing.assert_allclose(
            matrix @ np.exp(1j * k * nodes), expected, atol=1e-12 * (np.pi * n / length) ** order
        )


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="of order 2 to accuracy 6 needs 8 points, got 7"):
        finite_difference_matrix(np.arange(7.0), np.arange(7.0), 2)
