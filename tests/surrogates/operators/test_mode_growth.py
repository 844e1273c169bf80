"""Frequencies that are added to an FNO: the prediction stays, gradients say what they would bring, training goes on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training.supervised import frame_losses

KEY, SMALL = jax.random.key(0), dict(width=4, depth=2)


def waves(ndim: int, top: int, n: int = 12, samples: int = 8) -> sx.Dataset:
    """u has the frequencies up to `top` of a along every axis."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(samples, *(n,) * ndim))
    hat = np.fft.fftn(a, axes=range(1, ndim + 1))
    k = np.abs(np.fft.fftfreq(n, 1 / n))
    kept = np.max(np.meshgrid(*(k,) * ndim, indexing="ij"), 0) <= top
    u = np.fft.ifftn(hat * kept, axes=range(1, ndim + 1)).real
    return sx.from_arrays({"a": a}, {"u": u}, grid=sx.Grid.unit(n, ndim, "periodic"))


@pytest.mark.quick("2")
@pytest.mark.parametrize("ndim, modes", [(1, 5), (2, (3, 5)), (3, 4)], ids="123")
def test_new_frequencies_change_no_prediction(ndim, modes):
    data = waves(ndim, 2, n=9 if ndim == 3 else 12, samples=3)
    model = sx.FNO(sx.Task.fit(data, "a", "u"), modes=3 if ndim < 3 else 2, key=KEY, **SMALL)
    more = sx.with_modes(model, modes)
    assert more.network.config.modes == modes and more.parameters > model.parameters
    u = model.predict(data)["u"]
    np.testing.assert_allclose(more.predict(data)["u"], u, atol=1e-6 * abs(u).max())
    assert sx.with_modes(model, model.network.config.modes).parameters == model.parameters


@pytest.mark.nightly
def test_gradients_by_frequency_are_those_of_the_loss():
    """All shells together have the norm of the gradient by all coefficients, on data that fill no whole number of batches; and
    frequencies that the target needs stand out before they exist."""
    data = waves(1, 3)
    model = sx.FNO(sx.Task.fit(data, "a", "u"), modes=2, key=KEY, **SMALL)
    found = sx.mode_gradients(model, data, 6, batch_size=3)
    more = sx.with_modes(model, 6)
    fields = {name: jnp.asarray(x) for name, x in data.read().items()}
    where = lambda m: [block.spectral.weight for block in m.network.blocks]  # noqa: E731

    @jax.jit
    def loss(weights):
        frames, _ = eqx.tree_at(where, more, weights).frames(sx.Batch(fields, jnp.arange(len(data))))
        return frame_losses(sx.losses.RelativeL2(), more.task, frames, fields).mean()

    gradient = jax.grad(loss)(where(more))
    whole = np.sqrt(sum(float((g**2).sum()) for g in gradient))
    np.testing.assert_allclose(np.linalg.norm(found), whole, rtol=1e-4)
    np.testing.assert_allclose(found[4], np.sqrt(sum(float((g[4] ** 2).sum()) for g in gradient)), rtol=1e-3)
    assert found[2:4].min() > 2 * found[4:].max()


@pytest.mark.nightly
def test_training_in_stages_learns_what_few_frequencies_cannot():
    """Two frequencies miss half of u; with the others the error falls to less than a fifth of that."""
    data = waves(1, 3, samples=64)
    task, adam = sx.Task.fit(data, "a", "u"), optax.adam(1e-2)
    settings = dict(optimizer=adam, batch_size=16, key=KEY, progress=False)
    error = lambda m: sx.evaluate({"m": m}, data, timing=False).value("m")  # noqa: E731
    few = sx.fit(sx.FNO(task, modes=2, key=KEY, width=16, depth=2), data, epochs=60, **settings)
    more = sx.fit(sx.with_modes(few, 4), data, epochs=60, **settings)
    assert error(more.last) < 0.2 * error(few.last)


def test_other_networks_and_fewer_frequencies_are_named():
    data = waves(1, 2)
    task = sx.Task.fit(data, "a", "u")
    with pytest.raises(ValueError, match="2 are fewer frequencies than the 3"):
        sx.with_modes(sx.FNO(task, modes=3, key=KEY, **SMALL), 2)
    with pytest.raises(TypeError, match="is no FNO"):
        sx.with_modes(sx.FFNO(task, modes=3, key=KEY, **SMALL), 4)
    with pytest.raises(ValueError, match="are not dense in `modes` frequencies"):
        sx.mode_gradients(sx.FNO(task, modes=3, separable=True, key=KEY, **SMALL), data, 4)
    with pytest.raises(ValueError, match="mode_gradients: the dataset holds no samples"):
        sx.mode_gradients(sx.FNO(task, modes=3, key=KEY, **SMALL), data[:0], 4)
