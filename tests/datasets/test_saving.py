"""`Dataset.save`, then `open`: the same values, bit for bit, on every domain; damaged files give one sentence."""

import json
import pickle

import h5py
import jax
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid, Mesh, PointCloud
from surrogax.core.files import StorageError
from surrogax.datasets import Dataset, from_arrays
from surrogax.datasets.formats.arrays_hdf5 import ArraysSource
from surrogax.datasets.formats.well import WellSource
from surrogax.datasets.opening import open_dataset

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.random(6))
GRID = Box(x=(0, 0.1), y=(-1e-30, 2e-30, "neumann")).grid((5, 4))


def cloud(n, seed=0):
    return PointCloud(np.random.default_rng(seed).random((n, 2), np.float32))


def single(*shape):
    return RNG.random(shape, np.float32)


def datasets() -> dict[str, Dataset]:
    """Datasets on every kind of domain, in float32, float64 and float16, steady and in time."""
    clouds = PointCloud.stack([cloud(n, n) for n in (3, 7, 5)])
    meshes = Mesh.stack([Mesh(single(n, 3), RNG.integers(0, n, (2 * n, 2)), single(n)) for n in (3, 7, 5)])
    grid = {"w": single(3, 6, 5, 4), "v": RNG.random((3, 6, 5, 4, 2)), "a": np.float16(RNG.random((3, 5, 4)))}
    numbers = {"nu": RNG.random(3), "k": single(3, 4)}
    return {
        "grid": from_arrays(grid, grid=GRID, parameters=numbers, times=TIMES),
        "steady grid": from_arrays({"u": RNG.random((3, 9))}, grid=Grid.unit(9, 1, "periodic")),
        "clouds": from_arrays({"u": single(3, 6, 7), "q": RNG.random((3, 7, 3))}, points=clouds, times=TIMES, parameters=numbers),
        "one cloud": from_arrays({"u": single(3, 4)}, points=cloud(4)),
        "meshes": from_arrays({"u": RNG.random((3, 7))}, points=meshes, parameters=numbers),
        "elsewhere": from_arrays(
            {"w": single(3, 6, 5, 4), "s": RNG.random((3, 6, 4)), "p": single(3, 9)},
            grid=GRID, times=np.float32(TIMES), elsewhere={"s": cloud(4), "p": Grid.unit_interval(9, "cells")},
        ),
        "no samples": from_arrays({"u": single(0, 9)}, grid=Grid.unit_interval(9)),
        "parameters": from_arrays(parameters=numbers, grid=Grid.unit_interval(9)),
    }  # fmt: skip


DATASETS = datasets()


def assert_same(one: Dataset, other: Dataset):
    assert dict(one.fields) == dict(other.fields) and dict(one.domains) == dict(other.domains)
    assert (one.times is None) == (other.times is None) and one.ids.tolist() == other.ids.tolist()
    if one.times is not None:
        np.testing.assert_array_equal(one.times, other.times, strict=True)
    for name in one.fields:
        np.testing.assert_array_equal(one[name], other[name], strict=True)


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_saved_is_opened(tmp_path, name):
    data = DATASETS[name]
    data.save(tmp_path / "x.hdf5")
    assert_same(data, open_dataset(tmp_path / "x.hdf5"))
    assert [file.name for file in tmp_path.iterdir()] == ["x.hdf5"]


@pytest.mark.parametrize("name", ["grid", "clouds", "meshes", "elsewhere"])
def test_views_of_an_opened_file_are_those_of_the_data(tmp_path, name):
    data = DATASETS[name]
    data.save(tmp_path / "x.hdf5")
    opened = open_dataset(tmp_path / "x.hdf5")

    def views(whole):
        found = [whole.select([2, 0, 0]), whole[1:], whole.split(a=1, b=2, key=jax.random.key(1))[1]]
        if whole.times is not None:
            found += [whole.subsample(time=2), whole.frame(-2)]
        if not whole.domain.arrays:
            found += [whole.subsample((2, 1))]
        return found

    for one, other in zip(views(data), views(opened), strict=True):
        assert_same(one, other)
    # A view of a view, saved again.
    views(opened)[0].save(tmp_path / "y.hdf5")
    again = open_dataset(tmp_path / "y.hdf5")
    assert_same(views(data)[0], again)
    assert again.ids.tolist() == [2, 0, 0]


def test_a_grid_is_written_in_the_layout_of_the_well_and_points_are_not(tmp_path):
    for name, kind in (("grid", WellSource), ("one cloud", ArraysSource)):
        DATASETS[name].save(tmp_path / name)
        source = open_dataset(tmp_path / name).source
        assert type(source) is kind and type(pickle.loads(pickle.dumps(source))) is kind
        name, values = DATASETS[name].read(positions=[1]).popitem()
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(name, np.array([1])), values)
    with h5py.File(tmp_path / "one cloud") as file:
        assert file["arrays/points"].shape == (1, 4, 2), "points that all samples share are stored once"


@pytest.mark.nightly
def test_many_ids_and_attributes_are_kept(tmp_path):
    many = from_arrays({"u": single(30_000, 1, 2)[:, 0]}, grid=Grid.unit_interval(2))
    shuffled = many.split(all=30_000, key=jax.random.key(0))[0]
    shuffled.save(tmp_path / "x.hdf5")
    assert open_dataset(tmp_path / "x.hdf5").ids.tolist() == shuffled.ids.tolist()
    DATASETS["grid"].frame(1).save(tmp_path / "y.hdf5")
    assert open_dataset(tmp_path / "y.hdf5").attributes == {"time": TIMES[1]}


def damaged(path, change):
    DATASETS["meshes"].save(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _entry(**changes):
    def change(file):
        entry = json.loads(file.attrs["surrogax_dataset"])
        file.attrs["surrogax_dataset"] = json.dumps({**entry, **changes})

    return change


def _text(old, new):
    def change(file):
        assert old in file.attrs["surrogax_dataset"]
        file.attrs["surrogax_dataset"] = file.attrs["surrogax_dataset"].replace(old, new)

    return change


def _values(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_entry(version=7), "has version 7, this surrogax reads 1"),
        (_entry(samples=4), r"arrays/u is float64\[3, 7\], expected float64\[4, 7\]"),
        (_entry(samples=10**9), r"arrays/u|cannot hold"),
        (_entry(samples=-1), "which a file of"),
        (_entry(domains=3), "its domains are 3, expected a main domain"),
        (_entry(domains={"dict": {}}), r"its domains are \{\}, expected a main domain"),
        (_text('"capacity": 7', '"capacity": 9'), r"arrays/u is float64\[3, 7\], expected float64\[3, 9\]"),
        (_text('"capacity": 7', '"capacity": "seven"'), "MeshLayout: capacity is 'seven', expected a whole number"),
        (_text('"MeshLayout"', '"os.system"'), "unknown tag 'os.system'"),
        (_text('"role": "parameter"', '"role": "nothing"'), "FieldSpec: role is 'nothing'"),
        (_values("arrays/u", np.zeros((3, 7), np.float32)), r"arrays/u is float32\[3, 7\], expected float64"),
        (_values("arrays/nu", np.zeros(2)), r"arrays/nu is float64\[2\], expected float64\[3\]"),
        (_values("arrays/weights", np.zeros((3, 6), np.float32)), "the points of '' have the shapes|'weights'"),
        (lambda f: f.__delitem__("arrays/mask"), "there is no 'arrays/mask'"),
        (_values("arrays/k", h5py.ExternalLink("/etc/passwd", "k")), "arrays/k is a link to k"),
        (lambda f: f.attrs.__setitem__("surrogax_dataset", "no json"), "line 1"),
    ],
)
def test_damaged_files(tmp_path, change, message):
    start = r"x\.hdf5: is not in the layout of surrogax's datasets, or damaged: "
    with pytest.raises(StorageError, match=rf"{start}(?s:.*)({message})"):
        open_dataset(damaged(tmp_path / "x.hdf5", change))


def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.hdf5"
    DATASETS["clouds"].save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'a/b' is no name that HDF5 can hold"):
        from_arrays({"a/b": single(3, 4)}, points=cloud(4)).save(path)
    with pytest.raises(ValueError, match="'a/b' is used twice or contains '/'"):
        from_arrays({"a/b": single(3, 9)}, grid=Grid.unit_interval(9)).save(path)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        DATASETS["clouds"].save(tmp_path / "nowhere" / "x.hdf5")


def test_options_that_a_format_does_not_have_are_named(tmp_path):
    for name, form in (("grid", "The Well's HDF5"), ("clouds", "surrogax's HDF5 of points")):
        DATASETS[name].save(tmp_path / name)
        with pytest.raises(TypeError, match=rf"is of the format {form}, which takes no options, got \['grid'\]"):
            open_dataset(tmp_path / name, grid=GRID)


def test_the_layout_of_the_well_holds_one_domain(tmp_path):
    from surrogax.datasets.formats.well_writer import write_well

    with pytest.raises(
        ValueError, match=r"holds one grid, these data have the domains \['p', 's'\] besides; use Dataset\.save"
    ):
        write_well(tmp_path / "x.hdf5", DATASETS["elsewhere"], name="x")
