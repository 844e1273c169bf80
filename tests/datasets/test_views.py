"""Views: restriction to trajectories, selection by parameter, concatenation, coarser grids by their frequencies."""

import jax
import numpy as np
import pytest

import surrogax as sx
from surrogax.datasets.concatenation import concat
from surrogax.datasets.spectral_restriction import restriction_matrix

RNG = np.random.default_rng(0)
GRID = sx.Box(x=(0, 2, "periodic"), y=(0, 1, "neumann")).grid((12, 10))
TIMES = np.arange(4.0)


def made(n=6, nu=(0.1, 0.2, 0.3), seed=0):
    rng = np.random.default_rng(seed)
    fields = {"u": rng.standard_normal((n, 4, 12, 10)), "v": rng.standard_normal((n, 12, 10, 2)).astype(np.float32)}
    return sx.from_arrays(fields, grid=GRID, times=TIMES, parameters={"nu": np.resize(nu, n), "k": rng.random((n, 2))})


def test_restriction_keeps_whole_trajectories():
    """the_well#72: k trajectories are k distinct ones, with all of their windows."""
    data = made()
    assert data.restrict(2).ids.tolist() == [0, 1] and data.restrict(trajectories=6).ids.tolist() == list(range(6))
    chosen = data.restrict(3, jax.random.key(1))
    assert len(set(chosen.ids.tolist())) == 3
    np.testing.assert_array_equal(chosen["u"], data["u"][chosen.ids])
    for wrong in (0, 7):
        with pytest.raises(ValueError, match=rf"restrict\(trajectories={wrong}\): the dataset has 6"):
            data.restrict(wrong)


def test_samples_are_chosen_by_their_parameters():
    data = made()
    assert data.where(nu=0.2).ids.tolist() == [1, 4] and data.where(nu=(0.15, 0.3)).ids.tolist() == [1, 2, 4, 5]
    assert data.where(nu=0.1 + 1e-9).ids.tolist() == [0, 3]  # as float32 would store it
    first = data["k"][:, 0] > 0.5
    assert (
        data.where(nu=(0.1, 0.2), k=lambda k: k[:, 0] > 0.5).ids.tolist()
        == np.flatnonzero(first & (data["nu"] < 0.25)).tolist()
    )
    assert data.select([5, 4, 1]).where(nu=0.2).ids.tolist() == [4, 1]
    for conditions, error, message in (
        ({"nu": 0.7}, ValueError, "no sample meets the conditions; nu: it is 0.1, 0.2, 0.3"),
        ({"u": 1.0}, ValueError, "u is a field, expected a parameter"),
        ({"mu": 1.0}, KeyError, "no field 'mu'"),
        ({"k": 0.5}, ValueError, "k has 2 components; pass a function"),
        ({"nu": "0.1"}, TypeError, "expected a number, a pair"),
        ({"nu": lambda nu: nu}, ValueError, "expected a boolean per sample"),
    ):
        with pytest.raises(error, match=message):
            data.where(**conditions)


def test_concatenated_views():
    one, other = made(), made(4, (0.5,), seed=1)
    data = concat([one.select([3, 1]), other])
    assert len(data) == 6 and data.ids.tolist() == list(range(6))  # 1 and 3 were there twice
    np.testing.assert_array_equal(data["u"], np.concatenate([one["u"][[3, 1]], other["u"]]))
    np.testing.assert_array_equal(data.read("u", [5, 0], frames=range(1, 4, 2))["u"][0], other["u"][3, 1::2])
    assert concat([one.select([3, 1]), one.select([0])]).ids.tolist() == [3, 1, 0]
    coarse = concat([one.subsample((2, 1), 2), other.subsample((2, 1), 2)])
    assert coarse["u"].shape == (10, 2, 6, 10) and coarse.times.tolist() == [0, 2]
    assert coarse.where(nu=0.5)["v"].shape == (4, 6, 10, 2)
    for wrong, message in (
        ([one, one.subsample((2, 1))], r"dataset 1 has other domains than the first: ''"),
        ([one, one.subsample(1, 2)], "other instants"),
        ([one, sx.from_arrays({"u": one["u"]}, grid=GRID, times=TIMES)], "other fields than the first: 'v' is None"),
        ([], "one or more datasets"),
    ):
        with pytest.raises(ValueError, match=message):
            concat(wrong)


@pytest.mark.parametrize(
    ("layout", "n", "m"),
    [("periodic", 12, 6), ("periodic", 12, 5), ("periodic", 9, 4), ("cells", 10, 4), ("cells", 9, 9)],
)
def test_frequencies_that_the_coarse_grid_can_hold_are_exact(layout, n, m):
    """All of them keep their values at the coarse points; all others vanish."""
    matrix = restriction_matrix(n, m, layout)

    def waves(points, k):
        if layout == "cells":
            return np.cos(np.pi * k * (np.arange(points) + 0.5) / points)
        return np.cos(2 * np.pi * k * np.arange(points) / points + 0.3)

    for k in range(n if layout == "cells" else (n + 1) // 2):
        held = k < m if layout == "cells" else k < m / 2
        if layout == "periodic" and 2 * k == m:  # the last frequency keeps its cosine
            expected = np.cos(0.3) * np.cos(np.pi * np.arange(m))
        else:
            expected = waves(m, k) if held else np.zeros(m)
        np.testing.assert_allclose(matrix @ waves(n, k), expected, atol=1e-12)


def test_a_coarser_view_of_files_and_arrays(tmp_path):
    data = made()
    data.save(tmp_path / "data.hdf5")
    coarse = sx.open(tmp_path / "data.hdf5").coarsen((6, 5))
    assert coarse.grid == sx.Box(x=(0, 2, "periodic"), y=(0, 1, "neumann")).grid((6, 5))
    x, y = restriction_matrix(12, 6, "periodic"), restriction_matrix(10, 5, "cells")
    np.testing.assert_allclose(coarse["u"], np.einsum("ax,by,ntxy->ntab", x, y, data["u"]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(coarse["v"], np.einsum("ax,by,nxyc->nabc", x, y, data["v"]), rtol=1e-5, atol=1e-6)
    assert coarse["v"].dtype == np.float32 and coarse["nu"].tolist() == data["nu"].tolist()
    np.testing.assert_allclose(coarse["u"].mean(), data["u"].mean(), atol=1e-14)  # the mean is the first frequency
    chosen = coarse.select([4]).subsample((2, 1), 2)
    np.testing.assert_array_equal(chosen["u"], coarse["u"][[4], ::2, ::2])
    assert data.subsample((2, 1)).coarsen((3, 5))["u"].shape == (6, 4, 3, 5)
    for shape, message in (((13, 10), r"expected 1 to \(12, 10\) points"), ((6, 5, 4), "expected 1 to")):
        with pytest.raises(ValueError, match=message):
            data.coarsen(shape)
    nodes = sx.from_arrays({"u": np.ones((2, 9))}, grid=sx.Grid.unit(9))
    with pytest.raises(ValueError, match="subsample nodes by a stride"):
        nodes.coarsen(5)


def test_a_split_is_found_again_by_its_ids(tmp_path):
    data = made()
    train, val = data.split(train=4, val=2, key=jax.random.key(0))
    data.save(tmp_path / "a.hdf5")
    again = sx.open(tmp_path / "a.hdf5").by_ids(train.ids.tolist())
    assert again.ids.tolist() == train.ids.tolist() and not set(again.ids.tolist()) & set(val.ids.tolist())
    np.testing.assert_array_equal(again["u"], train["u"])
    assert len(data.by_ids([])) == 0
    with pytest.raises(KeyError, match=r"no samples with the ids \[6, 9\]"):
        data.by_ids([1, 9, 6])
    with pytest.raises(TypeError, match="expected whole numbers"):
        data.by_ids([0.5])
    with pytest.raises(ValueError, match="equal ids"):
        data.select([1, 1]).by_ids([1])


@pytest.mark.parametrize("moving", [True, False], ids=["moves", "stands still"])
def test_a_mask_may_change_in_time(tmp_path, moving):
    rng = np.random.default_rng(0)
    wall = (rng.random((6, 4, 12, 10) if moving else (6, 12, 10)) > 0.3).astype(np.float32)
    data = made()
    arrays = {"u": data["u"].copy(), "v": data["v"].copy(), "fluid": wall}
    frames = wall if moving else np.broadcast_to(wall[:, None], (6, 4, 12, 10))
    arrays["u"][frames == 0] = np.nan
    arrays["v"][(frames == 0).any(1)] = np.inf
    data = sx.from_arrays(arrays, grid=GRID, times=TIMES)
    data.save(tmp_path / "a.hdf5")
    for each in (data, sx.open(tmp_path / "a.hdf5")):
        seen = each.masked("fluid")
        expected = np.where(frames == 0, 0, np.nan_to_num(arrays["u"]))
        np.testing.assert_array_equal(seen["u"], expected)
        assert np.isfinite(seen["v"]).all() and (seen["v"][(frames == 0).any(1)] == 0).all()
        np.testing.assert_array_equal(
            seen.windows("u", [3, 0], [2, 1], 2), np.stack([expected[3, 2:4], expected[0, 1:3]])
        )
        part = seen.select([4, 1]).subsample((2, 1), 2)
        np.testing.assert_array_equal(part["u"], expected[[4, 1], ::2, ::2])
        np.testing.assert_array_equal(part["v"], seen["v"][[4, 1], ::2])
        task = sx.Task.fit(seen, ("u", "fluid") if moving else "u", "u", mode=sx.Autoregressive())
        assert all(np.isfinite(values).all() for values in seen.read(list(task.names())).values())
    with pytest.raises(ValueError, match="expected a field with one number per point"):
        data.masked("v")


def test_moving_pictures(tmp_path):
    from PIL import Image

    data = made()
    path = data.animate(tmp_path / "u.gif", "u", beside=data.subsample((2, 1)), n=1)
    with Image.open(path) as picture:
        assert picture.n_frames == 4
        first = np.asarray(picture.convert("L"), float)
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("L"), float) - first).mean() > 1
    for arguments, options, message in (
        (("u.png", "u"), {}, r"must end in \.gif or \.mp4"),
        (("u.gif", "v"), {}, "'v' is no field that varies in time"),
        (("u.gif",), {"beside": data.frame(0)}, "needs 2 samples with instants"),
        (("u.gif",), {"beside": data.subsample(1, 2)}, "has no frame at t = 1"),
    ):
        with pytest.raises(ValueError, match=message):
            data.animate(tmp_path / arguments[0], *arguments[1:], **options)
