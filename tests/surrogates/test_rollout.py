"""Forecasts of datasets: predictions fed back, forcings moved on, instants, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx

N, T = 6, 10
RNG = np.random.default_rng(0)


class Linear(sx.AbstractSurrogate):
    """w ← w/2 + w_before/4 + f, with the forcing of the last instant that is given and a static field: `horizon` frames."""

    task: sx.Task
    capabilities = sx.Capabilities(autoregressive=True, savable=False)

    def __call__(self, fields, at=None):
        before, last = fields["w"][0], fields["w"][1]
        frames = []
        for _ in range(self.task.mode.horizon):
            before, last = last, last / 2 + before / 4 + fields["f"][1].sum(-1) + fields["k"]
            frames.append(last)
        return {"w": self.task.mode.named(jnp.stack(frames))}


@pytest.fixture(scope="module")
def data() -> sx.Dataset:
    fields = {"w": (5, T, N), "f": (5, T, N, 2), "k": (5, N)}
    fields = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in fields.items()}
    return sx.from_arrays(fields, grid=sx.Grid.unit(N, 1), times=1 + 0.5 * np.arange(T))


def surrogate(data, horizon=1) -> Linear:
    return Linear(sx.Task.fit(data, ("w", "f", "k"), "w", mode=sx.Autoregressive(2, horizon)))


def by_hand(data, steps: int, horizon: int) -> np.ndarray:
    w, f, k = (data[name].astype(np.float64) for name in ("w", "f", "k"))
    frames = [w[:, 0], w[:, 1]]
    for step in range(steps):
        given = 1 + step // horizon * horizon
        frames.append(frames[-1] / 2 + frames[-2] / 4 + f[:, given].sum(-1) + k)
    return np.stack(frames[2:], 1)


@pytest.mark.parametrize(("horizon", "steps"), [(1, 1), (1, 5), (2, 2), (2, 5), (3, 4), (1, 9)])
def test_predictions_are_fed_back_and_forcings_move_on(data, horizon, steps):
    found = surrogate(data, horizon).rollout(data, steps)
    assert found["w"].shape == (5, steps, N) and found.grid == data.grid
    np.testing.assert_allclose(found["w"], by_hand(data, steps, horizon), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.times, 2.0 + 0.5 * np.arange(steps))
    assert set(found.fields) == {"w"} and found.ids.tolist() == [0, 1, 2, 3, 4]


def test_true_frames_behind_the_history_do_not_matter(data):
    future = data["w"].copy()
    future[:, 2:] = 1e6
    changed = sx.from_arrays({"w": future, "f": data["f"], "k": data["k"]}, grid=data.grid, times=data.times)
    model = surrogate(data)
    np.testing.assert_array_equal(model.rollout(changed, 4)["w"], model.rollout(data, 4)["w"])
    np.testing.assert_array_equal(model.predict(changed)["w"], model.predict(data)["w"])


def test_a_part_of_the_samples_is_forecast_like_all(data):
    model = surrogate(data)
    part = model.rollout(data.select([3, 1]), 4)
    np.testing.assert_allclose(part["w"], model.rollout(data, 4)["w"][[3, 1]], rtol=1e-6)
    assert part.ids.tolist() == [3, 1]


def test_as_many_frames_as_the_history_are_enough_without_forcings(data):
    """A forecast far beyond the instants of its dataset."""
    task = sx.Task.fit(data, "w", "w", mode=sx.Autoregressive(2))
    start = sx.from_arrays({"w": data["w"][:, :2]}, grid=data.grid, times=data.times[:2])
    model = sx.Persistence(task)
    found = model.rollout(start, 20)
    np.testing.assert_array_equal(found["w"], np.repeat(data["w"][:, 1:2], 20, 1))
    np.testing.assert_allclose(found.times[[0, -1]], [2.0, 11.5])


def test_forecasts_that_cannot_be_made_are_named(data):
    with pytest.raises(ValueError, match=r"10 predictions in a row need 11 frames of the inputs \['f'\].*there are 10"):
        surrogate(data).rollout(data, 10)
    short = sx.from_arrays(
        {"w": data["w"][:, :1], "f": data["f"][:, :1], "k": data["k"]}, grid=data.grid, times=data.times[:1]
    )
    with pytest.raises(ValueError, match="1 instants are too few"):
        surrogate(data).rollout(short, 1)
    uneven = sx.from_arrays({"w": data["w"]}, grid=data.grid, times=np.arange(T) ** 2)
    with pytest.warns(UserWarning, match="uneven"):
        model = sx.Persistence(sx.Task.fit(uneven, "w", "w", mode=sx.Autoregressive(1)))
    with pytest.raises(ValueError, match="knows no time step, because the training data have uneven instants"):
        model.rollout(uneven, 3)
    steady = sx.from_arrays({"a": data["k"]}, {"u": data["k"]}, grid=data.grid)
    with pytest.raises(ValueError, match="MeanField is not autoregressive"):
        sx.MeanField(sx.Task.fit(steady, "a", "u")).rollout(steady, 2)
