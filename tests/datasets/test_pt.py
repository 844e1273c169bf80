"""`.pt` files are read as torch would, without torch, and run nothing."""

import collections
import inspect
import io
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from surrogax.core.domains import Box, Grid
from surrogax.core.files import StorageError
from surrogax.datasets.formats.pt import open_pt, read_pt
from surrogax.datasets.opening import open_dataset

STORAGES = {
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}


class Tensor:
    """Pickles as a torch tensor: a strided window on a storage."""

    def __init__(self, key, count, dtype="float32", offset=0, size=(), stride=(), metadata=()):
        self.storage = Storage(key, count, dtype)
        self.args = (offset, size, stride, False, collections.OrderedDict(), *metadata)

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *self.args)


class Storage:
    def __init__(self, key, count, dtype):
        self.key, self.count, self.dtype = key, count, dtype


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", getattr(sys.modules["torch"], STORAGES[obj.dtype]), obj.key, "cpu", obj.count
        return None


@pytest.fixture(autouse=True)
def torch_names(monkeypatch):
    """Modules with the names that a pickle of torch refers to, so that these can be written without it."""

    def rebuild(*args):
        raise AssertionError("the pickle was run")

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    types_ = {name: type(name, (), {"__module__": "torch"}) for name in STORAGES.values()}
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    vars(torch).update(types_, _utils=utils)
    utils._rebuild_tensor_v2 = rebuild
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write_pt(path, obj, storages=(), protocol=2, **members):
    pickled = io.BytesIO()
    Pickler(pickled, protocol).dump(obj)
    return write_zip(path, pickled.getvalue(), storages, **members)


def write_zip(path, pickled, storages=(), compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, values in dict(storages).items():
            archive.writestr(f"archive/data/{key}", np.asarray(values).tobytes())
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pt"


@pytest.mark.parametrize("dtype", STORAGES)
def test_dtypes(path, dtype):
    values = np.array([0, 1, 3]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    back = read_pt(write_pt(path, {"x": Tensor("0", 3, dtype, 0, (3,), (1,))}, {"0": values}, byteorder="little"))["x"]
    assert back.dtype == values.dtype and back.tolist() == values.tolist()


def test_strides_and_offsets(path):
    flat = np.arange(24.0, dtype=np.float32)
    cube = flat.reshape(2, 3, 4)
    tensors = {
        "permuted": Tensor("0", 24, offset=0, size=(4, 2, 3), stride=(1, 12, 4)),
        "slice": Tensor("0", 24, offset=13, size=(3, 2), stride=(4, 2)),
        "scalar": Tensor("0", 24, offset=5),
        "empty": Tensor("1", 0, size=(0, 3), stride=(3, 1)),
        "single": Tensor("0", 24, offset=23, size=(1, 1), stride=(999, 7)),
    }
    back = read_pt(write_pt(path, tensors, {"0": flat, "1": flat[:0]}))
    expected = {
        "permuted": cube.transpose(2, 0, 1),
        "slice": cube[1, :, 1::2],
        "scalar": np.float32(5),
        "empty": np.zeros((0, 3), np.float32),
        "single": np.full((1, 1), 23, np.float32),
    }
    assert list(back) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(back[name], values, strict=True)
        assert back[name].flags.c_contiguous and back[name].flags.writeable


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("0", 4, size=(5,), stride=(1,)), "reaches element 4 of a storage said to hold 4"),
        (Tensor("0", 4, offset=3, size=(2,), stride=(1,)), "reaches element 4"),
        (Tensor("0", 4, offset=-1, size=(2,), stride=(1,)), "expected a storage, offset, size, stride"),
        (Tensor("0", 4, size=(2,), stride=(-1,)), "expected a storage"),
        (Tensor("0", 4, size=(2, 2), stride=(1,)), "expected a storage"),
        (Tensor("0", 4, size=(2.0,), stride=(1,)), "expected a storage"),
        (Tensor("0", 4, size="ab", stride=(1, 1)), "expected a storage"),
        (Tensor("0", 400, size=(400,), stride=(1,)), "said to hold 400 of float32, which has 16 bytes"),
        (Tensor("0", 4, size=(10**12,), stride=(0,)), "expanded view; save it with"),
        (Tensor("0", 4, size=(0, 2**70), stride=(1, 1)), "a.pt: "),
        (Tensor("0", 4, offset=9, size=(0,), stride=(1,)), "a.pt: "),
        (Tensor("7", 4, size=(4,), stride=(1,)), "has no member archive/data/7"),
        (Tensor("../data.pkl", 4, size=(4,), stride=(1,)), "has no member"),
        (Tensor("0", 4, size=(4,), stride=(1,), metadata=({"conj": True},)), "lazily conjugated"),
        (Tensor("0", 4, metadata=(None, 1, 2)), "cannot be read .*TypeError"),
        (1.0, "holds float under 'x'"),
        ({"y": 1}, "holds dict under 'x'"),
    ],
)
def test_no_value_outside_the_storage_is_read(path, tensor, message):
    write_pt(path, {"x": tensor}, {"0": np.zeros(4, np.float32)})
    with pytest.raises(StorageError, match=message):
        read_pt(path)


class Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("obj", "named"),
    [
        (Call(os.mkdir, "exploited"), "posix.mkdir"),
        (Call(eval, "__import__('os').mkdir('exploited')"), "(__builtin__|builtins).eval"),
        (Call(getattr, Call(__import__, "os"), "mkdir"), "(__builtin__|builtins).getattr"),
        (Call(pickle.loads, pickle.dumps(Call(os.mkdir, "exploited"))), "_?pickle.loads"),
        (np.zeros(2), "numpy"),
    ],
    ids=["mkdir", "eval", "getattr", "loads", "numpy"],
)
def test_other_globals_are_refused_unrun(path, monkeypatch, obj, named, protocol):
    monkeypatch.chdir(path.parent)
    write_pt(path, {"x": obj}, protocol=protocol)
    with pytest.raises(StorageError, match=rf"a\.pt: its pickle names ({named}).* nothing was run"):
        read_pt(path)
    assert not Path("exploited").exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",  # a dotted path through a permitted name
        b"ctorch\nFloatStorage.__class__\n.",
        b"ccollections\nOrderedDict.__init__\n.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}(X\x08\x00\x00\x00__code__K\x01utb.",  # BUILD on the function
        b"ctorch\nFloatStorage\n(X\x01\x00\x00\x00atR.",  # a call of a storage type
        b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.",  # BUILD of its attribute `items`
        b"(S'mkdir exploited'\nios\nsystem\n.",
        b"\x8c\x02os\x8c\x06system\x93\x8c\x0fmkdir exploited\x85R.",
        b"\x80\x02}X\x01\x00\x00\x00xK\x01Qs.",
        b"",
        b"}",
        b"garbage",
        b"\x80\xff.",
    ],
)
def test_crafted_pickles(path, monkeypatch, opcodes):
    monkeypatch.chdir(path.parent)
    write_zip(path, opcodes)
    with pytest.raises(StorageError, match=r"a\.pt: "):
        read_pt(path)
    assert not Path("exploited").exists()


def test_damaged_and_foreign_files(path):
    tensors, storages = {"x": Tensor("0", 4, size=(4,), stride=(1,))}, {"0": np.arange(4, dtype=np.float32)}
    whole = write_pt(path, tensors, storages).read_bytes()
    assert read_pt(path)["x"].tolist() == [0, 1, 2, 3]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="no intact zip file of PyTorch"):
            read_pt(path)
    flipped = bytearray(whole)
    flipped[whole.index(storages["0"].tobytes()) + 5] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(StorageError, match="Bad CRC"):
        read_pt(path)
    write_pt(path, tensors, storages, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(StorageError, match="compressed member"):
        read_pt(path)
    write_pt(path, tensors, storages, byteorder="big")
    with pytest.raises(StorageError, match="big-endian"):
        read_pt(path)
    write_pt(path, [1, 2])
    with pytest.raises(StorageError, match="holds a list, expected a dict of tensors"):
        read_pt(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(StorageError, match=r"its zip holds 0 members data\.pkl"):
        read_pt(path)
    with pytest.raises(FileNotFoundError):
        read_pt(path.parent / "missing.pt")


def darcy(path, n=3, points=4):
    x = np.arange(n * points**2).reshape(n, points, points) % 3 == 0
    y = np.random.default_rng(0).random((n, points, points))
    size, stride, count = (n, points, points), (1, n * points, n), n * points**2
    tensors = {"x": Tensor("0", count, "bool", 0, size, stride), "y": Tensor("1", count, "float64", 0, size, stride)}
    write_pt(path, tensors, {"0": x.transpose(1, 2, 0), "1": y.transpose(1, 2, 0)})
    return x, y


def unit_square(n):
    """The n × n points 0, h, …, 1−h of the unit square with Dirichlet sides."""
    return Grid(Box.unit(2), (n, n), ("periodic", "periodic"))


def test_open_darcy(path):
    x, y = darcy(path)
    source = open_pt(path)
    assert source.domains[""] == unit_square(4) and len(source) == 3 and list(source.fields) == ["a", "u"]
    assert source.domains[""].spacing == (0.25, 0.25) and source.domains[""].subsample(2) == unit_square(2)
    assert source.fields["a"].dtype == "float32" and source.fields["u"].dtype == "float64"
    np.testing.assert_array_equal(source.read("a", np.array([2, 0])), x[[2, 0]].astype(np.float32), strict=True)
    np.testing.assert_array_equal(source.read("u", np.array([1]), (slice(1, 2),)), y[[1], 1:2])

    cells = Grid.unit_square(4, "cells")
    renamed = open_pt(path, {"y": "pressure"}, cells)
    assert list(renamed.fields) == ["pressure"] and renamed.domains[""] == cells
    with pytest.raises(KeyError, match=r"no tensor 'z'; it has \['x', 'y'\]"):
        open_pt(path, {"z": "a"})
    with pytest.raises(StorageError, match=r"'a' has shape \(3, 4, 4\); expected \(sample, 5, 5\)"):
        open_pt(path, grid=Grid.unit_square(5))
    write_pt(path, {"x": Tensor("0", 1, size=(1,), stride=(1,))}, {"0": np.zeros(1, np.float32)})
    with pytest.raises(StorageError, match=r"a\.pt: the fields have the shapes .* do not tell the axes of space"):
        open_pt(path, {"x": "a"})


def tensors(path, **arrays):
    described = {
        k: Tensor(k, v.size, v.dtype.name, 0, v.shape, tuple(s // v.itemsize for s in v.strides))
        for k, v in arrays.items()
    }
    return write_pt(path, described, {k: v.ravel() for k, v in arrays.items()})


RNG = np.random.default_rng(0)
IMAGES, LINES = RNG.random((4, 3, 8, 8), np.float32), RNG.random((4, 5, 16), np.float32)


def test_trajectories_as_in_the_burgers_files_of_neuraloperator(path):
    tensors(path, x=LINES[:, 0].copy(), y=LINES, visc=np.full(4, 0.01))
    names = {"x": "u0", "y": "u", "visc": "nu"}
    with pytest.raises(
        StorageError, match=r"a\.pt: .*'u': \(4, 5, 16\).*say what the axes are by grid=, times= and channels="
    ):
        open_pt(path, names)
    data = open_dataset(path, names=names, times=np.linspace(0, 1, 5))
    assert data.grid == Grid(Box.unit(1), (16,), ("periodic",)) and data.times.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert {name: (spec.role, spec.time) for name, spec in data.fields.items()} == {
        "u0": ("field", False), "u": ("field", True), "nu": ("parameter", False)
    }  # fmt: skip
    np.testing.assert_array_equal(data["u"], LINES)
    with pytest.raises(StorageError, match="do not tell the axes of space"):  # time is no axis of space
        open_pt(path, {"y": "u"})
    assert open_pt(path, {"y": "u"}, Box(t_=(0, 1), x=(0, 1)).grid((5, 16))).fields["u"].time is False


@pytest.mark.parametrize(
    ("values", "options", "components", "expected"),
    [
        (IMAGES[:, :1], {"channels": "first"}, (), IMAGES[:, 0]),
        (IMAGES, {"channels": "first"}, (3,), np.moveaxis(IMAGES, 1, -1)),
        (np.moveaxis(IMAGES, 1, -1).copy(), {"channels": "last"}, (3,), np.moveaxis(IMAGES, 1, -1)),
        (IMAGES[:, :, None], {"channels": "first", "times": [0, 1, 2]}, (), IMAGES),
        (IMAGES, {"times": [0, 1, 2]}, (), IMAGES),
        (LINES, {"channels": "first"}, (5,), np.moveaxis(LINES, 1, -1)),
        (LINES, {"grid": Grid.unit((5, 16))}, (), LINES),
    ],
    ids=["one channel", "channels first", "last", "time and a channel", "time", "1D channels", "a grid"],
)
def test_axes_that_are_named(path, values, options, components, expected):
    tensors(path, y=np.ascontiguousarray(values))
    source = open_pt(path, {"y": "u"}, **options)
    assert source.fields["u"].components == components and source.fields["u"].time == ("times" in options)
    np.testing.assert_array_equal(source.read("u", np.arange(4)), expected, strict=True)


@pytest.mark.parametrize(
    "values", [IMAGES[:, :1], IMAGES, LINES, np.ones((2, 3, 4, 5, 6), np.float32)], ids=lambda v: str(v.shape)
)
def test_axes_that_may_be_channels_or_time_are_asked_for(path, values):
    tensors(path, x=np.ascontiguousarray(values), y=np.ascontiguousarray(values))
    with pytest.raises(StorageError, match=r"a\.pt: .*do not tell the axes of space; say what the axes are by grid="):
        open_dataset(path)


def test_wrong_options_are_named(path):
    tensors(path, y=LINES)
    with pytest.raises(TypeError, match=r"'channel'; the arguments are path, names, grid, times, channels"):
        open_dataset(path, channel="first")
    with pytest.raises(TypeError, match=r"channels=…\) is 'middle'; expected 'first' or 'last' or None"):
        inspect.unwrap(open_dataset)(path, names={"y": "u"}, channels="middle")


def test_complex_tensors_are_refused(path):
    tensors(path, y=np.ones((2, 4), np.complex64))
    with pytest.raises(StorageError, match=r"a\.pt: field 'u' is of dtype complex64, .*real and imaginary part"):
        open_pt(path, {"y": "u"})


@pytest.mark.skipif("SURROGAX_DARCY_DATA" not in os.environ, reason="SURROGAX_DARCY_DATA names no folder of .pt files")
def test_the_files_of_neuraloperator():
    folder = Path(os.environ["SURROGAX_DARCY_DATA"])
    train, coarse, fine = (open_pt(folder / f"darcy_{name}.pt") for name in ("train_16", "test_16", "test_32"))
    assert (len(train), len(coarse), len(fine)) == (1000, 50, 50)
    assert (
        train.domains[""] == coarse.domains[""] == fine.domains[""].subsample(2) == unit_square(16) and len(fine) == 50
    )
    for name in ("a", "u"):  # the two resolutions were written separately: equal only if all strides are honoured
        every = fine.read(name, np.arange(50))[:, ::2, ::2]
        np.testing.assert_array_equal(coarse.read(name, np.arange(50)), every, strict=True)
    a, u = (train.read(name, np.arange(1000)) for name in ("a", "u"))
    assert set(np.unique(a)) == {0, 1} and u.dtype == np.float32
    assert np.abs(np.diff(u, axis=1)).mean() < 0.5 * np.abs(np.diff(u, axis=0)).mean()
