"""The stress of a viscous gas: the order of its divergence, what is conserved, walls, the bound of the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels.finite_volume import Periodic, Wall
from surrogax.solvers.kernels.viscous_stress import ViscousStress
from surrogax.solvers.pde.conservation_laws import Gas

GAS = Gas(1.4, "hllc")
SIDES = (1.0, 2.0)  # of the box


def fields(shape):
    """Velocities of a few waves, in the middle of cells, and density and pressure, on which the stress does not depend."""
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n * side for n, side in zip(shape, SIDES, strict=True)], indexing="ij")
    u = np.sin(2 * np.pi * x) * np.cos(np.pi * y) + 0.3 * np.cos(4 * np.pi * x)
    v = np.cos(2 * np.pi * (x - y)) + 0.5 * np.sin(np.pi * y)
    return np.stack([2 + 0 * x, u, v, 1 + 0 * x])


def derivative(f, axis):
    n, side = f.shape[axis], SIDES[axis]
    k = 2j * np.pi / side * np.fft.fftfreq(n, 1 / n)
    return np.fft.ifft(np.fft.fft(f, axis=axis) * k.reshape([-1 if a == axis else 1 for a in range(2)]), axis=axis).real


def exact(w, shear, bulk):
    """∇·σ and ∇·(σv) by Fourier series."""
    v = w[1:3]
    slopes = np.array([[derivative(v[i], a) for a in range(2)] for i in range(2)])
    divergence = slopes[0, 0] + slopes[1, 1]
    stress = shear * (slopes + slopes.swapaxes(0, 1))
    for i in range(2):
        stress[i, i] += (bulk - 2 / 3 * shear) * divergence
    work = (stress * v[:, None]).sum(0)
    pushed = [derivative(stress[i, 0], 0) + derivative(stress[i, 1], 1) for i in range(2)]
    return np.stack([0 * divergence, *pushed, derivative(work[0], 0) + derivative(work[1], 1)])


@pytest.mark.quick("0.1-0.7")
@pytest.mark.parametrize(("shear", "bulk"), [(0.3, 0.0), (0.1, 0.7)])
def test_second_order(x64, shear, bulk):
    stress, errors = ViscousStress(shear, bulk), []
    for n in (32, 64):
        shape = (n, n + 10)
        w, spacing = fields(shape), [side / m for side, m in zip(SIDES, shape, strict=True)]
        rate = np.asarray(jax.jit(lambda w, h=spacing: stress.rate(GAS, w, h, [(Periodic(), Periodic())] * 2))(w))
        errors.append(abs(rate - exact(w, shear, bulk)).max())
        assert abs(rate.sum((1, 2))).max() < 1e-10 * abs(rate).sum(), "momentum and energy are exchanged"
    assert 3.2 < errors[0] / errors[1] < 4.6 and errors[1] < 0.05 * abs(rate).max(), errors


@pytest.mark.nightly
def test_one_dimension_and_walls(x64):
    """(4/3 η + ζ) u_xx; a wall takes momentum, but no energy, and a velocity along it is not slowed down."""
    n = 40
    x = (np.arange(n) + 0.5) / n
    w = np.stack([1 + x, np.sin(np.pi * x), 2 - x])
    rate = np.asarray(ViscousStress(0.3, 0.1).rate(GAS, jnp.asarray(w), [1 / n], [(Wall(), Wall())]))
    np.testing.assert_allclose(rate[1], -0.5 * np.pi**2 * w[1], rtol=1e-3)
    assert abs(rate[2].sum()) < 1e-10 * abs(rate[2]).sum() and not rate[0].any()
    along = np.stack([np.ones((n, 6)), np.zeros((n, 6)), np.full((n, 6), 3.0), np.ones((n, 6))])
    still = ViscousStress(0.3, 0.1).rate(GAS, jnp.asarray(along), [1 / n, 0.1], [(Wall(), Wall())] * 2)
    assert abs(still[:2]).max() == 0 and abs(still[2, :, 1:-1]).max() == 0


@pytest.mark.nightly
def test_the_bound_of_the_step_is_that_of_eulers_method(x64):
    """Waves that alternate from cell to cell grow under steps beyond 1/0.8 of it, and not under shorter ones."""
    n, stress = 16, ViscousStress(0.3, 0.1)
    w = np.stack([np.full(n, 0.5), 1e-3 * (-1.0) ** np.arange(n), np.ones(n)])
    step = stress.longest_step(jnp.asarray(w), [1 / n])
    rate = stress.rate(GAS, jnp.asarray(w), [1 / n], [(Periodic(), Periodic())])[1] / w[0] / w[1]
    np.testing.assert_allclose(-rate * step, 2 * 0.8, rtol=1e-12)
    sides = [(Periodic(), Periodic())]
    slope = jax.grad(lambda eta: ViscousStress(eta, 0.0).rate(GAS, jnp.asarray(w), [1 / n], sides)[1, 0])(0.3)
    np.testing.assert_allclose(slope, 4 / 3 * -4 * n**2 * w[1, 0], rtol=1e-12)
