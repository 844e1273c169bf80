"""The command line, in this process and with tiny sizes: every command, run folders, and errors in one sentence."""

import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest

import surrogax as sx
from surrogax import cli
from surrogax.cli.bench_tasks import TASKS
from surrogax.cli.leaderboard import boards
from surrogax.datasets.formats.well_writer import write_well

TINY = (
    "--train 16 --val 4 --test 4 --problem.grid 17 --FNO.width 4 --FNO.modes 3 --FNO.depth 1 --epochs 1 --batch-size 4 "
    "--metrics rel_l2 --no-baselines --model FNO POD-GP --POD-GP.regressor rbf --POD-GP.input-rank 4"
)
TINY = TINY.split()
ALONE = "train --problem poisson --problem.grid 9 --train 2 --val 1 --test 2 --no-baselines --folder alone"
SPECTRAL = "--model neural-spectral --model.modes 3 --model.width 4 --model.depth 1 --steps 3 --optimizer.b2 0.95"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The working folder, with a cache of generated data that no other test sees."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURROGAX_CACHE", str(folder / "cache"))
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


@pytest.fixture(scope="module")
def trajectories(home):
    """A file of trajectories of an unknown origin, written by Dataset.save."""
    x, t = np.linspace(0, 2 * np.pi, 16, endpoint=False), np.linspace(0, 1, 6)
    phase = np.random.default_rng(0).uniform(0, 6, (20, 1, 1))
    w = np.sin(x - t[:, None] + phase).astype(np.float32)
    grid = sx.Box(x=(0.0, 2 * np.pi, "periodic")).grid(16)
    sx.from_arrays({"w": w}, grid=grid, times=t).save("waves.h5")
    return home / "waves.h5"


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
    assert list(metrics) == ["FNO", "POD-GP"]
    assert list(metrics["FNO"]) == ["test_rel_l2", "seconds", "parameters"]
    assert all(0 < each["test_rel_l2"] < 2 for each in metrics.values()) and metrics["FNO"]["seconds"] > 0
    assert metrics["FNO"]["parameters"] == sx.load(run / "FNO" / "best.sgx").parameters > 100
    assert all((run / name).exists() for name in ("config.toml", "table.json", "environment.json", "report.html"))
    assert all((run / "FNO" / name).exists() for name in ("metrics.jsonl", "last.sgx", "checkpoints"))
    assert len((run / "FNO" / "metrics.jsonl").read_text().splitlines()) == 1
    rows = json.loads((run / "table.json").read_text())["rows"]
    assert {r["dataset"] for r in rows} == {"9²", "17², not trained on"} and {r["metric"] for r in rows} == {"rel_l2"}
    html = (run / "report.html").read_text()
    assert html.count("data:image/png;base64") >= 6 and "http" not in html


def test_a_finished_run_says_so_and_is_left_alone(run, capsys):
    before = contents(run)
    capsys.readouterr()
    cli.main(["train", "darcy-fno", "--folder", str(run), *TINY])
    assert "run is finished: {" in capsys.readouterr().out
    assert contents(run) == before


def test_the_resolved_configuration_is_accepted_back(run, capsys):
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["train"] == 16 and config["optimizer"]["learning_rate"] == 4e-3 and "folder" not in config
    assert [m["name"] for m in config["model"]] == ["fno", "pod-regression"]
    assert config["model"][0]["width"] == 4 and config["problem"]["set"] == {"a": "Threshold(12, 3)"}
    for words in ([run / "config.toml"], [run]):
        capsys.readouterr()
        cli.main(["train", *map(str, words)])
        assert "run is finished" in capsys.readouterr().out


def test_another_configuration_in_the_same_folder_is_refused(run, capsys):
    before = contents(run)
    said = fails(capsys, "train", "darcy-fno", "--folder", run, *TINY, "--seed", 1)
    assert "run holds a run of other settings" in said and "choose another --folder" in said
    assert contents(run) == before


def test_any_file_any_model_and_a_rollout(trajectories, capsys):
    """Names of inputs, targets and mode are found; one model of the user's is known by name."""

    @sx.register_model("scaled")
    def scaled(task, *, power: int = 1, key):
        """One number.

        - `power`: of nothing.
        """
        return sx.FNO(task, width=2 * power, modes=2, depth=1, key=key)

    words = "--folder waves --model scaled fno --scaled.power 2 --fno.width 4 --fno.modes 4 --fno.depth 1 --epochs 2 --rollout 3"
    cli.main(["train", "--data", str(trajectories), *words.split(), "--mode.history", "2"])
    config = tomllib.loads((trajectories.parent / "waves" / "config.toml").read_text())
    assert config["mode"] == {"name": "autoregressive", "history": 2, "horizon": 1, "increments": False}
    assert config["model"][0] == {"label": "scaled", "name": "scaled", "power": 2} and "problem" in config
    metrics = json.loads((trajectories.parent / "waves" / "metrics.json").read_text())
    assert list(metrics["scaled"]) == ["test_rel_l2", "rollout_rel_l2", "seconds", "parameters"]
    rows = json.loads((trajectories.parent / "waves" / "rollout.json").read_text())["rows"]
    assert {r["surrogate"] for r in rows} == {"scaled", "fno", "persistence"} and {r["step"] for r in rows} == {0, 1, 2}
    capsys.readouterr()
    cli.main(["rollout", "waves/fno", "--data", str(trajectories), "--steps", "4", "--out", "ahead.h5"])
    ahead, truth = sx.open("ahead.h5"), sx.open(trajectories)
    assert ahead["w"].shape == (20, 4, 16)
    np.testing.assert_allclose(ahead.times, truth.times[2:])
    np.testing.assert_allclose(ahead["w"], sx.load("waves/fno/best.sgx").rollout(truth, 4)["w"], rtol=1e-5, atol=1e-6)
    longer = sx.open(trajectories)[:10].in_memory()
    longer.save(trajectories)
    said = fails(capsys, "train", "--data", trajectories, *words.split(), "--mode.history", "2")
    assert "as it was before; choose another --folder" in said
    said = fails(capsys, "train", "--data", trajectories, "--rollout", "9", "--folder", "never")
    assert "--rollout 9 is longer than the 6 instants" in said and not (trajectories.parent / "never").exists()
    assert "use surrogax rollout" in fails(capsys, "predict", "waves/fno", "--data", trajectories, "--out", "p.h5")
    assert "several surrogates" in fails(capsys, "predict", "waves", "--data", trajectories, "--out", "p.h5")


def test_options_that_mean_nothing_without_data_or_with_them_are_refused(home, capsys):
    words, network = ALONE.split(), SPECTRAL.split()
    for wrong, said in [
        (["--epochs", "3", *network], "--epochs means nothing for neural-spectral: learning without data"),
        (["--model", "pig", "fno", "--rollout", "3"], "--rollout means nothing for pig"),
        (["--model", "fno", "--steps", "3"], "--steps means nothing for fno: learning from data"),
    ]:
        assert said in fails(capsys, *words, *wrong) and not (home / "alone").exists()


@pytest.mark.nightly
def test_models_that_learn_without_data_are_trained_and_compared(home, capsys):
    """The problem instead of the task, steps instead of epochs."""
    words, network = ALONE.split(), SPECTRAL.split()
    cli.main([*words, *network])
    config = tomllib.loads((home / "alone" / "config.toml").read_text())
    assert config["steps"] == 3 and config["model"][0]["modes"] in (3, [3]) and config["optimizer"]["b2"] == 0.95
    metrics = json.loads((home / "alone" / "metrics.json").read_text())["neural-spectral"]
    assert 0 < metrics["test_rel_l2"] < 100 and metrics["seconds"] > 0 and (home / "alone" / "report.html").exists()
    assert (home / "alone" / "neural-spectral" / "best.sgx").exists()
    with pytest.raises(SystemExit):
        cli.main([*words[:-1], "field", "--model", "pinn"])
    assert "are random fields; trial functions" in capsys.readouterr().err and not (home / "field").exists()


@pytest.mark.nightly
def test_a_problem_in_time_is_learned_without_data_at_the_instants_of_the_model(home, capsys):
    words = [*ALONE.replace("poisson", "heat").replace("alone", "heat").split(), *SPECTRAL.split(), "--problem.frames"]
    with pytest.raises(SystemExit):
        cli.main([*words, "5"])
    assert "give --problem.frames 33 and --problem.until 1" in capsys.readouterr().err
    cli.main([*words, "33"])
    assert json.loads((home / "heat" / "metrics.json").read_text())["neural-spectral"]["test_rel_l2"] < 10


@pytest.mark.parametrize(
    "text, said",
    [
        ("train = 17\ncolour = 3\n", "unknown setting 'colour'; known: folder, data,"),
        ('folder = "elsewhere"\n', "unknown setting 'folder'"),
        ("train = \n", "no configuration"),
        ('train = "many"\n', "train is 'many', expected a whole number or None"),
        ('[model]\nname = "fnoo"\n', "unknown model 'fnoo'; known: fno, ffno"),
        ('[model]\nname = "fno"\nwidht = 3\n', "model fno: unknown setting 'widht'; known: width,"),
        ('[model]\nname = "fno"\nwidth = "wide"\n', "model fno: width is 'wide', expected a whole number"),
        ("[[model]]\nwidth = 3\n", "needs a name"),
        ('[[model]]\nname = "fno"\nlabel = "../a"\n', "the label '../a' names no folder"),
        (
            '[[model]]\nname = "fno"\nlabel = "seed"\n[[model]]\nname = "uno"\n',
            "the label 'seed' is the name of another",
        ),
    ],
    ids=[
        "unknown key",
        "folder",
        "no TOML",
        "kind",
        "model",
        "option",
        "kind of option",
        "nameless",
        "path",
        "setting",
    ],
)
def test_a_configuration_that_is_none_is_named(home, capsys, text, said):
    (home / "wrong.toml").write_text(text)
    assert said in fails(capsys, "train", "wrong.toml", "--folder", "never")
    assert not (home / "never").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["absent.toml"], "absent.toml"),
        (["darcy"], "no preset 'darcy'; there are darcy-fno,"),
        (["--folder", "s3://bucket/run", "--problem", "darcy"], "writes to this machine"),
        (["--model", "fno"], "give either --data FILE or --problem NAME"),
        (["--problem", "darcy", "--model"], "--model needs a name"),
        (["--problem", "darcy", "--model", "net"], "unknown model 'net'"),
        (["--problem", "darcy", "--problem.set", "a", "Treshold(12, 3)"], "unknown law 'Treshold'"),
        (["--problem", "heat"], "heat is time-dependent: give frames"),
        (["--problem", "darcy", "--axes", "u", "sample x"], "--axes describes the file of --data"),
        (["--data", "new.h5", "--problem.frames", "3"], "options of --problem mean nothing for --data"),
        (["--problem", "darcy", "--train", "0"], "train(train=0): expected 1 or more"),
        (["--problem", "darcy", "--metrics", "rel_l3"], "unknown metric 'rel_l3'"),
    ],
)
def test_words_that_state_no_training_are_answered(home, capsys, words, said):
    assert said in fails(capsys, "train", *words, *([] if "--folder" in words else ["--folder", "never"]))
    assert not (home / "never").exists()


# Use ------------------------------------------------------------------------------------------------------------------


def test_new_inputs_are_predicted_from_a_file_without_targets(run, data, capsys):
    inputs = sx.from_arrays({"a": sx.open(data)["a"]}, grid=sx.open(data).grid)
    inputs.save("inputs.h5")
    cli.main(["predict", str(run / "POD-GP"), "--data", "inputs.h5", "--out", "out.h5"])
    surrogate, found = sx.load(run / "POD-GP" / "best.sgx"), sx.open("out.h5")
    assert set(found.fields) == {"a", "u"}
    np.testing.assert_allclose(found["u"], surrogate.predict(inputs)["u"], rtol=1e-5)
    cli.main(["export", str(run / "FNO"), "--out", "fno.stablehlo"])
    assert (run.parent / "fno.stablehlo").stat().st_size > 1000


# Evaluation -----------------------------------------------------------------------------------------------------------


def test_a_saved_surrogate_is_evaluated_on_a_file(run, data, capsys):
    capsys.readouterr()
    cli.main(
        [
            "evaluate",
            str(run / "FNO" / "best.sgx"),
            "--data",
            str(data),
            "--metrics",
            "rel_l2",
            "rmse",
            "--out",
            "rows.json",
        ]
    )
    said = capsys.readouterr().out
    assert "rel_l2 @ test" in said and "rmse @ test" in said and "best.sgx" in said
    rows = json.loads((run.parent / "rows.json").read_text())["rows"]
    data = sx.open(data)
    u, v, w = sx.load(run / "FNO" / "best.sgx").predict(data)["u"], data["u"], data.grid.weights
    expected = np.sqrt(((u - v) ** 2 * w).sum((1, 2)) / (v**2 * w).sum((1, 2))).mean()
    np.testing.assert_allclose(rows[0]["mean"], expected, rtol=1e-5)


def test_files_that_cannot_be_evaluated_are_named(run, data, capsys):
    assert "absent.sgx" in fails(capsys, "evaluate", "absent.sgx", "--data", data)
    other = sx.from_arrays({"b": np.zeros((2, 9, 9))}, grid=sx.Grid.unit_square(9))
    write_well(run.parent / "other.hdf5", other, name="other")
    assert "no field 'a'" in fails(capsys, "evaluate", run / "FNO" / "best.sgx", "--data", "other.hdf5")
    short = run.parent / "short.sgx"
    short.write_bytes((run / "FNO" / "best.sgx").read_bytes()[:-100])
    assert "short.sgx" in (said := fails(capsys, "evaluate", short, "--data", data)) and "cut short" in said
    assert "unknown metrics ['mape']" in fails(
        capsys, "evaluate", run / "FNO" / "best.sgx", "--data", data, "--metrics", "mape"
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
    assert "heat is time-dependent: give frames" in fails(capsys, "generate", "heat", "--out", "x.hdf5")


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
    "args",
    [["simulate"], ["describe"], ["generate", "heat", "--out", "x", "--n", "many"], ["train", "darcy-fno", "--wide"]],
)
def test_a_command_line_that_is_none_ends_with_status_2(home, capsys, args):
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    assert stop.value.code == 2
    if args == ["simulate"]:
        assert capsys.readouterr().err == (
            "surrogax: unknown command 'simulate'; use one of generate, describe, verify, convert, train, evaluate, predict, "
            "rollout, export, bench, completion\n"
        )


def test_a_mistyped_command_is_guessed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["trian"])
    assert capsys.readouterr().err == "surrogax: unknown command 'trian'; did you mean train?\n"


@pytest.mark.nightly
def test_the_script_for_completion_completes_in_bash(capsys, tmp_path):
    cli.main(["completion", "bash"])
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    cli.main(["completion", "zsh"])
    assert "bashcompinit" in capsys.readouterr().out

    def completed(*words: str) -> set[str]:
        told = f"source {tmp_path / 'completion'}; COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
        code = told + "_surrogax; printf '%s\\n' \"${COMPREPLY[@]}\""
        return set(subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split())

    assert completed("surrogax", "tr") == {"train"} and "--version" in completed("surrogax", "--")
    assert {"--epochs", "--problem.grid", "--model.width", "--optimizer.learning-rate"} <= completed(
        "surrogax", "train", "--"
    )
    assert completed("surrogax", "train", "--model", "pod-r") == {"pod-regression"}
    assert completed("surrogax", "predict", "--st") == {"--std"}
    assert "darcy-fno" in completed("surrogax", "train", "darcy-") and completed(
        "surrogax", "generate", "navier_stokes_v"
    )


def test_help_lists_the_commands_and_the_defaults(capsys):
    cli.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in ("generate", "describe", "verify", "convert", "train", "evaluate"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "darcy-fno", "--help"])
    said = capsys.readouterr().out
    assert (
        stop.value.code == 0 and "(default: 0.004)" in said and "linear-spectral" in said and "frequencies kept" in said
    )
    (line,) = (line for line in said.splitlines() if "--optimizer " in line and "soap" in line)
    assert "Several" not in line and "Several models, --model fno deeponet," in said


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch, capsys):
    def closed(name, words):
        raise BrokenPipeError

    monkeypatch.setattr("surrogax.cli.entry_point.run_command", closed)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # main replaces it
    with pytest.raises(SystemExit) as stop:
        cli.main(["describe", "file"])
    sys.stdout.close()
    assert stop.value.code == 141 and not capsys.readouterr().err


# Leaderboard ----------------------------------------------------------------------------------------------------------


def test_tasks_and_models_that_there_are_not_are_named(home, capsys):
    assert "unknown task 'darcyy'; there are darcy, burgers," in fails(capsys, "bench", "darcyy")
    assert "unknown model 'net'" in fails(capsys, "bench", "darcy", "--models", "net")
    assert "expected module:function" in fails(capsys, "bench", "darcy", "--add", "module")
    assert "learns without data" in fails(capsys, "bench", "darcy", "--models", "pinn")
    assert "--add absent:net" in fails(capsys, "bench", "darcy", "--add", "absent:net")
    for minutes in ("0", "-1", "nan"):
        assert "bench(minutes=" in fails(capsys, "bench", "darcy", "--minutes", minutes)


@pytest.mark.nightly
def test_a_leaderboard_goes_on_and_takes_own_models(home, capsys, monkeypatch):
    small = {
        "train": 10,
        "val": 2,
        "test": 4,
        "problem": {"name": "thermal_block", "set": {"blocks": "(2, 1)"}, "grid": [9]},
    }
    task = TASKS["thermal-block"]
    monkeypatch.setitem(TASKS, "thermal-block", task._replace(settings={**task.settings, **small}))
    (home / "mine.py").write_text(
        "import surrogax as sx\n\ndef tiny(task, *, key, basis: int = 4):\n    return sx.DeepONet(task, basis=basis, key=key)\n"
    )
    words = ["bench", "thermal-block", "--minutes", "0.001", "--models", "deeponet"]
    cli.main(words)
    rows = home / "runs" / "bench" / "thermal-block"
    before = (rows / "deeponet.json").read_bytes()
    (home / "runs" / "bench" / "leaderboard.html").unlink()
    cli.main(words)
    assert (rows / "deeponet.json").read_bytes() == before and (home / "runs" / "bench" / "leaderboard.html").exists()
    cli.main(
        ["bench", "thermal-block", "--models", "mean", "--add", "mine:tiny", "--folder", "other", "--minutes", "0.001"]
    )
    found = json.loads((home / "other" / "leaderboard.json").read_text())["rows"]
    assert {"mean", "tiny", "solver 9², rtol 0.0001"} <= {row["surrogate"] for row in found}
    by = {row["surrogate"]: row for row in found}
    assert {by[name]["kind"] for name in ("mean", "tiny", "solver 9², rtol 0.0001")} == {"baseline", "model", "solver"}
    assert by["tiny"]["solver"] in by and by["tiny"]["epochs"] >= 3 and by["mean"]["queries"] is None
    assert "row of other settings, minutes or versions" in fails(capsys, *words[:3], "1", *words[4:])


@pytest.mark.nightly
def test_star_domains_have_a_board_with_their_solver(home, monkeypatch):
    task = TASKS["star-poisson"]
    small = task._replace(
        settings={**task.settings, "train": 8, "val": 2, "test": 4},
        models={
            "pointnet": {"width": 8, "depth": 2},
            "gino": {"width": 4, "grid": 8, "modes": 2, "depth": 1, "reach": 1},
        },
        data=type(task.data)((40, 60)),
    )
    monkeypatch.setitem(TASKS, "star-poisson", small)
    cli.main(["bench", "star-poisson", "--minutes", "0.001", "--folder", "stars"])
    rows = json.loads((home / "stars" / "leaderboard.json").read_text())["rows"]
    errors = {row["surrogate"]: row["mean"] for row in rows if row["metric"] == "rel_l2"}
    loose, tight = (errors[f"solver on the mesh, rtol {rtol:g}"] for rtol in (1e-1, 1e-4))
    assert {"pointnet", "gino"} <= set(errors) and tight < loose and tight < 0.2
    assert all(row["ms_per_sample"] > 0 for row in rows)


@pytest.mark.nightly
def test_a_board_in_time_has_solvers_rollouts_and_error_bars(home, monkeypatch):
    for name, problem, models in [
        ("burgers", {"grid": [32], "frames": 5, "until": 0.2}, {"fno": {"modes": 4, "width": 4, "depth": 1}}),
        ("darcy", {"grid": [17], "refine": 1}, {"pod-regression": {"rank": 4, "input_rank": 4}}),
    ]:
        task = TASKS[name]
        small = {"problem": {**task.settings["problem"], **problem}, "train": 10, "val": 2, "test": 4}
        small |= {"rollout": 3} if name == "burgers" else {}
        monkeypatch.setitem(TASKS, name, task._replace(settings={**task.settings, **small}, models=models))
    cli.main(["bench", "burgers", "darcy", "--minutes", "0.001", "--folder", "timed"])
    record = json.loads((home / "timed" / "leaderboard.json").read_text())
    assert set(record["tasks"]) == {"burgers", "darcy"} and "command" not in record["environment"]
    rows = [row for row in record["rows"] if row["task"] == "burgers"]
    solvers = {row["surrogate"] for row in rows if row["kind"] == "solver"}
    assert solvers == {
        f"solver {n}, rtol {r}" for n, r in [(4, 0.001), (8, 0.001), (16, 0.001), (16, "1e-06"), (32, "1e-06")]
    }
    assert {row["rollout"] for row in rows if row["surrogate"] in solvers} == {None, 3}
    covered = {row["surrogate"] for row in record["rows"] if row["metric"] == "coverage_90"}
    assert covered == {"pod-regression"}
    (board,) = [b for b in boards(record) if b.name == "darcy"]
    heads, cells = board.cells()
    assert heads[-3:] == ["training s", "epochs", "N*"] and any("coverage_90" in head for head in heads)
    assert {row[0]: row[-3] for row in cells}["mean"] == ""
