"""`check_surrogate` on surrogates of two fields and a parameter on a square: each breaks one part of the contract."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.resampling import resample

N = 9
GRID = sx.Grid.unit_square(N)


@pytest.fixture(scope="module")
def square():
    x, y = np.moveaxis(GRID.points, -1, 0)
    c = np.random.default_rng(0).uniform(0.5, 1.5, (12, 3, 1, 1))
    a, b = c[:, 0] * np.sin(2 * x + y), c[:, 1] * np.cos(x - 3 * y)
    data = sx.from_arrays({"a": a, "b": b}, {"u": a * c[:, 2] + b}, grid=GRID, parameters={"p": c[:, 2, 0, 0]})
    return data, sx.Task.fit(data, ("a", "b", "p"), "u")


class Right(sx.AbstractSurrogate):
    """u = p a + b."""

    task: sx.Task
    capabilities = sx.Capabilities(resolution_free=True, savable=False)

    def __call__(self, fields, at=None):
        fields = resample(self.task, fields, at)
        return {"u": fields["p"] * fields["a"] + fields["b"]}


class NoGradientOfTheSecondField(Right):
    def __call__(self, fields, at=None):
        return super().__call__({**fields, "b": jax.lax.stop_gradient(fields["b"])}, at)


class NoGradientOfTheParameter(Right):
    def __call__(self, fields, at=None):
        return super().__call__({**fields, "p": jax.lax.stop_gradient(fields["p"])}, at)


class FlatElsewhere(Right):
    def __call__(self, fields, at=None):
        u = super().__call__(fields, at)["u"]
        return {"u": u if at is None else jnp.full_like(u, u.mean())}


class TransposedElsewhere(Right):
    def __call__(self, fields, at=None):
        u = super().__call__(fields, at)["u"]
        return {"u": u if at is None else u.T}


class WrongInLargeBatches(Right, sx.AbstractBatchFirst):
    def call_batch(self, batch, at=None):
        u = jax.vmap(lambda fields: self(fields, at)["u"])(batch.fields)
        return {"u": u * (1 + 0.01 * (len(batch) > 8))}


BROKEN = {
    NoGradientOfTheSecondField: "the gradient with respect to b is",
    NoGradientOfTheParameter: "the gradient with respect to p is",
    FlatElsewhere: "resolution_free: u at .* is nearer to its mean",
    TransposedElsewhere: "resolution_free: u at .* is nearer to its (mean|transpose)",
    WrongInLargeBatches: "in a batch of 33: u differs",
}


def test_a_right_surrogate_keeps_the_contract(square):
    data, task = square
    sx.check_surrogate(Right(task), data)
    sx.check_surrogate(Right(task))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_what_breaks_one_part_is_caught(square, broken):
    data, task = square
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        sx.check_surrogate(broken(task), data)


class TwoBlocks(eqx.Module):
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    drops: bool = eqx.field(static=True)

    def __init__(self, task, drops, key):
        channels = task.in_channels + task.in_params
        self.first = eqx.nn.Linear(channels, 8, key=key)
        self.second = eqx.nn.Linear(8, task.out_channels, key=key)
        self.drops = drops

    def __call__(self, x):
        hidden = jnp.tanh(x @ self.first.weight.T + self.first.bias)
        if self.drops:
            hidden = x[..., :1] * jnp.ones(8)
        return hidden @ self.second.weight.T + self.second.bias


@pytest.mark.nightly
def test_a_block_whose_output_is_dropped_is_caught(square):
    data, task = square
    sx.check_surrogate(sx.wrap(TwoBlocks(task, False, jax.random.key(0)), task), data)
    with pytest.raises(AssertionError, match=r"does not depend on .*first\.weight"):
        sx.check_surrogate(sx.wrap(TwoBlocks(task, True, jax.random.key(0)), task), data)
