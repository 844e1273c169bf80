"""The command line, in this process and with tiny sizes: every command, run folders, and errors in one sentence."""

import json
import tomllib

import pytest

import surrogax as sx
from surrogax import cli

TINY = (
    "--grid 17 --train 12 --val 4 --test 4 --width 4 --modes 3 --depth 1 --epochs 1 --batch-size 4".split()
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose cache no other test sees."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURROGAX_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def darcy(home):
    cli.main("generate darcy --out darcy.hdf5 --n 4 --grid 17 --refine 1".split())
    return home / "darcy.hdf5"


@pytest.fixture(scope="module")
def run(home):
    """A finished run of `train`."""
    cli.main(["train", "darcy-fno", "--folder", "run", *TINY])
    return home / "run"


def fails(capsys, *args: str) -> str:
    """The one sentence on stderr of a command that ends with status 1."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(list(args))
    said = capsys.readouterr().err
    assert stop.value.code == 1 and said.startswith("surrogax: ") and said.count("\n") == 1, said
    return said


def test_t(run, darcy):
    pass
