"""`minimize`: the optimiser step of the library on plain functions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from surrogax.core.minimize import minimize

STARTS = {"x": jnp.asarray([-1.2, 0.3]), "y": jnp.asarray([1.0, 2.0])}


def rosenbrock(p):
    return 100 * (p["y"] - p["x"] ** 2) ** 2 + (1 - p["x"]) ** 2


@pytest.mark.nightly
@pytest.mark.parametrize("x64", [False, True])
def test_lbfgs_finds_the_minimum_of_rosenbrock_from_several_starts_in_either_precision(x64):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        starts = jax.tree.map(lambda x: x.astype(dtype), STARTS)
        run = jax.jit(jax.vmap(lambda start: minimize(rosenbrock, start, optax.lbfgs(), 60)))
        ends, values = jax.tree.map(np.asarray, run(starts))
    np.testing.assert_allclose(ends["x"], 1, rtol=1e-8 if x64 else 1e-4)
    assert values.dtype == dtype and values.shape == (2, 60)
    np.testing.assert_allclose(values[:, 0], rosenbrock(STARTS), rtol=1e-5)
    assert (values[:, -1] < (1e-20 if x64 else 1e-8)).all()


def test_plain_gradient_descent_contracts_a_parabola_as_it_must():
    end, values = minimize(lambda p: p**2, jnp.asarray(2.0), optax.sgd(0.25), 5)
    np.testing.assert_allclose(values, [4 * 0.25**k for k in range(5)], rtol=1e-6)
    np.testing.assert_allclose(end, 2 * 0.5**5, rtol=1e-6)


def test_parameters_stay_where_the_function_is_no_longer_finite():
    end, values = minimize(lambda p: jnp.log(p), jnp.asarray(1.0), optax.sgd(0.6), 6)
    # 1 → 0.4 → −1.1, whose logarithm is not a number.
    np.testing.assert_allclose(values[:2], [0, np.log(0.4)], rtol=1e-5)
    assert np.isnan(values[2:]).all()
    np.testing.assert_allclose(end, 0.4 - 0.6 / 0.4, rtol=1e-5)
