"""Random fields: one function on every grid, the covariance of the analytic expansion, one sample from one key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from surrogax.core.domains import Box, Grid
from surrogax.solvers import random
from surrogax.solvers.kernels import gaussian_field

BOUNDARIES = ("periodic", "neumann", "dirichlet")


def rms(u):
    return float(np.sqrt(np.mean(np.square(u))))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_key_is_one_function_on_every_grid(key, boundary):
    """The truncation at the frequencies that a grid holds converges at the rate of the spectrum, α − ½ in 1D."""
    field = random.GaussianField(alpha=2.5, boundary=boundary)
    grids = {
        n: Grid.unit_interval(n, "periodic" if boundary == "periodic" else "nodes")
        for n in (64, 65, 128, 129, 512, 513)
    }
    sizes = (64, 128, 512) if boundary == "periodic" else (65, 129, 513)
    keys = jax.random.split(key, 20)
    u = {n: np.asarray(jax.vmap(lambda k, g=grids[n]: field.sample(k, g))(keys)) for n in sizes}
    coarse, middle, fine = sizes
    intervals = 512
    errors = [rms(u[n] - u[fine][:, :: intervals // (n - n % 2)]) for n in (coarse, middle)]
    assert errors[1] < errors[0] < 0.05 * rms(u[fine])
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.6, errors


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_equal_on_every_grid_with_a_fixed_number_of_modes(key, boundary):
    std = lambda eigenvalue: 1 / (9 + eigenvalue)  # noqa: E731
    coarse, fine = (gaussian_field.sample(key, Grid.unit_square(n), boundary, std, modes=15) for n in (17, 33))
    np.testing.assert_allclose(fine[::2, ::2], coarse, atol=2e-6 * float(abs(coarse).max()))
    again = gaussian_field.sample(key, Grid(Box.unit(2), (16, 16), ("periodic",) * 2), boundary, std, modes=15)
    np.testing.assert_allclose(again, coarse[:-1, :-1], atol=2e-6 * float(abs(coarse).max()))


def eigenfunctions(boundary, x, count):
    """Orthonormal on (0, L = 2), with eigenvalues of −d²/dx², from their definition."""
    k = np.arange(count)
    if boundary == "neumann":
        return np.where(k == 0, np.sqrt(0.5), np.cos(k * np.pi * x[:, None] / 2)), (k * np.pi / 2) ** 2
    if boundary == "dirichlet":
        return np.sin((k + 1) * np.pi * x[:, None] / 2), ((k + 1) * np.pi / 2) ** 2
    waves = [np.full((len(x), 1), np.sqrt(0.5))]
    for j in range(1, count // 2 + 1):
        waves += [np.cos(j * np.pi * x)[:, None], np.sin(j * np.pi * x)[:, None]]
    return np.hstack(waves), (np.pi * ((np.arange(len(waves)) + 1) // 2)) ** 2


@pytest.mark.parametrize("mean_mode", [False, True])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_covariance_of_the_analytic_expansion(key, boundary, mean_mode):
    n, count, alpha, tau, sigma = (10 if boundary == "periodic" else 9), 20_000, 0.75, 2.0, 3.0
    grid = Box(x=(1, 3, boundary)).grid(n)
    field = random.GaussianField(alpha, tau, sigma, boundary, mean_mode)
    samples = jax.jit(jax.vmap(lambda k: field.sample(k, grid)))(jax.random.split(key, count))
    samples = np.asarray(samples, np.float64)
    phi, lam = eigenfunctions(
        boundary, grid.coordinates[0] - 1, 9
    )  # also of 10 periodic points: cosines with their sines
    variance = sigma**2 * tau ** (2 * alpha - 1) * (lam + tau**2) ** -alpha
    variance[0] *= mean_mode or boundary == "dirichlet"
    expected = (phi * variance) @ phi.T
    diagonal = np.diag(expected)
    error = np.sqrt((np.outer(diagonal, diagonal) + expected**2) / count)  # standard error of a Gaussian covariance
    ours = samples.T @ samples / count
    assert (abs(ours - expected) <= 5 * error + 1e-10).all()
    assert (abs(samples.mean(0)) <= 5 * np.sqrt(diagonal / count) + 1e-10).all()


def test_sample_does_not_depend_on_the_batch(key):
    field, grid = random.GaussianField(), Grid.unit_square(9)
    draw = jax.vmap(lambda i: field.sample(jax.random.fold_in(key, i), grid))
    three, seven = draw(jnp.arange(3)), draw(jnp.arange(7))
    np.testing.assert_array_equal(three, seven[:3])
    np.testing.assert_allclose(field.sample(jax.random.fold_in(key, 2), grid), three[2], atol=1e-6)
    assert len({u.tobytes() for u in np.asarray(seven)}) == 7


@pytest.mark.parametrize("shape", [(17,), (9, 12), (6, 5, 7)])
def test_dirichlet_fields_vanish_at_the_boundary_only(key, shape):
    grid = Box(**dict(zip("xyz", [(0, 1), (-1, 1), (0, 3)][: len(shape)], strict=False))).grid(shape)
    u = np.asarray(random.GaussianField(boundary="dirichlet").sample(key, grid))
    assert u.shape == shape and u.dtype == np.float32
    inside = np.zeros(shape, bool)
    inside[(slice(1, -1),) * len(shape)] = True
    assert abs(u[~inside]).max() < 1e-5 * abs(u).max()
    assert (u[inside] != 0).all()


@pytest.mark.parametrize("layout", ["nodes", "cells", "periodic"])
def test_layouts_see_the_same_function(key, layout):
    """Points that a layout shares with a grid of nodes have its values, whatever the boundary of the field."""
    std = lambda eigenvalue: np.exp(-eigenvalue / 100)  # noqa: E731
    draw = functools.partial(gaussian_field.sample, key, boundary="neumann", std=std, modes=6)
    every = {"nodes": slice(None, None, 2), "cells": slice(1, None, 2), "periodic": slice(None, -1, 2)}[layout]
    n = 9 if layout == "nodes" else 8
    np.testing.assert_allclose(draw(Grid.unit_interval(n, layout)), draw(Grid.unit_interval(17))[every], atol=1e-5)


def test_periodic_fields_have_zero_mean_and_match_at_the_ends(key):
    field = random.GaussianField(boundary="periodic")
    u = np.asarray(field.sample(key, Grid.unit_interval(33)))
    np.testing.assert_allclose(u[0], u[-1], atol=1e-5)
    u = np.asarray(field.sample(key, Grid.unit_square(32, "periodic")))
    assert abs(u.mean()) < 1e-6 * abs(u).max()


def test_threshold_takes_two_values_by_sign(key):
    grid, field = Grid.unit_square(33), random.GaussianField()
    a = random.Threshold(12.0, 3.0, field).sample(key, grid)
    assert set(np.unique(a)) == {3, 12}
    np.testing.assert_array_equal(a == 12, field.sample(key, grid) >= 0)


def test_lognormal_is_the_exponential(key):
    grid, field = Grid.unit_square(9), random.GaussianField()
    np.testing.assert_allclose(
        np.log(random.Lognormal(0.5, field).sample(key, grid)), 0.5 * field.sample(key, grid), atol=1e-5
    )


def test_numbers(key):
    keys = jax.random.split(key, 4000)
    uniform = np.asarray(jax.vmap(random.Uniform(-2, 6).sample)(keys))
    assert uniform.shape == (4000,) and -2 <= uniform.min() < -1.9 and 5.9 < uniform.max() < 6
    assert abs(uniform.mean() - 2) < 5 * 8 / np.sqrt(12 * 4000)
    beta = np.asarray(jax.vmap(random.Beta(2, 6, scale=0.6, shift=-0.15).sample)(keys))
    assert abs(beta.mean() - (-0.15 + 0.6 * 0.25)) < 5 * 0.6 * np.sqrt(12 / (64 * 9) / 4000)
    for law in (random.Uniform(), random.Beta(), random.GaussianField(), random.Threshold(), random.Lognormal()):
        assert isinstance(law, random.Distribution) and hash(law) == hash(type(law)())


RECTANGLE = Box(x=(-1, 1, "periodic"), y=(0, 3, "periodic"))


@pytest.mark.nightly
def test_clusters_are_sums_of_bells(key):
    """One bell has the integral h π/s and reaches its height; the number of many is uniform; the same function on every grid."""
    one = random.Clusters(1, 1, (2.0, 2.0), (20.0, 20.0))
    coarse, fine = (
        np.asarray(jax.jit(one.sample, static_argnums=1)(key, RECTANGLE.grid(n))) for n in ((40, 45), (80, 90))
    )
    np.testing.assert_allclose(fine[::2, ::2], coarse, atol=1e-5)
    np.testing.assert_allclose(fine.mean() * 6, 2 * np.pi / 20, rtol=1e-4)
    assert 1.97 < fine.max() <= 2 and fine.min() >= 0
    grid = Box.unit(1, "periodic").grid(16)
    many = random.Clusters(2, 5, (1.0, 1.0), (150.0, 150.0))
    draws = jax.jit(jax.vmap(lambda k: many.sample(k, grid).mean()))
    masses = draws(jax.random.split(key, 200)) / np.sqrt(np.pi / 150)
    numbers = np.round(np.asarray(masses))
    assert abs(masses - numbers).max() < 0.02 and set(numbers) == {2, 3, 4, 5}


def test_interpolated_noise_takes_its_values_at_its_points(key):
    law = random.InterpolatedNoise(8, 0.3, 2.0)
    draw = jax.jit(law.sample, static_argnums=1)
    coarse, fine = (np.asarray(draw(key, RECTANGLE.grid(n)), np.float64) for n in (8, 24))
    np.testing.assert_allclose(fine[::3, ::3], coarse, atol=1e-5)
    assert abs(coarse - 0.3).max() <= 1 + 1e-5 and 0.4 < coarse.std() < 0.75  # 2/√12 = 0.58
    spectrum = abs(np.fft.fft2(fine))
    assert spectrum[5:20].max() < 1e-3 * spectrum[1:4].max()


@pytest.mark.nightly
def test_truncated_noise_is_white_and_bounded(key):
    """Norm ≤ √n on the unknowns, zero on Dirichlet sides; the density inside the ball keeps its mean and covariance."""
    noise, grid = random.TruncatedNoise(), Box(x=(0, 1), y=(0, 1, "periodic")).grid((6, 5))
    keys = jax.random.split(key, 4000)
    draws = np.asarray(jax.jit(jax.vmap(lambda k: noise.sample(k, grid)))(keys))
    assert draws.shape == (4000, 6, 5) and (draws[:, [0, -1]] == 0).all()
    inner = draws[:, 1:-1].reshape(4000, 20)
    square = (inner**2).sum(1)
    assert square.max() <= 20 and square.max() > 19.9
    # E‖b‖² of χ²₂₀ below 20: 20 F₂₂(20) / F₂₀(20) with the distribution functions F of χ².
    assert abs(square.mean() - 20 * chi2.cdf(20, 22) / chi2.cdf(20, 20)) < 4 * square.std() / np.sqrt(4000)
    covariance = inner.T @ inner / 4000
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.07 and np.abs(inner.mean(0)).max() < 0.07
    np.testing.assert_array_equal(draws[7], noise.sample(keys[7], grid))


def test_laws_say_what_they_are():
    fields = (random.GaussianField(), random.Threshold(), random.Lognormal(), random.TruncatedNoise())
    assert [(law.is_field, law.isotropic, law.smooth, law.is_timed) for law in fields] == [
        (True, True, True, False), (True, True, False, False), (True, True, True, False), (True, True, False, False),
    ]  # fmt: skip
    for number in (random.Uniform(), random.LogUniform(), random.Beta()):
        assert (number.is_field, number.isotropic, number.smooth, number.is_timed) == (False, True, True, False)
    with pytest.raises(TypeError, match=r"the law Wave does not say \['isotropic', 'smooth'\]: write"):

        class Wave(random.Distribution):
            is_field = True

            def sample(self, key, grid):
                return grid.points[..., 0]

    class Silent(random.Distribution):
        is_field, isotropic, smooth = True, False, True

    with pytest.raises(TypeError, match="sample"):
        Silent()


@pytest.mark.nightly
def test_isotropic_laws_do_not_prefer_a_direction(key):
    """Second moments of slopes along x and y, and odd moments under reflection, over many draws."""
    grid = Grid.unit_square(17)
    for law in (random.GaussianField(), random.Lognormal(), random.Threshold(), random.TruncatedNoise()):
        draws = np.asarray(jax.vmap(lambda k, law=law: law.sample(k, grid))(jax.random.split(key, 600)))
        squares = [(np.diff(draws, axis=axis) ** 2).mean((1, 2)) for axis in (1, 2)]
        spread = np.std(squares[0] - squares[1]) / np.sqrt(len(draws))
        assert abs(np.mean(squares[0] - squares[1])) < 4 * spread, law
