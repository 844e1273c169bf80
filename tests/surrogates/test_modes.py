"""How time enters: windows, frames and increments of every mode, and what each refuses."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.core import storage
from surrogax.surrogates.task.modes import AbstractMode
from surrogax.surrogates.training.samples import Samples

N, T = 5, 9
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def timed() -> sx.Dataset:
    """Trajectories of a scalar w and a vector q, and a static field k, 0.25 apart."""
    fields = {"w": RNG.normal(1, 2, (4, T, N)), "q": RNG.normal(3, 1, (4, T, N, 2)), "k": RNG.normal(size=(4, N))}
    fields = {name: values.astype(np.float32) for name, values in fields.items()}
    return sx.from_arrays(fields, grid=sx.Grid.unit(N, 1), times=0.25 * np.arange(T))


# Autoregressive -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("history", "horizon"), [(1, 1), (2, 2), (1, 3), (3, 1)])
def test_increments_add_up_from_the_last_frame_that_is_given(timed, history, horizon):
    task = sx.Task.fit(timed, ("w", "q", "k"), ("w", "q"), mode=sx.Autoregressive(history, horizon, increments=True))
    assert task.out_channels == 3 * horizon and task.in_channels == 3 * history + 1
    sample = {name: jnp.asarray(values) for name, values in timed[1].items()}
    y = RNG.normal(size=(N, 3 * horizon)).astype(np.float32)
    frames = task.decode(jnp.asarray(y), sample)
    assert frames.shape == (horizon, N, 3)
    mean, std = (
        np.concatenate([getattr(task.normalizers[f"Δ{name}"], part) for name in ("w", "q")]) for part in ("mean", "std")
    )
    last = np.concatenate([timed["w"][1, history - 1][:, None], timed["q"][1, history - 1]], -1).astype(np.float64)
    for frame, increment in zip(frames, y.reshape(N, horizon, 3).transpose(1, 0, 2), strict=True):
        last = last + increment * std + mean
        np.testing.assert_allclose(frame, last, rtol=1e-4, atol=1e-5)
    named = task.split(frames)
    assert named["w"].shape == ((N,) if horizon == 1 else (horizon, N))
    np.testing.assert_array_equal(task.join(named), frames)


def test_true_increments_give_the_true_frames(timed):
    """Normalised differences of the frames behind the window are what a perfect network puts out."""
    task = sx.Task.fit(timed, "w", "w", mode=sx.Autoregressive(2, 3, increments=True))
    w, normalizer = jnp.asarray(timed["w"][0]), task.normalizers["Δw"]
    y = normalizer.encode(jnp.diff(w[1:5], axis=0)[..., None])
    frames = task.decode(jnp.moveaxis(y, 0, -2).reshape(N, 3), {"w": w})
    np.testing.assert_allclose(frames[..., 0], w[2:5], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(task.wanted({"w": w})[..., 0], w[2:5])
    np.testing.assert_array_equal(task.wanted({"w": w}, call=1)[..., 0], w[5:8])


def test_values_of_several_frames_come_one_after_the_other(timed):
    task = sx.Task.fit(timed, ("w", "q"), ("w", "q"), mode=sx.Autoregressive(2, 2))
    y = RNG.normal(size=(N, 6)).astype(np.float32)
    frames = task.decode(jnp.asarray(y), {name: jnp.asarray(timed[name][0]) for name in ("w", "q")})
    std, mean = np.asarray(task.normalizers["q"].std), np.asarray(task.normalizers["q"].mean)
    for frame in range(2):
        np.testing.assert_allclose(frames[frame, :, 1:], y[:, 3 * frame + 1 : 3 * frame + 3] * std + mean, rtol=1e-5)
    np.testing.assert_allclose(task.encode_targets(frames), y.reshape(N, 2, 3).transpose(1, 0, 2), atol=1e-4)


@pytest.mark.parametrize(("history", "horizon", "calls"), [(1, 1, 1), (2, 1, 3), (2, 2, 2), (3, 2, 3)])
def test_windows_of_trajectories_are_all_that_fit(timed, history, horizon, calls):
    task = sx.Task.fit(timed, ("w", "k"), "w", mode=sx.Autoregressive(history, horizon))
    samples = Samples.of(task, timed, calls)
    frames = history + calls * horizon
    assert samples.frames == frames == task.mode.window(calls) and samples.starts == T - frames + 1
    assert len(samples) == 4 * samples.starts
    number = 2 * samples.starts + samples.starts - 1
    read = samples.read(np.array([number, 0]))
    np.testing.assert_array_equal(read["w"][0], timed["w"][2, T - frames :])
    np.testing.assert_array_equal(read["w"][1], timed["w"][0, :frames])
    np.testing.assert_array_equal(read["k"], timed["k"][[2, 0]])
    with pytest.raises(ValueError, match=f"{T} instants are too few for {T} predictions in a row"):
        Samples.of(task, timed, T)


# Space-time -----------------------------------------------------------------------------------------------------------


def test_a_space_time_task_sees_and_predicts_a_stretch_of_instants(timed):
    task = sx.Task.fit(timed, ("k", "w"), ("w", "q"), mode=sx.SpaceTime(4, history=2))
    assert (task.in_channels, task.out_channels, task.signature.ndim) == (3, 3, 2)
    assert task.signature.domain.shape == (4, N) and task.mode.window() == 6
    sample = {name: jnp.asarray(values) for name, values in timed[0].items()}
    inputs = task.pack(sample)
    assert inputs.fields.shape == (4, N, 3) and inputs.query.points.shape == (4, N, 2)
    # The inputs are the same at every instant; time and space are scaled to [0, 1].
    np.testing.assert_array_equal(inputs.fields, np.broadcast_to(inputs.fields[:1], (4, N, 3)))
    np.testing.assert_allclose(inputs.fields[0, :, 1:], task.normalizers["w"].encode(timed["w"][0, :2]).T, rtol=1e-5)
    np.testing.assert_allclose(inputs.query.points[:, 0, 0], [0, 1 / 3, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(inputs.query.points[0, :, 1], np.linspace(0, 1, N), rtol=1e-6)
    wanted = task.wanted(sample)
    np.testing.assert_array_equal(wanted[..., 0], timed["w"][0, 2:6])
    np.testing.assert_array_equal(wanted[..., 1:], timed["q"][0, 2:6])
    frames = task.decode(task.encode_targets(wanted), sample)
    np.testing.assert_allclose(frames, wanted, rtol=1e-4, atol=1e-5)
    assert task.split(frames)["q"].shape == (4, N, 2)


def test_space_time_windows_start_anywhere_only_where_a_given_frame_tells_their_place(timed):
    """A static input says nothing about when a window starts: several windows would be contradictory labels of one input."""
    following = Samples.of(sx.Task.fit(timed, ("k", "w"), "w", mode=sx.SpaceTime(3, history=1)), timed)
    assert (following.frames, following.starts) == (4, T - 3)
    task = sx.Task.fit(timed, "k", "w", mode=sx.SpaceTime(4))
    samples = Samples.of(task, timed)
    assert (samples.frames, samples.starts) == (4, 1)
    sample = {name: jnp.asarray(values) for name, values in timed[0].items()}
    np.testing.assert_array_equal(task.wanted(sample)[..., 0], timed["w"][0, :4])
    with pytest.raises(ValueError, match="3 instants are too few"):
        task.check(sx.from_arrays({"k": timed["k"], "w": timed["w"][:, :3]}, grid=timed.grid, times=timed.times[:3]))


def test_single_points_of_space_and_time_are_asked_in_physical_units(timed):
    task = sx.Task.fit(timed, "k", "w", mode=sx.SpaceTime(4))
    sample = {"k": jnp.asarray(timed["k"][0])}
    inputs = task.pack_at(sample, jnp.asarray([[0.75, 0.5], [0.25, 1.0]]))
    np.testing.assert_allclose(inputs.query.points, [[1, 0.5], [1 / 3, 1]], rtol=1e-6)


def test_what_a_space_time_network_learns_is_found_at_its_instants(timed):
    """A network that puts out t and x as they are asked."""
    network = eqx.nn.Lambda(lambda x: x[..., :1])
    task = sx.Task.fit(timed, "k", "w", mode=sx.SpaceTime(4))
    model = sx.wrap(network, task, inputs=lambda inputs: inputs.query.points)
    predicted = model.predict(timed)["w"]
    assert predicted.shape == (4, 4, N)
    mean, std = (np.asarray(x) for x in (task.normalizers["w"].mean, task.normalizers["w"].std))
    np.testing.assert_allclose(predicted[0, :, 0], np.array([0, 1 / 3, 2 / 3, 1]) * std + mean, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="is not autoregressive"):
        model.rollout(timed, 2)


# All modes ------------------------------------------------------------------------------------------------------------

MODES = (
    sx.Steady(),
    sx.Autoregressive(),
    sx.Autoregressive(3, 2),
    sx.Autoregressive(increments=True),
    sx.SpaceTime(4),
    sx.SpaceTime(4, 1),
)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_fields_of_a_prediction_and_its_frames_are_inverse(mode: AbstractMode):
    frames = jnp.arange(2.0 * max(mode.ahead, 1) * 3).reshape(max(mode.ahead, 1), 3, 2)
    np.testing.assert_array_equal(mode.as_frames(mode.named(frames)), frames)
    assert mode.named(frames).ndim == (2 if mode.ahead <= 1 else 3)
    y = jax.random.normal(
        jax.random.key(0), (4, 3, mode.out_channels(2)) if mode.ahead == 4 else (3, mode.out_channels(2))
    )
    assert mode.frames_of(y).shape == (max(mode.ahead, 1), 3, 2)


def test_modes_are_static_and_can_be_saved(tmp_path):
    assert len({*MODES, *MODES}) == len(MODES)
    for one, other in itertools.combinations(MODES, 2):
        assert one != other and str(one) != str(other)
    storage.save(tmp_path / "f", {"modes": MODES})
    assert tuple(storage.load(tmp_path / "f")["modes"]) == MODES


def test_files_cannot_hold_a_mode_that_its_class_refuses(tmp_path):
    for mode, field, wrong in (
        (sx.Autoregressive(2), "history", -1),
        (sx.SpaceTime(3), "frames", "3"),
        (sx.SpaceTime(3), "frames", 1),
    ):
        object.__setattr__(mode, field, wrong)
        storage.save(tmp_path / "f", {"mode": mode})
        with pytest.raises(storage.StorageError, match=rf"f: \['mode'\] is no valid {type(mode).__name__}: .*{field}"):
            storage.load(tmp_path / "f")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: sx.Autoregressive(0), "history and horizon must be 1 or more"),
        (lambda data: sx.Autoregressive(1, 0), "history and horizon must be 1 or more"),
        (lambda data: sx.SpaceTime(1), "frames must be 2 or more"),
        (lambda data: sx.SpaceTime(2, -1), "history 0 or more"),
        (lambda data: sx.Task.fit(data, "k", "w"), r"fields \['w'\] have a time axis: pass mode=Autoregressive"),
        (
            lambda data: sx.Task.fit(data, "k", "w", mode=sx.Autoregressive()),
            r"targets \['w'\] must be timed fields and inputs as well",
        ),
        (
            lambda data: sx.Task.fit(data, ("w", "k"), ("w", "k"), mode=sx.Autoregressive()),
            r"targets \['k'\] must be timed fields",
        ),
        (lambda data: sx.Task.fit(data, "w", "k", mode=sx.SpaceTime(3)), r"targets \['k'\] have no time axis"),
        (
            lambda data: sx.Task.fit(data, "w", "q", mode=sx.SpaceTime(3)),
            r"inputs \['w'\] have a time axis; say how many of their frames are given: history=1",
        ),
        (
            lambda data: sx.Task.fit(data, "k", "q", mode=sx.SpaceTime(3, 1)),
            "no input has a time axis, so that history=1 means nothing",
        ),
    ],
)
def test_modes_that_do_not_suit_are_named(timed, make, message):
    with pytest.raises(ValueError, match=message):
        make(timed)
