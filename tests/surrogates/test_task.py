"""`Task`: roles, statistics of the training data alone, packing and its inverse, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.surrogates.rollout import unroll
from surrogax.surrogates.task.normalization import Moments

N, T = 5, 6
RNG = np.random.default_rng(0)


def numbers(*shape) -> np.ndarray:
    """Float32 with a mean and a spread that depend on the last axis."""
    return np.float32(RNG.normal(size=shape) * np.linspace(1, 3, shape[-1]) + np.linspace(-2, 5, shape[-1]))


@pytest.fixture(scope="module")
def steady() -> sx.Dataset:
    """Scalars a and u, vectors b and v, a number c and a vector of numbers d, on a grid with two different axes."""
    grid = sx.Grid(sx.Box(x=(1, 3), y=(0, 1, "periodic")), (N, 4), ("nodes", "periodic"))
    return sx.from_arrays(
        {"a": numbers(8, N, 4), "b": numbers(8, N, 4, 2)}, {"u": numbers(8, N, 4), "v": numbers(8, N, 4, 3)},
        parameters={"c": numbers(8), "d": numbers(8, 2)}, grid=grid,
    )  # fmt: skip


@pytest.fixture(scope="module")
def timed() -> sx.Dataset:
    """Trajectories of a scalar w and a vector q, a static field k and a number c."""
    return sx.from_arrays(
        {"w": numbers(7, T, N), "q": numbers(7, T, N, 2), "k": numbers(7, N)},
        parameters={"c": numbers(7)}, grid=sx.Grid.unit(N, 1), times=np.arange(T),
    )  # fmt: skip


@pytest.fixture(scope="module")
def clouds() -> sx.Dataset:
    points = [sx.PointCloud(np.float32(RNG.uniform(size=(n, 2)))) for n in (3, 5, 4)]
    cloud = sx.PointCloud.stack(points)
    padded = np.where(cloud.mask, numbers(3, 5), 1e6)
    return sx.from_arrays({"f": np.float32(padded)}, {"u": np.float32(2 * padded)}, points=cloud)


def channels(values, components: int) -> np.ndarray:
    return np.float64(values).reshape(-1, components)


# Statistics -----------------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_training_data_alone(steady):
    train, _ = steady.split(train=5, test=3)
    task = sx.Task.fit(train, ("a", "b", "c", "d"), ("u", "v"))
    for name, components in (("a", 1), ("b", 2), ("u", 1), ("v", 3), ("c", 1), ("d", 2)):
        rows = channels(train[name], components)
        np.testing.assert_allclose(task.normalizers[name].mean, rows.mean(0), rtol=1e-6)
        np.testing.assert_allclose(task.normalizers[name].std, rows.std(0), rtol=1e-6)
    np.testing.assert_allclose(task.means["v"], np.float64(train["v"]).mean(0), rtol=1e-6)
    assert not np.allclose(task.normalizers["u"].mean, np.float64(steady["u"]).mean(), rtol=1e-4)


def test_a_difference_has_statistics_of_its_own(timed):
    task = sx.Task.fit(timed, ("w", "q"), ("w", "q"), mode=sx.Autoregressive(2, increments=True))
    for name, components in (("w", 1), ("q", 2)):
        rows = channels(np.diff(np.float64(timed[name]), axis=1), components)
        np.testing.assert_allclose(task.normalizers[f"Δ{name}"].mean, rows.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(task.normalizers[f"Δ{name}"].std, rows.std(0), rtol=1e-5)
    assert task.means == {}


def test_padded_points_are_no_part_of_the_statistics(clouds):
    task = sx.Task.fit(clouds, "f", "u")
    real = np.float64(clouds["f"])[clouds["mask"]]
    np.testing.assert_allclose(task.normalizers["f"].mean, [real.mean()], rtol=1e-6)
    np.testing.assert_allclose(task.normalizers["f"].std, [real.std()], rtol=1e-6)
    moving = np.stack([clouds["f"], 2 * clouds["f"]], 1)
    over_time = sx.from_arrays({"w": moving}, points=clouds.clouds(), times=np.arange(2))
    task = sx.Task.fit(over_time, "w", "w", mode=sx.Autoregressive(1, increments=True))
    np.testing.assert_allclose(task.normalizers["w"].mean, [1.5 * real.mean()], rtol=1e-6)
    np.testing.assert_allclose(task.normalizers["Δw"].std, [real.std()], rtol=1e-6)


def test_a_constant_field_is_only_shifted(steady):
    data = sx.from_arrays({"a": np.full((3, N), 7.0)}, {"u": numbers(3, N)}, grid=sx.Grid.unit(N, 1))
    normalizer = sx.Task.fit(data, "a", "u").normalizers["a"]
    assert (float(normalizer.mean[0]), float(normalizer.std[0])) == (7.0, 1.0)


# Packing --------------------------------------------------------------------------------------------------------------


def test_packing_a_steady_sample_puts_channels_in_the_order_of_the_names(steady):
    task = sx.Task.fit(steady, ("d", "b", "a", "c"), "u")
    assert task.inputs == ("b", "a") and task.parameters == ("d", "c")
    assert (task.in_channels, task.in_params, task.out_channels, task.domain.ndim) == (3, 3, 1, 2)
    sample = steady[2]
    packed = task.pack(sample)
    decoded = np.asarray(packed.fields) * np.r_[task.normalizers["b"].std, task.normalizers["a"].std]
    decoded += np.r_[task.normalizers["b"].mean, task.normalizers["a"].mean]
    np.testing.assert_allclose(decoded, np.concatenate([sample["b"], sample["a"][..., None]], -1), rtol=1e-5, atol=1e-5)
    scaled = np.r_[sample["d"], sample["c"]] - np.r_[task.normalizers["d"].mean, task.normalizers["c"].mean]
    scaled /= np.r_[task.normalizers["d"].std, task.normalizers["c"].std]
    np.testing.assert_allclose(packed.params, scaled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(packed.query.points[:, 0], np.stack([np.linspace(0, 1, N), np.zeros(N)], -1), atol=1e-7)
    np.testing.assert_allclose(packed.query.points[0, :, 1], np.arange(4) / 4, atol=1e-7)
    assert packed.mask is None


def test_history_frames_stand_one_after_the_other_oldest_first(timed):
    task = sx.Task.fit(timed, ("k", "q", "w"), "w", mode=sx.Autoregressive(3))
    assert task.in_channels == 1 + 3 * 2 + 3
    sample = timed[0]
    packed = np.asarray(task.pack(sample).fields)

    def normal(name, value):
        return (value - np.asarray(task.normalizers[name].mean)) / np.asarray(task.normalizers[name].std)

    expected = [normal("k", sample["k"][:, None])]
    expected += [normal("q", sample["q"][t]) for t in range(3)]
    expected += [normal("w", sample["w"][t][:, None]) for t in range(3)]
    np.testing.assert_allclose(packed, np.concatenate(expected, -1), rtol=1e-5, atol=1e-5)
    again = task.pack({k: v[:3] if k in ("w", "q") else v for k, v in sample.items()})
    np.testing.assert_array_equal(again.fields, packed, err_msg="frames after the history are not seen")


@pytest.mark.parametrize("targets", ["u", ("v", "u")])
def test_unpacking_is_the_inverse_of_packing_a_steady_target(steady, targets):
    task = sx.Task.fit(steady, ("a", "c"), targets)
    sample = steady[1]
    stacked = task.wanted(sample)
    names = (targets,) if isinstance(targets, str) else targets
    parts = [sample[n] if sample[n].ndim == 3 else sample[n][..., None] for n in names]
    np.testing.assert_array_equal(stacked[0], np.concatenate(parts, -1))
    named = task.split(task.decode(task.encode_targets(stacked)[0], sample))
    assert tuple(named) == names
    for name in names:
        assert named[name].shape == sample[name].shape
        np.testing.assert_allclose(named[name], sample[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(task.join({n: sample[n] for n in names}), stacked)


@pytest.mark.parametrize("predict", ["value", "delta"])
def test_unpacking_gives_the_next_frame(timed, predict):
    task = sx.Task.fit(timed, ("w", "q"), ("q", "w"), mode=sx.Autoregressive(2, increments=predict == "delta"))
    sample = timed[3]
    np.testing.assert_array_equal(task.wanted(sample)[0], np.concatenate([sample["q"][2], sample["w"][2][:, None]], -1))
    wanted = {name: sample[name][2] - (sample[name][1] if predict == "delta" else 0) for name in ("q", "w")}
    label = "Δ" if predict == "delta" else ""
    parts = [task.normalizers[label + n].encode(wanted[n] if n == "q" else wanted[n][:, None]) for n in ("q", "w")]
    named = task.split(task.decode(jnp.concatenate(parts, -1), sample))
    for name in ("q", "w"):
        np.testing.assert_allclose(named[name], sample[name][2], rtol=1e-5, atol=2e-5)


def test_unrolling_feeds_predictions_back_and_moves_forcings_on(timed):
    """Predictions of a known recurrence: w ← 2 w_last + w_before, seen beside a forcing and static inputs."""
    task = sx.Task.fit(timed, ("k", "w", "q", "c"), "w", mode=sx.Autoregressive(2))
    batch = jax.tree.map(jnp.asarray, timed.read(["k", "w", "q", "c"]))
    seen = []

    def predict(carry, fields, call):
        jax.debug.callback(lambda q: seen.append(np.asarray(q)), fields["q"], ordered=True)
        new = (
            2 * fields["w"][:, 1] + fields["w"][:, 0] + fields["q"][:, -1].sum(-1) + fields["k"] + fields["c"][:, None]
        )
        return carry + 1, new[:, None, :, None]

    calls, frames = jax.jit(lambda b: unroll(predict, task, b, 3, jnp.asarray(0)))(batch)
    w, expected = [batch["w"][:, 0], batch["w"][:, 1]], []
    for call in range(3):
        forcing = batch["q"][:, call + 1].sum(-1) + batch["k"] + batch["c"][:, None]
        w.append(2 * w[-1] + w[-2] + forcing)
        expected.append(w[-1])
    np.testing.assert_allclose(frames[:, :, 0, :, 0], jnp.stack(expected), rtol=1e-5)
    assert calls == 3
    jax.effects_barrier()
    for call, window in enumerate(seen):
        np.testing.assert_array_equal(window, batch["q"][:, call : call + 2])
    with pytest.raises(ValueError, match=r"5 predictions in a row need 6 frames of the inputs \['q'\].*there are 4"):
        unroll(predict, task, {k: v[:, :4] if k in "wq" else v for k, v in batch.items()}, 5, 0)


def test_a_sample_at_another_resolution_brings_its_own_grid(steady):
    task = sx.Task.fit(steady, "a", "u")
    fine = {"a": numbers(9, 8)}
    assert task.domain_of(fine).shape == (9, 8) and task.domain_of(fine).box == task.domain.box
    assert task.pack(fine).query.points.shape == (9, 8, 2)
    np.testing.assert_allclose(task.weights(fine).sum(), 2.0, rtol=1e-6)


def test_a_point_cloud_is_packed_with_its_points_and_mask(clouds):
    task = sx.Task.fit(clouds, "f", "u")
    assert task.domain.arrays == ("points", "weights", "mask") and task.names() == (
        "f",
        "u",
        "points",
        "weights",
        "mask",
    )
    sample = clouds[0]
    packed = task.pack(sample)
    assert packed.fields.shape == (5, 1) and packed.mask.tolist() == [True] * 3 + [False] * 2
    real = np.asarray(clouds["points"])[np.asarray(clouds["mask"])]
    scaled = (sample["points"] - real.min(0)) / np.ptp(real, axis=0).max()
    np.testing.assert_allclose(packed.query.points, scaled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(task.weights(sample), [1 / 3, 1 / 3, 1 / 3, 0, 0], rtol=1e-6)
    named = task.split(task.decode(task.encode_targets(task.wanted(sample))[0], sample))
    np.testing.assert_allclose(named["u"][:3], sample["u"][:3], rtol=1e-5, atol=1e-5)


def test_packing_works_under_vmap_and_jit(steady):
    task = sx.Task.fit(steady, ("a", "c"), "u")
    batch = steady.read(["a", "c"])
    packed = jax.jit(jax.vmap(task.pack))(batch)
    np.testing.assert_allclose(packed.fields[3], task.pack({k: v[3] for k, v in batch.items()}).fields, rtol=1e-6)


def test_everything_is_meant_by_a_star(timed, steady):
    task = sx.Task.fit(timed, "*", ("w", "q"), mode=sx.Autoregressive(1))
    assert task.inputs == ("w", "q", "k") and task.parameters == ("c",)
    assert repr(task).startswith("Task(w, q, k, c → w, q; autoregressive, history 1, predicts values; Grid(")
    problem = sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box.unit(1))
    assert repr(sx.Task.of(problem, 5)).startswith("Task(f → u; steady; Grid(x∈[0, 1] 5 nodes")


# What it refuses ------------------------------------------------------------------------------------------------------


def test_roles_that_do_not_fit_are_named(steady, timed):
    one = sx.Autoregressive(1)
    for data, arguments, error, message in (
        (steady, dict(inputs="z", targets="u"), KeyError, "no field 'z' in this dataset; it has"),
        (steady, dict(inputs="a"), ValueError, "needs targets; this dataset has"),
        (steady, dict(inputs="a", targets="c"), ValueError, "target 'c' is a parameter; only fields"),
        (
            steady,
            dict(inputs="a", targets="u", mode=one),
            ValueError,
            "targets .'u'. must be timed fields and inputs",
        ),
        (timed, dict(inputs="k", targets="w"), ValueError, "fields .'w'. have a time axis: pass mode=Autoregressive"),
        (
            timed,
            dict(inputs="k", targets="w", mode=one),
            ValueError,
            "targets .'w'. must be timed fields and inputs",
        ),
        (
            timed,
            dict(inputs=("w", "k"), targets="k", mode=one),
            ValueError,
            "targets .'k'. must be timed fields",
        ),
    ):
        with pytest.raises(error, match=message):
            sx.Task.fit(data, **arguments)


def test_values_that_are_not_finite_are_named_by_sample(steady):
    a = np.array(steady["a"])
    a[[2, 5], 1, 1] = np.nan
    broken = sx.from_arrays({"a": a}, {"u": steady["u"]}, grid=steady.grid)
    with pytest.raises(ValueError, match=r"field 'a' holds NaN or infinity in 2 of \d+ samples, at positions \[2, 5\]"):
        sx.Task.fit(broken, "a", "u")


def test_a_dataset_of_another_form_is_refused(steady, timed, clouds):
    task = sx.Task.fit(steady, "a", "u")
    a, u = steady["a"], steady["u"]
    other_box = sx.Grid(sx.Box(x=(0, 1), y=(0, 1, "periodic")), (N, 4), ("nodes", "periodic"))
    for data, error, message in (
        (sx.from_arrays({"a": a}, grid=steady.grid), KeyError, "no field 'u'"),
        (sx.from_arrays({"a": a}, {"u": steady["v"]}, grid=steady.grid), ValueError, "field 'u' of the dataset is"),
        (sx.from_arrays({"a": a}, {"u": u}, grid=other_box), ValueError, "the task was fitted on Grid"),
        (
            sx.from_arrays({"a": clouds["f"]}, {"u": clouds["u"]}, points=clouds.clouds()),
            ValueError,
            "the task was fitted on Grid.*, the dataset lives on point clouds in 2D",
        ),
    ):
        with pytest.raises(error, match=message):
            task.check(data)
    rolling = sx.Task.fit(timed, "w", "w", mode=sx.Autoregressive(3))
    short = sx.from_arrays({"w": timed["w"][:, :3]}, grid=timed.grid, times=np.arange(3))
    with pytest.raises(ValueError, match=r"3 instants are too few: Autoregressive\(history=3.* needs 4"):
        rolling.check(short)


def test_a_network_output_with_the_wrong_number_of_channels_is_refused(steady):
    task = sx.Task.fit(steady, "a", ("u", "v"))
    with pytest.raises(ValueError, match=r"returned shape \(5, 4, 3\), expected \(\*space, 4\)"):
        task.decode(jnp.zeros((N, 4, 3)), steady[0])


@pytest.mark.parametrize("components", [0, 2])
def test_moments_of_blocks_are_those_of_the_whole(components):
    rng = np.random.default_rng(0)
    values = (1e3 + rng.normal(size=(11, 5, *(components,) * (components > 0)))).astype(np.float32)
    valid = rng.uniform(size=(11, 5)) < 0.7
    moments = Moments(components)
    for start, stop in ((0, 4), (4, 4), (4, 5), (5, 11)):
        moments.add(values[start:stop], valid[start:stop])
    expected = values[valid].astype(np.float64).reshape(-1, max(components, 1))
    found = moments.normalizer()
    np.testing.assert_allclose(found.mean + moments.origin, expected.mean(0), rtol=1e-7)
    np.testing.assert_allclose(found.std, expected.std(0), rtol=1e-6)


def test_blocks_of_a_dataset_hold_every_sample_once():
    data = sx.from_arrays({"a": np.arange(14.0).reshape(7, 2)}, grid=sx.Grid.unit(2, 1, "periodic"))
    found = list(data.blocks(["a"], nbytes=3 * 2 * 8))
    assert [positions.tolist() for positions, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(np.concatenate([block["a"] for _, block in found]), data["a"])
