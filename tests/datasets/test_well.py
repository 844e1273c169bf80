"""The Well's layout: what is written is read back, as its specification says, lazily, and damage gives one sentence."""

import multiprocessing
import pickle
import resource
import threading
from contextlib import contextmanager
from dataclasses import replace

import h5py
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid, PointCloudLayout
from surrogax.core.files import StorageError
from surrogax.datasets.concatenation import ConcatSource
from surrogax.datasets.dataset import Dataset
from surrogax.datasets.formats.well import WellSource
from surrogax.datasets.formats.well_writer import write_well
from surrogax.datasets.opening import open_dataset, open_splits
from surrogax.datasets.source import FieldSpec, MemorySource, Source

RNG = np.random.default_rng(0)


def memory(grid, times=None, attributes=None, **fields):
    arrays = {name: values for name, (values, _) in fields.items()}
    specs = {name: replace(spec, dtype=str(arrays[name].dtype)) for name, (_, spec) in fields.items()}
    return MemorySource(arrays, specs, {"": grid}, times, attributes or {})


def steady():
    a, u = RNG.random((11, 5, 6), np.float32), RNG.random((11, 5, 6))
    grid = Box(x=(0, 1), y=(-1, 2, "neumann")).grid((5, 6))
    return memory(grid, attributes={"pde": "darcy", "seed": [1, None]}, a=(a, FieldSpec()), u=(u, FieldSpec()))


def trajectories():
    return memory(
        Box(x=(0, 2 * np.pi, "periodic")).grid(8),
        np.linspace(0, 0.7, 7),
        v=(RNG.random((9, 7, 8, 1), np.float32), FieldSpec(components=(1,), time=True)),
        q=(RNG.random((9, 7, 8, 3), np.float32), FieldSpec(components=(3,), time=True)),
        forcing=(RNG.random((9, 8), np.float32), FieldSpec()),
        wall=(RNG.random((9, 8)) > 0.5, FieldSpec()),
        nu=(RNG.random(9), FieldSpec("parameter")),
        angles=(RNG.random((9, 2)), FieldSpec("parameter", (2,))),
        inflow=(RNG.random((9, 7)), FieldSpec("parameter", time=True)),
    )


def space():
    grid = Box(x=(0, 1), y=(0, 1, "periodic"), z=(0, 3, "neumann")).grid((3, 4, 5))
    return memory(grid, w=(RNG.random((4, 3, 4, 5, 3), np.float32), FieldSpec(components=(3,))))


SOURCES = {"steady": steady(), "trajectories": trajectories(), "space": space()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.hdf5"


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_round_trip(path, name, chunk):
    source = SOURCES[name]
    write_well(path, source, name="toy", chunk=chunk)
    back = WellSource(path)
    assert isinstance(back, Source) and len(back) == len(source)
    assert dict(back.fields) == source.fields and list(back.fields) == list(source.fields)
    assert back.domains[""] == source.domains[""] and back.attributes == source.attributes
    if source.times is None:
        assert back.times is None
    else:
        np.testing.assert_array_equal(back.times, source.times, strict=True)
    for field, values in source.arrays.items():
        np.testing.assert_array_equal(back.read(field, np.arange(len(source))), values, strict=True)


@pytest.mark.parametrize(
    "indices", [[3], [0, 1, 2], [5, 1, 1, 7, 0, 5], [-1, 2], [], [0, 2, 4, 6, 8]], ids=lambda indices: str(indices)
)
@pytest.mark.parametrize(
    "window",
    [
        (),
        (slice(2, 3),),
        (slice(1, 6, 2), slice(None, None, 4)),
        (slice(None), slice(3, 4)),
        (slice(5, None, -2), slice(-3, None)),
        (slice(4, 2),),
        (slice(None), slice(None), slice(1, None)),
    ],
    ids=str,
)
def test_windows_and_indices(path, indices, window):
    source, indices = SOURCES["trajectories"], np.array(indices, int)
    write_well(path, source, name="toy")
    back = WellSource(path)
    for field, values in source.arrays.items():
        if len(window) < values.ndim:
            read = back.read(field, indices, window)
            np.testing.assert_array_equal(read, source.read(field, indices, window), strict=True)
            assert read.flags.writeable
        else:
            with pytest.raises(IndexError, match=f"'{field}' has {values.ndim - 1} axes"):
                back.read(field, indices, window)


def test_only_the_window_is_read(path, monkeypatch):
    write_well(path, SOURCES["trajectories"], name="toy")
    back, read = WellSource(path), []
    getitem = h5py.Dataset.__getitem__

    def counting(data, key, *rest):
        values = getitem(data, key, *rest)
        read.append(np.size(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    back.read("v", np.array([6, 2, 3, 2]), (slice(4, 5), slice(0, 8, 4)))
    assert sum(read) == 3 * 1 * 2 and len(read) == 2  # samples 2, 3 and 6; two runs of neighbours


def test_a_view_is_written_as_it_is_seen(path):
    source = SOURCES["trajectories"]
    fields = {name: spec for name, spec in source.fields.items() if not (spec.time and spec.role == "parameter")}
    dataset = Dataset.of(replace(source, fields=fields)).select([7, 2, 4]).subsample(space=2, time=3)
    write_well(path, dataset, name="toy")
    back = Dataset.of(WellSource(path))
    assert back.grid == dataset.grid and back.ids.tolist() == [7, 2, 4]
    np.testing.assert_array_equal(back.times, dataset.times)
    for field in dataset.fields:
        np.testing.assert_array_equal(back[field], dataset[field], strict=True)


# The layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_the_file_obeys_the_specification(path, name):
    """What scripts/check_thewell_formatting.py of the_well (2026-06) asks of a file."""
    source = SOURCES[name]
    write_well(path, source, name="toy")
    with h5py.File(path) as file:
        assert file.attrs["dataset_name"] == "toy" and file.attrs["grid_type"] == "cartesian"
        assert file.attrs["n_spatial_dims"] == source.domains[""].ndim and file.attrs["n_trajectories"] == len(source)
        assert isinstance(file.attrs["n_spatial_dims"], np.integer) and list(file.attrs["simulation_parameters"]) == []
        dimensions = file["dimensions"]
        assert list(dimensions.attrs["spatial_dims"]) == list(source.domains[""].names)
        assert dimensions["time"].shape == (1 if source.times is None else len(source.times),)
        for key, data in dimensions.items():
            flags = data.attrs["sample_varying"], data.attrs["time_varying"]
            assert all(isinstance(flag, np.bool_) for flag in flags) and flags == (False, key == "time")
        for axis, coordinates in zip(source.domains[""].names, source.domains[""].coordinates, strict=True):
            np.testing.assert_allclose(dimensions[axis], coordinates, rtol=1e-6)

        sizes = {"sample": len(source), "time": dimensions["time"].shape[0]}
        for group, order in {"scalars": 0, "t0_fields": 0, "t1_fields": 1, "t2_fields": 2}.items():
            assert isinstance(file[group].attrs["field_names"], np.ndarray)
            assert sorted(file[group].attrs["field_names"]) == sorted(file[group])
            assert all(type(field) is str for field in file[group].attrs["field_names"])
            for data in file[group].values():
                expected = [sizes[axis] for axis in sizes if data.attrs[f"{axis}_varying"]]
                if group != "scalars":
                    assert data.attrs["dim_varying"].tolist() == [True] * source.domains[""].ndim
                    expected += [*source.domains[""].shape, *[source.domains[""].ndim] * order]
                assert list(data.shape) == expected

        kinds = {"dirichlet": "WALL", "neumann": "OPEN", "periodic": "PERIODIC"}
        assert len(file["boundary_conditions"]) == source.domains[""].ndim
        for axis, n in zip(source.domains[""].box.axes, source.domains[""].shape, strict=True):
            group = file[f"boundary_conditions/{axis.name}_{kinds[axis.boundary].lower()}"]
            assert group.attrs["bc_type"] == kinds[axis.boundary]
            assert list(group.attrs["associated_dims"]) == [axis.name] and len(group.attrs["associated_fields"]) == 0
            assert not group.attrs["sample_varying"] and not group.attrs["time_varying"]
            assert group["mask"].dtype == bool and group["mask"][:].tolist() == [True, *[False] * (n - 2), True]


def test_where_fields_go(path):
    write_well(path, SOURCES["trajectories"], name="toy")
    with h5py.File(path) as file:
        assert list(file["t1_fields"].attrs["field_names"]) == ["v"]
        assert list(file["t0_fields"].attrs["field_names"]) == ["q_0", "q_1", "q_2", "forcing", "wall"]
        assert list(file["scalars"].attrs["field_names"]) == ["nu", "angles_0", "angles_1", "inflow"]
        np.testing.assert_array_equal(file["t0_fields/q_1"], SOURCES["trajectories"].arrays["q"][..., 1])


def foreign(path, source):
    """The file as another program would write it: without our own attribute."""
    write_well(path, source, name="toy")
    with h5py.File(path, "r+") as file:
        del file.attrs["surrogax"]
    return path


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_without_our_attribute(path, name):
    source = SOURCES[name]
    back = WellSource(foreign(path, source))
    assert back.attributes == {"name": "toy"}
    if name == "steady":  # cell centres of a box that does not start at 0 cannot be told from nodes
        assert back.domains[""].layouts == ("nodes", "nodes") and back.domains[""].box.boundaries == (
            "dirichlet",
            "neumann",
        )
    else:
        assert back.domains[""].layouts == source.domains[""].layouts
        assert back.domains[""].box.boundaries == source.domains[""].box.boundaries
        np.testing.assert_allclose(back.domains[""].box.extent, source.domains[""].box.extent, rtol=1e-5)
    if name == "trajectories":
        assert back.fields["v"] == source.fields["v"] and back.fields["nu"] == source.fields["nu"]
        np.testing.assert_array_equal(back.read("q_2", np.array([1])), source.arrays["q"][[1], ..., 2])


def test_missing_axes_are_broadcast_and_tensors_flattened(path):
    foreign(path, space())
    tensor, profile = RNG.random((4, 3, 4, 5, 3, 3), np.float32), RNG.random((4, 4), np.float32)
    with h5py.File(path, "r+") as file:
        file["t2_fields"].attrs["field_names"] = ["D"]
        file["t0_fields"].attrs["field_names"] = ["profile", "one"]
        file["scalars"].attrs["field_names"] = ["a", "b"]
        file["t2_fields/D"], file["t0_fields/profile"], file["t0_fields/one"] = tensor, profile, 7.0
        file["scalars/a"], file["scalars/b"] = 0.25, np.array([0.5])
        for key, sample, dims in [
            ("t2_fields/D", True, [True] * 3),
            ("t0_fields/profile", True, [False, True, False]),
            ("t0_fields/one", False, [False] * 3),
            ("scalars/a", False, None),
            ("scalars/b", False, None),
        ]:
            file[key].attrs.update(sample_varying=sample, time_varying=False)
            if dims:
                file[key].attrs["dim_varying"] = dims
    back, rows = WellSource(path), np.array([2, 0, 2])
    assert back.fields["D"].components == (9,) and back.fields["a"].role == "parameter"
    np.testing.assert_array_equal(back.read("D", rows)[..., 5], tensor[rows][..., 1, 2])
    window = (slice(1, None), slice(None, None, -2), slice(0, 2))
    expected = np.broadcast_to(profile[rows][:, None, ::-2, None], (3, 2, 2, 2))
    np.testing.assert_array_equal(back.read("profile", rows, window), expected)
    one = back.read("one", rows)
    assert one.shape == (3, 3, 4, 5) and (one == 7).all() and one.flags.writeable
    assert back.read("a", rows).tolist() == [0.25] * 3 and back.read("b", rows).tolist() == [0.5] * 3


def test_boundaries_as_the_well_sees_them(path):
    foreign(path, space())
    with h5py.File(path, "r+") as file:
        del file["boundary_conditions"]
        for key, kind, dims, mask in [
            ("y", "periodic", "y", np.zeros(4, bool)),  # marks no end: not periodic
            ("wall", "Wall", ["x", "z"], np.ones((2, 3, 5), bool)),  # one mask per sample, whole faces
            ("gap", "OPEN", ["z"], np.array([True, False, False, False, False])),
        ]:
            group = file.create_group(f"boundary_conditions/{key}")
            group.attrs.update(bc_type=kind, associated_dims=dims, sample_varying=mask.ndim == 3, time_varying=False)
            group["mask"] = mask
    assert WellSource(path).domains[""].box.boundaries == ("dirichlet", "neumann", "dirichlet")
    with h5py.File(path, "r+") as file:
        file["boundary_conditions/wall/mask"][0, 1, -1] = False
    assert WellSource(path).domains[""].box.boundaries == ("dirichlet", "neumann", "neumann")


# Processes, threads, folders ------------------------------------------------------------------------------------------


def read_sum(source):
    return float(source.read("v", np.array([4, 1])).sum())


def test_an_open_source_goes_to_another_process(path):
    write_well(path, SOURCES["trajectories"], name="toy")
    source = WellSource(path)
    expected = read_sum(source)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(np.sum, (pickle.loads(pickle.dumps(source)).read("v", np.array([4, 1])),)) == pytest.approx(
            expected
        )
        values = pool.apply(WellSource.read, (source, "v", np.array([4, 1])))
    assert float(values.sum()) == expected
    assert read_sum(source) == expected and len(pickle.dumps(source)) < 1000


def test_a_forked_process_opens_its_own_handle(path):
    write_well(path, SOURCES["trajectories"], name="toy")
    source = WellSource(path)
    expected, handle = read_sum(source), source._handle.file()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=lambda: results.put((read_sum(source), source._handle.file() is handle)))
    child.start()
    child.join()
    assert results.get() == (expected, False) and source._handle.file() is handle


def test_threads_share_one_handle(path, monkeypatch):
    write_well(path, SOURCES["trajectories"], name="toy")
    source, results, opened = WellSource(path), [], []
    real = h5py.File
    monkeypatch.setattr(h5py, "File", lambda *args, **kwargs: opened.append(args) or real(*args, **kwargs))
    threads = [threading.Thread(target=lambda: results.append(read_sum(source))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(opened) == 1 and results == [read_sum(source)] * 8


def test_folder_of_splits(tmp_path):
    source = SOURCES["trajectories"]
    data = Dataset.of(source)
    for file, rows in {"train/a": [0, 1, 2], "train/b": [3, 4], "valid/a": [5], "test/a": [6, 7, 8]}.items():
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        write_well(tmp_path / "data" / f"{file}.hdf5", data.select(rows), name="toy")
    splits = {name: part.source for name, part in open_splits(tmp_path).items()}
    assert {split: len(part) for split, part in splits.items()} == {"train": 5, "valid": 1, "test": 3}
    assert isinstance(splits["train"], ConcatSource) and isinstance(splits["train"], Source)
    for rows in ([4, 0, 3, 3, -4, 2], [1], [4], []):
        rows = np.array(rows, int)
        for field in source.fields:
            expected = source.arrays[field][:5][rows]
            np.testing.assert_array_equal(splits["train"].read(field, rows), expected, strict=True)
    np.testing.assert_array_equal(
        splits["train"].read("v", np.array([4, 0]), (slice(2, 3),)), source.arrays["v"][[4, 0], 2:3]
    )
    assert Dataset.of(splits["train"]).ids.tolist() == [0, 1, 2, 3, 4]
    assert Dataset.of(ConcatSource((splits["test"], splits["valid"]))).ids.tolist() == [6, 7, 8, 5]
    assert open_splits(tmp_path / "data").keys() == splits.keys()
    with pytest.raises(ValueError, match=r"a folder of no known format; known: .*a folder of The Well"):
        open_splits(tmp_path / "data" / "train")
    with pytest.raises(ValueError, match=r"holds the splits \['test', 'train', 'valid'\]; open them with open_splits"):
        open_dataset(tmp_path)
    with pytest.raises(ValueError, match="differ in fields, domains or times"):
        ConcatSource((source, replace(source, times=source.times + 1)))


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_wrong_field_name_lists_the_fields(path):
    write_well(path, steady(), name="toy")
    with pytest.raises(KeyError, match=r"no field 'v'; it has \['a', 'u'\]"):
        WellSource(path).read("v", np.array([0]))
    with pytest.raises(IndexError, match="11"):
        WellSource(path).read("u", np.array([11]))


def test_missing_truncated_and_foreign_files(path):
    with pytest.raises(FileNotFoundError):
        WellSource(path)
    for content in (b"", b"some text", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"data\.hdf5: is no intact HDF5 file"):
            WellSource(path)
    write_well(path, steady(), name="toy")
    whole = path.read_bytes()
    for length in range(0, len(whole), 499):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=r"data\.hdf5: is no intact HDF5 file"):
            WellSource(path)
    with h5py.File(path, "w") as file:
        file["tensor"] = np.zeros(3)
    with pytest.raises(StorageError, match=r"data\.hdf5: is not in The Well's layout.* 'n_trajectories'"):
        WellSource(path)


def _replace(file, key, values):
    attributes = dict(file[key].attrs)
    del file[key]
    file[key] = values
    file[key].attrs.update(attributes)


def _drop_axis(file):
    file["t1_fields/v"].attrs["dim_varying"] = [True, False]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: _replace(f, "t1_fields/v", np.zeros((9, 7, 5, 1))),
            r"t1_fields/v is float64\[9, 7, 5, 1\].*\[9, 7, 8, 1\]",
        ),
        (lambda f: _replace(f, "scalars/nu", np.zeros(8)), r"scalars/nu is float64\[8\], expected .*\[9\]"),
        (lambda f: _replace(f, "t0_fields/wall", np.full((9, 8), b"x")), r"t0_fields/wall is \|S1"),
        (lambda f: f.attrs.update(n_trajectories=10), "expected real numbers of shape"),
        (lambda f: f.attrs.update(n_trajectories="many"), "many"),
        (lambda f: _replace(f, "dimensions/time", np.arange(5.0)), "expected real numbers of shape"),
        (
            lambda f: _replace(f, "dimensions/time", [0, 1, 2, 3, 4, np.inf, np.inf]),
            r"times\[5\] is inf; cut what was padded",
        ),
        (lambda f: _replace(f, "dimensions/time", np.arange(7.0)[::-1]), "times must increase"),
        (lambda f: _replace(f, "dimensions/x", np.zeros((9, 2, 8))), r"dimensions/x has shape \(9, 2, 8\)"),
        (lambda f: _replace(f, "dimensions/x", np.arange(16.0).reshape(2, 8)), "the same points for every sample"),
        (_drop_axis, "zip"),
        (lambda f: f.__delitem__("dimensions/x"), "there is no 'dimensions/x'"),
        (lambda f: f.__delitem__("t0_fields"), "t0_fields"),
        (lambda f: f.__delitem__("t1_fields/v"), "there is no 't1_fields/v'"),
        (lambda f: f["t1_fields/v"].attrs.__delitem__("dim_varying"), "dim_varying"),
    ],
)
def test_inconsistent_files(path, damage, message, own):
    (write_well(path, trajectories(), name="toy") if own else foreign(path, trajectories()))
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(StorageError, match=rf"^\S+data\.hdf5: is not in The Well's layout, or damaged: .*{message}"):
        WellSource(path)


@pytest.mark.parametrize(
    "x", [np.arange(8.0) ** 2, -np.arange(8.0), np.zeros(8)], ids=["squares", "falling", "constant"]
)
def test_a_foreign_grid_must_be_uniform(path, x):
    foreign(path, trajectories())
    with h5py.File(path, "r+") as file:
        file["dimensions/x"][:] = x
    with pytest.raises(StorageError, match="dimensions/x is not uniformly increasing"):
        WellSource(path)


# What a file may refer to, and claim ----------------------------------------------------------------------------------


def _external_values(file, secret):
    attributes = dict(file["t0_fields/forcing"].attrs)
    del file["t0_fields/forcing"]
    file.create_dataset("t0_fields/forcing", (9, 8), "u1", external=[(str(secret), 0, 72)])
    file["t0_fields/forcing"].attrs.update(attributes)


def _linked(link):
    def damage(file, secret):
        del file["t0_fields/forcing"]
        file["t0_fields/forcing"] = link(secret)

    return damage


def _virtual(file, secret):
    attributes = dict(file["t0_fields/forcing"].attrs)
    del file["t0_fields/forcing"]
    values = h5py.VirtualLayout((9, 8), "f4")
    values[:] = h5py.VirtualSource(str(secret), "forcing", (9, 8), "f4")
    file.create_virtual_dataset("t0_fields/forcing", values)
    file["t0_fields/forcing"].attrs.update(attributes)


def _linked_group(file, secret):
    del file["boundary_conditions"]
    file["boundary_conditions"] = h5py.ExternalLink(str(secret), "/")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_external_values, "the values of t0_fields/forcing lie in another file"),
        (_virtual, "the values of t0_fields/forcing lie in another file"),
        (_linked(lambda secret: h5py.ExternalLink(str(secret), "forcing")), "t0_fields/forcing is a link to forcing"),
        (_linked_group, "boundary_conditions is a link to /"),
        (_linked(lambda secret: h5py.SoftLink("/t0_fields/forcing")), "t0_fields/forcing is a link to"),  # to itself
        (_linked(lambda secret: h5py.SoftLink("/nowhere")), "there is no '/nowhere'"),
    ],
    ids=["external values", "virtual", "external link", "external group", "circle", "dangling"],
)
def test_a_file_cannot_refer_to_another_one(path, tmp_path, damage, message):
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["forcing"] = np.ones((9, 8), np.float32)
    foreign(path, trajectories())
    with h5py.File(path, "r+") as file:
        damage(file, secret)
    with pytest.raises(StorageError, match=rf"data\.hdf5: is not in The Well's layout.*{message}"):
        WellSource(path)


def test_a_link_inside_the_file_is_followed(path):
    source = SOURCES["trajectories"]
    foreign(path, source)
    with h5py.File(path, "r+") as file:
        file.move("t0_fields/forcing", "elsewhere/forcing")
        file["t0_fields/forcing"] = h5py.SoftLink("../elsewhere/forcing")
    np.testing.assert_array_equal(WellSource(path).read("forcing", np.arange(9)), source.arrays["forcing"])


@pytest.mark.parametrize("values", [True, False], ids=["empty chunks", "no values"])
def test_what_a_file_claims_is_bounded_by_its_size(path, values):
    """10⁹ samples in a file of some kilobytes; opening it must not take the memory of 10⁹ numbers."""
    foreign(path, trajectories())
    with h5py.File(path, "r+") as file:
        for group in ("t0_fields", "t1_fields", "t2_fields", "scalars"):
            for name in list(file[group]):
                del file[group][name]
            file[group].attrs["field_names"] = np.array([], h5py.string_dtype())
        file.attrs["n_trajectories"] = 10**9 if values else 10**10
        if values:
            data = file.create_dataset("t0_fields/u", (10**9, 8), "f4", chunks=(1000, 8))
            data.attrs.update(sample_varying=True, time_varying=False, dim_varying=[True])
            file["t0_fields"].attrs["field_names"] = np.array(["u"], h5py.string_dtype())
    with pytest.raises(StorageError, match=r"cannot hold|can hold"):
        WellSource(path)


def test_a_file_is_open_to_others_too(path):
    """HDF5 wants all handles of a process to lock alike; its default is what others use."""
    write_well(path, SOURCES["steady"], name="toy")
    expected, source = SOURCES["steady"].arrays["a"], WellSource(path)
    source.read("u", np.array([0]))
    with h5py.File(path) as other:
        assert other.attrs["n_trajectories"] == 11
        np.testing.assert_array_equal(WellSource(path).read("a", np.arange(11)), expected)
    del source
    with h5py.File(path, locking=False):
        np.testing.assert_array_equal(WellSource(path).read("a", np.arange(11)), expected)


AXIS = '{"axes": [{"name": "x", "start": 0.0, "stop": 1.0}], "layouts": ["nodes"]}'


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("no json", "line 1"),
        ('{"grid": 1}', ""),
        (f'{{"grid": {AXIS}}}'.replace('"x"', '"y"'), r"axes \['y'\], its spatial_dims are \['x'\]"),
        (f'{{"grid": {AXIS}}}'.replace("nodes", "bad"), "'bad'"),
        (f'{{"grid": {AXIS}}}', "fields"),
        (f'{{"grid": {AXIS}, "fields": {{"v": ["t1_fields/w"]}}}}', "t1_fields/w"),
        (f'{{"grid": {AXIS}, "fields": {{"v": ["t0_fields/q_0", "scalars/nu"]}}}}', "differ in shape or type"),
    ],
)
def test_a_damaged_own_attribute(path, own, message):
    write_well(path, trajectories(), name="toy")
    with h5py.File(path, "r+") as file:
        file.attrs["surrogax"] = own
    with pytest.raises(StorageError, match=rf"(?s)data\.hdf5: is not in The Well's .*{message}"):
        WellSource(path)


@contextmanager
def full_disk(size):
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 50, 3000, 20_000, 100_000])
def test_a_full_disk_leaves_the_old_file(path, room):
    write_well(path, steady(), name="toy")
    before = path.read_bytes()
    large = memory(
        Grid.unit_square(64), u=(np.zeros((40, 64, 64)), FieldSpec()), v=(np.ones((40, 64, 64)), FieldSpec())
    )
    with full_disk(room), pytest.raises(OSError, match="too large"):
        write_well(path, large, name="toy", chunk=3)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    write_well(path, large, name="toy")  # HDF5 still works
    assert len(WellSource(path)) == 40


def test_a_source_that_fails_leaves_the_old_file(path):
    write_well(path, steady(), name="toy")
    before = path.read_bytes()
    source = steady()
    wrong = replace(source, arrays={**source.arrays, "u": source.arrays["u"].astype(np.float32)})
    with pytest.raises(ValueError, match=r"'u' gave float32\[11, 5, 6\], expected float64\[11, 5, 6\]"):
        write_well(path, wrong, name="toy")
    wrong = replace(source, arrays={**source.arrays, "u": source.arrays["u"][:, :4]})
    with pytest.raises(ValueError, match=r"'u' gave float64\[11, 4, 6\]"):
        write_well(path, wrong, name="toy")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            memory(
                PointCloudLayout(1, 4),
                u=(np.zeros((1, 4)), FieldSpec()),
                points=(np.zeros((1, 4, 1)), FieldSpec("domain", (1,))),
            ),
            "The Well's layout needs a uniform grid; these data live on point clouds",
        ),
        (memory(Grid.unit_interval(4), u=(np.zeros((0, 4)), FieldSpec())), "at least one sample"),
        (
            memory(
                Grid.unit_interval(4),
                q=(np.zeros((1, 4, 2)), FieldSpec(components=(2,))),
                q_1=(np.zeros((1, 4)), FieldSpec()),
            ),
            "'q_1' is used twice",
        ),
        (
            memory(Grid.unit_interval(4), **{"a/b": (np.zeros((1, 4)), FieldSpec())}),
            "'a/b' is used twice or contains '/'",
        ),
        (memory(Box(time=(0, 1)).grid(4), u=(np.zeros((1, 4)), FieldSpec())), "'time' is used twice"),
    ],
    ids=["cloud", "empty", "collision", "slash", "time"],
)
def test_what_the_layout_cannot_hold(path, source, message):
    with pytest.raises(ValueError, match=message):
        write_well(path, source, name="toy")
    assert not path.exists()
