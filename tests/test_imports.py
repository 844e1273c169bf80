"""What is imported when: nothing heavy for `--help`, a public name when it is first used, all before a file is refused."""

import os
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

import surrogax as sx
from surrogax.core import registry
from surrogax.core.lazy_names import LazyNames

HEAVY = "jax jaxlib numpy scipy equinox optax flax orbax grain lineax h5py matplotlib rich tyro"


def run(code: str, *words: str) -> str:
    """Standard output of a program in a fresh process."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def imported(code: str) -> set[str]:
    """Which of the heavy packages a program has imported at its end."""
    return set(
        run(f"import sys\n{code}\nprint('end', *(m for m in {HEAVY.split()} if m in sys.modules))")
        .split("end")[-1]
        .split()
    )


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(word):
    assert imported(f"from surrogax.cli import main; main([{word!r}])") == set()


def test_an_unknown_command_imports_nothing_heavy():
    code = "from surrogax.cli import main\ntry: main(['trian'])\nexcept SystemExit as stop: assert stop.code == 2"
    assert imported(code) == set()


def test_a_name_imports_what_it_needs():
    assert imported("import surrogax") == set()
    found = imported("import surrogax as sx; sx.FNO, sx.fit, sx.generate, sx.evaluate, sx.PODRegression")
    assert "jax" in found and not found & {"flax", "orbax", "grain", "matplotlib", "h5py", "tyro", "rich"}


def test_public_names_are_listed_found_and_unknown_ones_named():
    assert {"FNO", "fit", "linear", "open", "core", "__version__"} <= {*dir(sx), "core"}
    assert set(sx.__all__) <= set(dir(sx)) and len(sx.__all__) > 100
    assert sx.open is sx.datasets.opening.open_dataset and sx.linear is sx.solvers.linear
    assert vars(sx)["open"] is sx.open, "found once"
    with pytest.raises(AttributeError, match="has no attribute 'FN0'") as error:
        sx.FN0  # noqa: B018
    assert error.value.name == "FN0" and error.value.obj is sx
    with pytest.raises(ImportError, match="cannot import name 'FN0'"):
        from surrogax import FN0  # noqa: F401


def test_names_come_from_the_imports_for_type_checkers():
    homes = LazyNames("surrogax").homes
    assert homes["FNO"] == ("surrogax.surrogates.operators.fno", "FNO")
    assert homes["open"] == ("surrogax.datasets.opening", "open_dataset")
    assert homes["linear"] == ("surrogax.solvers", "linear")


@pytest.mark.nightly
def test_importing_everything_computes_nothing():
    """No array and no device: `jax.distributed.initialize()` may still come, and nothing leaks from a first use inside `jit`."""
    code = """
import sys, types
import surrogax as sx
[getattr(sx, name) for name in dir(sx)]
import jax
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
for name, module in list(sys.modules.items()):
    if name.split(".")[0] == "surrogax" and isinstance(module, types.ModuleType):
        assert not [k for k, v in vars(module).items() if isinstance(v, jax.Array)], name
"""
    run(code)


@pytest.mark.nightly
def test_a_saved_object_loads_where_nothing_else_was_imported(tmp_path):
    mode = sx.Autoregressive(history=3)
    from surrogax.core.storage import save

    save(tmp_path / "mode.sgx", {"mode": mode, "schedule": sx.diffusion.EDM()})
    code = (
        "import sys; from surrogax.core.storage import load; assert 'surrogax.surrogates' not in sys.modules\n"
        "found = load(sys.argv[1]); assert found['mode'].history == 3 and type(found['schedule']).__name__ == 'EDM'"
    )
    run(code, str(tmp_path / "mode.sgx"))


@pytest.mark.nightly
def test_a_tag_of_this_library_is_taken_before_its_class_is_imported():
    code = """
from surrogax.core.registry import register
from dataclasses import dataclass
try:
    @register("FNO.Config")
    @dataclass
    class Mine: pass
except ValueError as error:
    assert "belongs to surrogax.surrogates.operators.fno" in str(error), error
else:
    raise SystemExit("taken")
"""
    run(code)


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_public_name_can_be_the_first():
    """No import hangs on another one having come before."""
    code = """
import os, sys
import jax, equinox, optax, lineax, scipy.sparse.linalg, scipy.stats  # shared by all children
import surrogax as sx
failed = []
for name in sx.__all__:
    if (child := os.fork()) == 0:
        try:
            getattr(sx, name)
        except BaseException as error:
            print(name, repr(error)); sys.stdout.flush(); os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
assert not failed, failed
"""
    run(code)


def test_a_package_without_its_source_says_so(monkeypatch):
    package = types.ModuleType("compiled_only")
    package.__loader__ = types.SimpleNamespace(get_source=lambda name: None)
    monkeypatch.setitem(sys.modules, "compiled_only", package)
    with pytest.raises(ImportError, match="compiled_only: its names are read from the source"):
        LazyNames("compiled_only")


def test_threads_wait_until_all_tags_are_registered(monkeypatch):
    def load():
        time.sleep(0.05)
        monkeypatch.setitem(registry._TYPES, "test_imports.late", int)

    monkeypatch.setattr(registry, "_OTHERS", [load])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(registry.type_of, ["test_imports.late"] * 4)) == [int] * 4
