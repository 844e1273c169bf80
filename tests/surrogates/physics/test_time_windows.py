"""Windows of time: the solution of a long problem, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx


def decay(**others):
    """u_t = −u and v_t = u from 1 and 0, on a line: e^−t and 1 − e^−t."""
    return sx.Problem(
        ("u", "v"), sx.Box(x=(0, 1, "periodic")), time=(1.0, 4.0), initial={"u": 1.0, "v": 0.0},
        residual=lambda w, p: {"u": w.u.t + w.u.value, "v": w.v.t - w.u.value}, **others,
    )  # fmt: skip


@pytest.mark.nightly
def test_windows_follow_each_other(key):
    found = sx.march(
        decay(), lambda p: sx.PINN(p, width=6, depth=1, key=key), windows=3, optimizer=sx.LevenbergMarquardt(), steps=20,
        sampler=sx.UniformSampler(60), check_every=10, progress=False,
    )  # fmt: skip
    assert found.history.steps == [10] * 6 and repr(found).startswith("FitResult(Marched, 60 steps")
    values = found.predict({})
    t = np.linspace(0, 3, 33)
    for name, exact in (("u", np.exp(-t)), ("v", 1 - np.exp(-t))):
        np.testing.assert_allclose(values[name][0], np.broadcast_to(exact[:, None], values[name][0].shape), atol=1e-4)
    # Where windows meet, the later one starts from the end of the former.
    first, second = found.best.windows[:2]
    at_end = first.at_points({}, jnp.array([[1.0, 0.3]]))
    np.testing.assert_allclose(second.at_points({}, jnp.array([[0.0, 0.3]])), at_end, rtol=1e-6)
    slope = jax.grad(lambda t: found.best.at_points({}, jnp.array([[0.0, 0.5]]).at[0, 0].set(t))[0, 0])(2.5)
    np.testing.assert_allclose(slope, -np.exp(-2.5), rtol=1e-3)
    sx.check_surrogate(found)


def test_windows_that_mean_nothing_are_refused(key):
    make = lambda p: sx.PINN(p, width=4, depth=1, key=key)  # noqa: E731
    steady = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 1)
    with pytest.raises(ValueError, match="march needs a time interval and an initial value"):
        sx.march(steady, make, windows=2, optimizer=optax.adam(1e-3), steps=1)
    with pytest.raises(ValueError, match="random inputs"):
        sx.march(decay(inputs={"a": sx.random.Uniform(0, 1)}), make, windows=2, optimizer=optax.adam(1e-3), steps=1)
    with pytest.raises(ValueError, match=r"march\(seeds=…\) means nothing"):
        sx.march(decay(), make, windows=2, optimizer=optax.adam(1e-3), steps=1, seeds=2)
    with pytest.raises(TypeError, match="return a model such as PINN"):
        sx.march(decay(), lambda p: p, windows=2, optimizer=optax.adam(1e-3), steps=1)
