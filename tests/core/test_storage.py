"""Saved objects come back equal; a damaged, foreign or hostile file gives one sentence and runs nothing."""

import enum
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from surrogax.core import files, registry, storage
from surrogax.core.files import StorageError


@storage.register("test_storage.layer")
class Layer(eqx.Module):
    weight: jax.Array
    activation: Any = eqx.field(static=True)


@storage.register("test_storage.model")
@dataclass(frozen=True)
class Model:
    layers: list
    width: int
    rate: float = 1.0

    def __post_init__(self):
        if self.width < 0:
            raise RuntimeError("a constructor ran")


@storage.register("test_storage.norm")
class Norm(enum.StrEnum):
    batch = "B"
    group = "G"


@storage.register("test_storage.config")
@dataclass(frozen=True)
class Config:
    layer: type
    norm: Norm
    inner: "Config | None" = None


@storage.register("test_storage.interval")
class Interval(eqx.Module):
    ends: np.ndarray

    def __check_init__(self):
        if not self.ends[0] < self.ends[1]:
            raise ValueError(f"ends {self.ends.tolist()} are not in order")


@storage.register("test_storage.pair")
class Pair(NamedTuple):
    first: Any
    second: Any


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))
    elif isinstance(a, jax.Array | np.ndarray | np.generic):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        [assert_same(x, y) for x, y in zip(a, b, strict=True)]
    elif isinstance(a, dict):
        assert list(a) == list(b)
        [assert_same(a[k], b[k]) for k in a]
    elif isinstance(a, Model):
        assert_same([a.layers, a.width, a.rate], [b.layers, b.width, b.rate])
    elif isinstance(a, Layer):
        assert_same([a.weight, a.activation], [b.weight, b.activation])
    else:
        assert a == b or (a != a and b != b)


def example():
    return Model([Layer(jnp.arange(6.0).reshape(2, 3), "gelu"), Layer(jnp.ones((0, 3)), "relu")], 2, 0.1)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.sx"
    storage.save(path, example())
    return path


@pytest.mark.parametrize(
    "obj",
    [
        None,
        [True, 1, 1.0, -0.0, 0.1 + 0.2, 2**70, "ü\ud800", ""],
        (1, [2, (3, {})], ()),
        [float("nan"), float("inf"), -float("inf")],
        {"b": 1, "a": {"deep": (None,)}},
        {"tag": "x", "fields": {}},
        np.arange(12, dtype=np.int16).reshape(3, 4).T,
        np.array(3.5),
        np.zeros((0, 4)),
        np.arange(4, dtype=">f4").astype("<f4"),
        np.array([1 + 2j, np.nan], np.complex64),
        np.arange(3).astype(ml_dtypes.bfloat16),
        [np.float64(2.5), np.int8(-3), np.bool_(True), ml_dtypes.bfloat16(1.5)],
        jnp.arange(3, dtype=jnp.bfloat16),
        jnp.float32(3),
        jnp.zeros((2, 0), jnp.int32),
        jax.random.key(3),
        jax.random.split(jax.random.key(1, impl="rbg"), 3),
        jax.random.PRNGKey(0),
        Pair(1, Pair(np.zeros(2), None)),
        np.zeros((2, 0, 3), np.complex128),
        np.arange(6).reshape(2, 3).T * (1 - 2j),
        np.complex128(1 - 2j),
        jnp.complex64(3j),
        [np.zeros(1), [np.ones(1)], {"[0]": np.zeros(2), "ü\ud800'": np.ones(2), ".x": np.arange(2), "": np.arange(3)}],
        Config(Layer, Norm.group, Config(Norm, Norm.batch)),
        {"value": np.ones(1)},
        example(),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_round_trip(tmp_path, obj):
    storage.save(tmp_path / "f", obj)
    assert_same(storage.load(tmp_path / "f"), obj)


def test_arrays_are_little_endian_and_own_their_memory(tmp_path):
    values = np.array([1.0, 2.0], ">f8")
    storage.save(tmp_path / "f", [np.ones(3, np.uint8), values])
    back = storage.load(tmp_path / "f")
    assert back[1].dtype == np.float64 and back[1].tolist() == [1.0, 2.0]
    back[0][0] = 7  # writable
    raw = (tmp_path / "f").read_bytes()
    assert raw.find(values.astype("<f8").tobytes()) % 8 == 0


def test_any_safetensors_tool_opens_it_with_arrays_by_their_paths(tmp_path):
    obj = {"model": example(), "norm": np.array([1 + 2j]), "half": jnp.ones(2, jnp.bfloat16), "key": jax.random.key(3)}
    storage.save(tmp_path / "f", obj)
    found = safetensors.numpy.load_file(tmp_path / "f")
    expected = {
        "['model'].layers[0].weight": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "['model'].layers[1].weight": np.ones((0, 3), np.float32),
        "['norm']": np.array([[1.0, 2.0]]),
        "['half']": np.ones(2, ml_dtypes.bfloat16),
        "['key']": np.array([0, 3], np.uint32),
    }
    assert found.keys() == expected.keys()
    [assert_same(found[name], array) for name, array in expected.items()]
    storage.save(tmp_path / "f", example())
    assert sorted(safetensors.numpy.load_file(tmp_path / "f")) == ["layers[0].weight", "layers[1].weight"]
    storage.save(tmp_path / "f", np.arange(3))
    assert safetensors.numpy.load_file(tmp_path / "f")["value"].tolist() == [0, 1, 2]
    with safetensors.safe_open(tmp_path / "f", "numpy") as file:
        entry = json.loads(file.metadata()["surrogax"])
    assert entry["format"] == 2 and entry["tree"] == {"array": "numpy"}


def test_a_file_is_as_readable_as_others(tmp_path):
    storage.save(tmp_path / "f", [1])
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_equal_objects_give_equal_files(tmp_path):
    for name in "ab":
        storage.save(tmp_path / name, {"model": example(), "more": [np.zeros(3), np.ones(2, np.int8)]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_class_checks_what_is_read(tmp_path):
    right, wrong = Interval(np.array([0.0, 1.0])), Interval(np.array([0.0, 1.0]))
    wrong.ends[:] = [1, 0]
    storage.save(tmp_path / "f", {"a": right})
    assert storage.load(tmp_path / "f")["a"].ends.tolist() == [0, 1]
    storage.save(tmp_path / "f", {"a": right, "b": [wrong]})
    with pytest.raises(StorageError, match=r"f: \['b'\]\[0\] is no valid Interval: ends \[1.0, 0.0\] are not in order"):
        storage.load(tmp_path / "f")
    storage.safetensors_file.write(tmp_path / "f", {"tag": "test_storage.interval", "fields": {"ends": 3}}, {})
    with pytest.raises(StorageError, match=r"f: the object is no valid Interval: .*not subscriptable"):
        storage.load(tmp_path / "f")


def test_loading_runs_no_constructor(tmp_path):
    model = example()
    object.__setattr__(model, "width", -1)
    storage.save(tmp_path / "f", model)
    assert storage.load(tmp_path / "f").width == -1


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"model": Model([Layer(jnp.ones(1), "gelu"), Layer(jnp.ones(1), jnp.tanh)], 1)}, r"\['model'\].*store a name"),
        (Model([Layer(jnp.ones(1), jax.nn.gelu)], 1), r"save \.layers\[0\]\.activation: .*store a name"),
        ([object()], r"\[0\]: .*register builtins.object"),
        ({1: 2}, "key 1: keys must be strings"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        ({"a": int}, r"\['a'\]: .*register builtins.int under a tag"),
        (Config(Layer, Norm.batch, enum.Enum("Loose", "a").a), r"\.inner: .*Loose under a tag"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, obj, message):
    with pytest.raises(TypeError, match=message):
        storage.save(tmp_path / "f", obj)
    assert not list(tmp_path.iterdir())


def test_register(saved):
    with pytest.raises(ValueError, match=r"belongs to .*Model; choose another"):
        storage.register("test_storage.model")(Pair)
    with pytest.raises(ValueError, match=r"already registered as 'test_storage.pair'"):
        storage.register("test_storage.other")(Pair)
    with pytest.raises(TypeError, match="above @dataclass"):
        storage.register("test_storage.plain")(int)
    with pytest.raises(TypeError, match="flags are none"):
        storage.register("test_storage.flags")(enum.Flag("Flags", "a b"))

    fields = {"layers": list, "width": int, "rate": float}
    again = dataclass(type("Model", (), {"__annotations__": fields, "__module__": __name__}))
    try:
        assert storage.register("test_storage.model")(again) is again
        assert type(storage.load(saved)) is again
    finally:
        storage.register("test_storage.model")(Model)


def test_a_double_jax_array_is_not_cut_to_single(tmp_path):
    with jax.enable_x64(True):
        storage.save(tmp_path / "f", {"x": jnp.ones(2, jnp.float64)})
        assert storage.load(tmp_path / "f")["x"].dtype == jnp.float64
    if not jax.config.jax_enable_x64:
        with pytest.raises(StorageError, match=r"\['x'\] is a JAX array of float64, but x64 is off"):
            storage.load(tmp_path / "f")


# Damage ---------------------------------------------------------------------------------------------------------------


def test_truncation_anywhere_is_noticed(saved):
    raw = saved.read_bytes()
    for length in range(len(raw)):
        saved.write_bytes(raw[:length])
        with pytest.raises(
            StorageError, match="no surrogax file" if length < 9 else r"model\.sx: .*(cut short|damaged)"
        ):
            storage.load(saved)
    saved.write_bytes(raw + b"\0")
    with pytest.raises(StorageError, match="added to"):
        storage.load(saved)


def test_every_flipped_byte_is_noticed(saved):
    raw = saved.read_bytes()
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << position % 8
        saved.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"model\.sx"):
            storage.load(saved)


def test_foreign_files(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello, this is some text longer than any prefix")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", "b")
    for name in ("empty", "text", "zip"):
        with pytest.raises(
            StorageError, match=f"{name}: is no surrogax file: it starts with .* expected a safetensors"
        ):
            storage.load(tmp_path / name)
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "other", metadata={"format": "pt"})
    with pytest.raises(StorageError, match=r"other: is a safetensors file that surrogax did not write.*load_file"):
        storage.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        storage.load(tmp_path / "missing")


def test_written_anew_by_another_tool(saved):
    with safetensors.safe_open(saved, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    arrays["layers[0].weight"] = arrays["layers[0].weight"] + 1
    safetensors.numpy.save_file(arrays, saved, metadata=metadata)
    with pytest.raises(StorageError, match="checksum does not match"):
        storage.load(saved)


def test_another_version(saved):
    raw = saved.read_bytes()
    assert raw.count(b'\\"format\\":2,') == 1
    saved.write_bytes(raw.replace(b'\\"format\\":2,', b'\\"format\\":3,'))
    with pytest.raises(StorageError, match="has format version 3, this surrogax reads 2"):
        storage.load(saved)


def test_unknown_tag_and_changed_fields(saved, monkeypatch):
    monkeypatch.delitem(registry._TYPES, "test_storage.layer")
    with pytest.raises(StorageError, match=r"\.layers\[0\] has the unknown tag 'test_storage.layer'.*pair'"):
        storage.load(saved)
    monkeypatch.setitem(registry._TYPES, "test_storage.layer", Pair)
    with pytest.raises(StorageError, match=r"fields \['activation', 'weight'\], Pair has .*another version"):
        storage.load(saved)


def test_settings_that_came_after_the_file_have_their_defaults(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Longer(Model):
        momentum: float = 0.5

    storage.save(tmp_path / "model", Model([], 3, 2.0))
    monkeypatch.setitem(registry._TYPES, "test_storage.model", Longer)
    assert storage.load(tmp_path / "model") == Longer([], 3, 2.0, 0.5)

    @dataclass(frozen=True)
    class WithoutDefault:
        layers: list
        width: int
        rate: float
        momentum: float

    monkeypatch.setitem(registry._TYPES, "test_storage.model", WithoutDefault)
    with pytest.raises(StorageError, match="another version"):
        storage.load(tmp_path / "model")


def test_a_part_of_a_module_that_came_after_the_file_is_absent(tmp_path, monkeypatch):
    class Before(eqx.Module):
        weight: jax.Array

    class After(eqx.Module):
        weight: jax.Array
        law: jax.Array | None = None
        scale: float = 2.0

    monkeypatch.setitem(registry._TYPES, "test_storage.part", Before)
    monkeypatch.setitem(registry._TAGS, Before, "test_storage.part")
    storage.save(tmp_path / "part", Before(jnp.ones(2)))
    monkeypatch.setitem(registry._TYPES, "test_storage.part", After)
    with pytest.raises(StorageError, match="another version"):  # a number that was not saved is no absent part
        storage.load(tmp_path / "part")

    class Later(eqx.Module):
        weight: jax.Array
        law: jax.Array | None = None

    monkeypatch.setitem(registry._TYPES, "test_storage.part", Later)
    found = storage.load(tmp_path / "part")
    assert found.law is None and found.weight.shape == (2,)


def crafted(path, tree, payload=b"", table=None, header=None):
    """A file with a right checksum, and whatever header, tree (JSON or text) and table of arrays."""
    tree = tree if isinstance(tree, str) else json.dumps(tree)
    entry = '{"format":2,"crc32":"00000000","tree":' + tree + "}"
    if header is None:
        header = json.dumps({"__metadata__": {"surrogax": entry}, **(table or {})}, separators=(",", ":")).encode()
    raw = len(header).to_bytes(8, "little") + header + payload
    path.write_bytes(raw.replace(b"00000000", b"%08x" % zlib.crc32(raw), 1))
    return path


def array(dtype="U8", shape=(1,), start=0, stop=1):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_crafted_files_pass_the_checksum(tmp_path):
    """What the tests below craft is refused for its content."""
    tree = {"list": [{"array": "numpy"}, {"float": "nan"}]}
    path = crafted(tmp_path / "f", tree, b"\x07", {"[0]": array()})
    assert storage.load(path)[0].tolist() == [7]


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("exploited",)


@pytest.mark.parametrize(
    "tree",
    [
        {"tag": "os.system", "fields": {"command": "mkdir exploited"}},
        {"tag": "builtins.eval", "fields": {}},
        {"class": "os.mkdir", "args": ["exploited"]},
        {"__reduce__": ["os.mkdir", ["exploited"]]},
        {"tag": "test_storage.pair", "fields": {"first": 1, "second": 2, "__class__": "os"}},
        {"tag": ["test_storage.pair"], "fields": {}},
        {"float": "1e3"},
        {"key": "no such generator"},
        {"key": "threefry2x32"},
        {"array": "object"},
        {"array": 0},
        {"complex": "numpy"},
        {"complex": "jax"},
        {"list": [{"array": "numpy"}]},
        {"list": []},
        {"leaves": {"a": {"array": "numpy"}}},
        {"leaves": [1]},
        {"list": [{"leaves": {}}]},
        {"type": "builtins.int"},
        {"type": ["test_storage.pair"]},
        {"enum": "test_storage.norm", "name": "mro"},
        {"enum": "test_storage.norm", "name": "__class__"},
        {"enum": "test_storage.pair", "name": "first"},
        {"tag": "test_storage.norm", "fields": {}},
        [1, 2],
    ],
    ids=str,
)
def test_a_header_cannot_name_code(tmp_path, monkeypatch, tree):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"f: "):
        storage.load(crafted(tmp_path / "f", tree, b"\0", {"value": array()}))
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    "table",
    [
        {"value": array("object", [8], 0, 64)},
        {"value": array("F8_E4M3", [64], 0, 64)},
        {"value": array("F32", [-1], 0, 64)},
        {"value": array("F32", [17], 0, 64)},
        {"value": array("F32", [2**62, 2**62], 0, 64)},
        {"value": array("F32", [0, 2**70], 0, 0)},
        {"value": array("F32", [0, 2**62], 0, 0)},
        {"value": array("F32", [1.0], 0, 4)},
        {"value": array("F32", [1] * 100, 0, 4)},
        {"value": array("F32", [16], 0, 64), "other": array("F32", [16], 0, 64)},
        {"value": array("F32", [8], 0, 32), "other": array("F32", [4], 48, 64)},
        {"value": array("F32", [8], 0, 32), "other": array("F32", [8], 32, 64)},
        {"value": array("F32", [8], 32, 64)},
        {"value": array("F32", [16], 0, 128)},
        {"value": array(["F32"], [16], 0, 64)},
        {"value": "F32"},
        {"value": {"dtype": "F32"}},
        {},
    ],
    ids=str,
)
def test_crafted_array_tables(tmp_path, table):
    with pytest.raises(StorageError, match="f: "):
        storage.load(crafted(tmp_path / "f", {"array": "numpy"}, bytes(64), table))


def test_crafted_headers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exploit = pickle.dumps(Exploit())
    entry = b'"surrogax":"{\\"format\\":2,\\"crc32\\":\\"00000000\\",'
    for header in (
        exploit,
        b"{" + exploit,
        b"{" + entry + exploit,
        b"{" + entry + b'\\"tree\\":1}"}',
        b'{"__metadata__":{' + entry + b'\\"none\\":1}"}}',
        b'{"__metadata__":{' + entry + b'"}}',
        b'{"__metadata__":' + b"[" * 100_000,
        b"{}",
    ):
        with pytest.raises(StorageError):
            storage.load(crafted(tmp_path / "f", None, header=header))
    for tree in ("[" * 100_000, '{"list":[' * 400 + "]}" * 400 + "}", '{"list":[' * 5000 + "]}" * 5000, "9" * 5000):
        with pytest.raises(StorageError):
            storage.load(crafted(tmp_path / "f", tree))
    (tmp_path / "f").write_bytes(bytes(8) + b"{")
    with pytest.raises(StorageError, match="did not write"):
        storage.load(tmp_path / "f")
    assert not (tmp_path / "exploited").exists()


def test_memory_is_bounded_by_what_the_file_holds(tmp_path):
    """A length that the file does not have is refused before anything is allocated, and an array is used once."""
    with open(tmp_path / "f", "wb") as file:
        file.write((2**60).to_bytes(8, "little") + b"{")
    with pytest.raises(StorageError, match="is cut short: 9 bytes"):
        storage.load(tmp_path / "f")
    twice = {"leaves": {".a": {"array": "numpy"}, "a": {"array": "numpy"}}}
    with pytest.raises(StorageError, match="the header has an array at a, the file holds none there"):
        storage.load(crafted(tmp_path / "f", twice, b"\0", {"a": array()}))


# Atomic writing -------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(size):
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_a_full_disk_leaves_the_old_file(saved, room):
    before = saved.read_bytes()
    with full_disk(room), pytest.raises(OSError, match="too large"):
        storage.save(saved, np.zeros(10_000))
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_any_failure_leaves_the_old_file(saved, monkeypatch, failure):
    def fail(descriptor):
        raise failure

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(failure)):
        storage.save(saved, np.zeros(10))
    with pytest.raises(type(failure)):
        files.write_json(saved, {})
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_killed_while_writing(tmp_path):
    path = tmp_path / "f"
    storage.save(path, {"step": 0, "x": np.zeros(1)})
    script = (
        "import sys, numpy as np\nfrom surrogax.core import storage\nstep = 0\n"
        "while True:\n    step += 1\n    storage.save(sys.argv[1], {'step': step, 'x': np.full(300_000, step)})\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, path]) as process:
        while storage.load(path)["step"] < 5:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    back = storage.load(path)
    assert back["step"] >= 5 and back["x"].shape == (300_000,) and (back["x"] == back["step"]).all()


def test_write_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"ü": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"ü": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*create it first"):
        files.write_json(tmp_path / "no" / "a.json", {})
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    files.write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "a.json").read_text() == "1\n"


# Foreign pytrees ------------------------------------------------------------------------------------------------------


def network(width=4, seed=0):
    return eqx.nn.MLP(2, 1, width, 1, key=jax.random.key(seed))


def test_arrays_of_a_foreign_model(tmp_path):
    model, x = network(), jnp.array([0.3, -0.2])
    storage.save_arrays(tmp_path / "f", model)
    back = storage.load_arrays(tmp_path / "f", network(seed=1))
    assert back(x) == model(x) and back(x) != network(seed=1)(x)
    shapes = eqx.filter_eval_shape(network)
    assert storage.load_arrays(tmp_path / "f", shapes)(x) == model(x)


def test_numbers_among_the_leaves(tmp_path):
    tree = {"f": jnp.tanh, "key": jax.random.key(0), "rate": 0.5, "steps": 3, "w": np.ones(2)}
    storage.save_arrays(tmp_path / "f", tree)
    back = storage.load_arrays(tmp_path / "f", {**tree, "rate": 0.0, "steps": 0, "key": jax.random.key(9)})
    assert_same(back, tree)


def test_another_structure_shape_or_dtype(tmp_path):
    path = tmp_path / "f"
    storage.save_arrays(path, network())
    with pytest.raises(StorageError, match=r"f: \.layers\[0\]\.weight is float32\[4, 2\] in the file, float32\[5, 2\]"):
        storage.load_arrays(path, network(5))
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16) if eqx.is_array(a) else a, network())
    with pytest.raises(StorageError, match=r"float32\[4, 2\] in the file, bfloat16\[4, 2\]"):
        storage.load_arrays(path, half)
    with pytest.raises(StorageError, match=r"only in the file: \.layers.* only in `like`: \['a'\]"):
        storage.load_arrays(path, {"a": jnp.ones(2)})
    storage.save(path, [1])
    with pytest.raises(StorageError, match="holds a saved list"):
        storage.load_arrays(path, network())
