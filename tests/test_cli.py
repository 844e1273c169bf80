"""The command line, in this process and with tiny sizes: every command, run folders, and errors in one sentence."""

import json
import sys
import tomllib

import numpy as np
import pytest

import surrogax as sx
from surrogax import cli
from surrogax.datasets.formats.well_writer import write_well

TINY = {
    "--grid": 17, "--train": 12, "--val": 4, "--test": 4, "--width": 4, "--modes": 3, "--depth": 1, "--epochs": 1,
    "--batch-size": 4,
}  # fmt: skip
TINY = [str(word) for option in TINY.items() for word in option]


def evaluate_some(surrogates, datasets, **options):
    """The network and the mean: every further row costs two compilations per dataset."""
    assert list(surrogates) == ["FNO", "POD + GP", "linear spectral", "mean", "solver 5²", "solver 9²", "solver 17²"]
    kept = {name: surrogates[name] for name in ("FNO", "mean")}
    return sx.evaluate(kept, datasets, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The working folder, with a cache of generated data that no other test sees."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURROGAX_CACHE", str(folder / "cache"))
        patch.setattr(sys.modules["surrogax.cli.train"], "evaluate", evaluate_some)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def data(home):
    cli.main(["generate", "darcy", "--out", "data.hdf5", "--n", "4", "--grid", "9", "--refine", "1"])
    return home / "data.hdf5"


@pytest.fixture(scope="module")
def run(home):
    """A finished run of `train`."""
    cli.main(["train", "darcy-fno", "--folder", "run", *TINY])
    return home / "run"


def fails(capsys, *args: object) -> str:
    """The one sentence on stderr of a command that ends with status 1."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in args])
    said = capsys.readouterr().err
    assert stop.value.code == 1 and said.startswith("surrogax: ") and said.count("\n") == 1, said
    return said


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Data -----------------------------------------------------------------------------------------------------------------


def test_generated_data_are_described_and_converted_without_loss(data, capsys):
    capsys.readouterr()
    cli.main(["describe", str(data)])
    said = capsys.readouterr().out
    assert said.startswith("4 samples on Grid(x∈[0, 1] 9 nodes, y∈[0, 1] 9 nodes)")
    assert all(f"\n  {name} " in said for name in ("a", "u")) and "label_error" in said
    cli.main(["convert", str(data), "--out", "again.hdf5"])
    assert "4 samples" in capsys.readouterr().out
    first, again = sx.open(data).read(), sx.open("again.hdf5").read()
    assert set(first) == set(again) == {"a", "u"}
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


# Training -------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_that_its_help_promises(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics) == [
        "test_rel_l2", "zero_shot_rel_l2", "label_error", "seconds_train", "device", "parameters",
    ]  # fmt: skip
    assert 0 < metrics["label_error"] < metrics["test_rel_l2"] < 2 and metrics["seconds_train"] > 0
    assert metrics["parameters"] == sx.load(run / "best.sgx").parameters > 100
    files = ("config.toml", "metrics.jsonl", "table.json", "last.sgx", "checkpoints", "environment.json", "report.html")
    assert all((run / name).exists() for name in files)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    rows = json.loads((run / "table.json").read_text())["rows"]
    assert {r["dataset"] for r in rows} == {"9²", "17² (zero-shot)"} and {r["metric"] for r in rows} == {
        "rel_l2",
        "rel_h1",
    }
    html = (run / "report.html").read_text()
    assert html.count("data:image/png;base64") == 6 and "http" not in html


def test_a_finished_run_says_so_and_is_left_alone(run, capsys):
    before = contents(run)
    capsys.readouterr()
    cli.main(["train", "darcy-fno", "--folder", str(run), *TINY])
    assert "run is finished: {" in capsys.readouterr().out
    assert contents(run) == before


def test_the_resolved_configuration_is_accepted_back(run, capsys):
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["train"] == 12 and config["learning_rate"] == 4e-3 and "folder" not in config
    capsys.readouterr()
    cli.main(["train", "darcy-fno", "--folder", str(run), "--config", str(run / "config.toml")])
    assert "run is finished" in capsys.readouterr().out


def test_another_configuration_in_the_same_folder_is_refused(run, capsys):
    before = contents(run)
    said = fails(capsys, "train", "darcy-fno", "--folder", run, *TINY, "--seed", 1)
    assert "run holds a run of another configuration" in said and "choose another --folder" in said
    assert contents(run) == before


@pytest.mark.parametrize(
    "text, said",
    [
        ("grid = 17\ncolour = 3\n", "unknown setting 'colour'; known: coefficient, grid,"),
        ('folder = "elsewhere"\n', "unknown setting 'folder'"),
        ("grid = \n", "no configuration of this command"),
        ('grid = "large"\n', "grid is 'large', expected int"),
        ('coefficient = "smooth"\n', "coefficient is 'smooth', expected one of"),
    ],
    ids=["unknown key", "folder", "no TOML", "wrong type", "unknown choice"],
)
def test_a_configuration_that_is_none_is_named(home, capsys, text, said):
    (home / "wrong.toml").write_text(text)
    message = fails(capsys, "train", "darcy-fno", "--folder", "never", "--config", "wrong.toml")
    assert "wrong.toml" in message and said in message
    assert not (home / "never").exists()


def test_a_missing_configuration_is_named(home, capsys):
    assert "absent.toml" in fails(capsys, "train", "darcy-fno", "--folder", "never", "--config", "absent.toml")


# Evaluation -----------------------------------------------------------------------------------------------------------


def test_a_saved_surrogate_is_evaluated_on_a_file(run, data, capsys):
    capsys.readouterr()
    cli.main(
        ["evaluate", str(run / "best.sgx"), "--data", str(data), "--metrics", "rel_l2", "rmse", "--out", "rows.json"]
    )
    said = capsys.readouterr().out
    assert "rel_l2 @ test" in said and "rmse @ test" in said and "best.sgx" in said
    rows = json.loads((run.parent / "rows.json").read_text())["rows"]
    data = sx.open(data)
    u, v, w = sx.load(run / "best.sgx").predict(data)["u"], data["u"], data.grid.weights
    expected = np.sqrt(((u - v) ** 2 * w).sum((1, 2)) / (v**2 * w).sum((1, 2))).mean()
    np.testing.assert_allclose(rows[0]["mean"], expected, rtol=1e-5)


def test_files_that_cannot_be_evaluated_are_named(run, data, capsys):
    assert "absent.sgx" in fails(capsys, "evaluate", "absent.sgx", "--data", data)
    other = sx.from_arrays({"b": np.zeros((2, 9, 9))}, grid=sx.Grid.unit_square(9))
    write_well(run.parent / "other.hdf5", other, name="other")
    assert "no field 'a'" in fails(capsys, "evaluate", run / "best.sgx", "--data", "other.hdf5")
    short = run.parent / "short.sgx"
    short.write_bytes((run / "best.sgx").read_bytes()[:-100])
    assert "short.sgx" in (said := fails(capsys, "evaluate", short, "--data", data)) and "cut short" in said
    assert "unknown metrics ['mape']" in fails(
        capsys, "evaluate", run / "best.sgx", "--data", data, "--metrics", "mape"
    )


# What it refuses ------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_named(data, capsys):
    assert "absent.hdf5" in fails(capsys, "describe", "absent.hdf5")
    short = data.parent / "short.hdf5"
    short.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert "short.hdf5" in fails(capsys, "describe", short)
    assert "short.hdf5" in fails(capsys, "convert", short, "--out", "never.hdf5")
    (data.parent / "notes.txt").write_text("no data at all")
    assert "of no known format" in fails(capsys, "describe", "notes.txt")
    assert "absent/out.hdf5" in fails(capsys, "convert", data, "--out", "absent/out.hdf5")


def test_a_problem_in_time_is_generated_at_given_instants_only(home, capsys):
    assert "heat is time-dependent: give --frames" in fails(capsys, "generate", "heat", "--out", "x.hdf5")


def test_laws_are_set_on_the_command_line(home, capsys):
    """Numbers, laws and boxes; by default no finer grid where there are cells."""
    settings = [
        "--set",
        "nu",
        "Uniform(0.1, 0.2)",
        "box",
        "Box(x=(0, 2*pi, periodic))",
        "u0",
        "sx.random.SumOfWaves(waves=1)",
    ]
    times = ["--frames", "3", "--until", "0.5"]
    cli.main(["generate", "heat", "--out", "heat.hdf5", "--n", "2", "--grid", "8", *times, *settings])
    heat = sx.open("heat.hdf5")
    assert heat.grid.box.extent == (2 * np.pi,) and heat["u"].shape == (2, 3, 8) and heat.times[-1] == 0.5
    assert ((heat["nu"] > 0.1) & (heat["nu"] < 0.2)).all() and heat["nu"][0] != heat["nu"][1]
    for words, said in [
        (["nu", "Unifrom(0, 1)"], "unknown law 'Unifrom' in 'Unifrom(0, 1)'; known: "),
        (["nu", "Uniform"], "Uniform needs its arguments, Uniform(low=0.0, high=1.0)"),
        (["nu", "Uniform(0, 1, 2)"], "write Uniform(low=0.0, high=1.0)"),
        (["nu", "__import__('os')"], "unknown law '__import__'"),
        (["nu", "[n for n in x]"], "is no number, word, tuple, law or box"),
        (["nu", "1 +"], "is no value; write a number"),
        (["viscosity", "1"], "unexpected keyword argument 'viscosity'; its arguments are nu=0.01"),
        (["u0", "Riemann((1, 1), (0, 0), (1, 1))"], "the law of density0, velocity0, pressure0 together"),
    ]:
        assert said in fails(capsys, "generate", "heat", "--out", "x.hdf5", "--frames", "2", "--set", *words)


@pytest.mark.nightly
def test_cells_and_laws_of_several_inputs(home):
    """The parts of one law, and a grid of the problem's own."""
    law = ["--set", "density0", "GasWaves(1.0, modes=2)", "box", "Box(x=(0, 1, periodic), y=(0, 1, periodic))"]
    cli.main(
        ["generate", "euler", "--out", "gas.hdf5", "--n", "1", "--grid", "8", "--frames", "2", "--until", "0.01", *law]
    )
    assert set(sx.open("gas.hdf5").fields) >= {"density0", "velocity0", "pressure0", "density", "velocity", "pressure"}
    cli.main(["generate", "shallow_water", "--out", "dam.hdf5", "--n", "1", "--grid", "8", "6", "--frames", "2"])
    assert sx.open("dam.hdf5")["depth"].shape == (1, 2, 8, 6)
    own = ["--set", "grid", "(12, 6)", "inflow", "Uniform(0.5, 1)"]
    cli.main(["generate", "channel_flow", "--out", "channel.hdf5", "--n", "1", "--frames", "2", "--until", "0.1", *own])
    assert sx.open("channel.hdf5")["velocity"].shape == (1, 2, 12, 6, 2)


@pytest.mark.parametrize(
    "args", [["simulate"], ["describe"], ["generate", "heat", "--out", "x", "--n", "many"], ["train", "fno"]]
)
def test_a_command_line_that_is_none_ends_with_status_2(home, capsys, args):
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    assert stop.value.code == 2
    if args == ["simulate"]:
        assert capsys.readouterr().err == (
            "surrogax: unknown command 'simulate'; use one of train, generate, describe, verify, convert, evaluate\n"
        )


def test_help_lists_the_commands_and_the_defaults(capsys):
    cli.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in ("generate", "describe", "verify", "convert", "train", "evaluate"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "darcy-fno", "--help"])
    assert stop.value.code == 0 and "(default: 0.004)" in capsys.readouterr().out
