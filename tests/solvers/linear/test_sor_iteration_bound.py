"""The near-asymptotic bound: SOR stays below it, and its constants are what they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.linear import SOR, Laplacian, near_asymptotic_bound, solve

OMEGA = np.array([1.0, 1.2, 1.4, 1.5, 1.5604, 1.6, 1.7, 1.8, 1.9, 1.95])
BETA = np.cos(np.pi / 11)


def bound(omega, tau=0.2):
    """The bound for ε = 1e-8 as NumPy arrays, in float64."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, near_asymptotic_bound(jnp.asarray(omega), BETA, tau, 1e-8))


@pytest.mark.nightly
@pytest.mark.parametrize("order", ["red_black", "natural"])
def test_iterations_of_sor_lie_below(order):
    """10×10 points: below for τ = 0.2 at every ω, and above for τ = 0 near ω*, so the bound is not idle."""
    with jax.enable_x64(True):
        operator = Laplacian((10, 10), (1.0, 1.0), ("dirichlet",) * 2)
        b = jnp.asarray(np.random.default_rng(0).normal(size=(3, 10, 10)))
        run = jax.jit(jax.vmap(lambda omega, b: solve(operator, b, SOR(omega, rtol=1e-8, order=order)).iterations))
        counts = np.asarray(run(jnp.repeat(OMEGA, 3), jnp.tile(b, (len(OMEGA), 1, 1)))).reshape(-1, 3)
    upper = bound(OMEGA)
    assert (counts < upper.iterations[:, None]).all()
    assert (counts > 0.25 * upper.iterations[:, None]).all()
    assert counts[4].min() > bound(OMEGA, tau=0.0).iterations[4]
    assert np.all(upper.iterations <= 1 + np.log(1e-8) / np.log(upper.alpha))


def test_slopes():
    """U falls up to ω* and rises beyond, no faster than the Lipschitz constant, which is attained within a factor of two."""
    best = 1 + (BETA / (1 + np.sqrt(1 - BETA**2))) ** 2
    assert np.all(np.diff(bound(np.linspace(1, best, 50)).iterations) < 0)
    right = np.linspace(best, 1.95, 2000)
    upper = bound(right)
    slopes = np.diff(upper.iterations) / np.diff(right)
    assert slopes.min() > 0
    assert upper.lipschitz / 2 < slopes.max() <= upper.lipschitz * (1 + 1e-9)
