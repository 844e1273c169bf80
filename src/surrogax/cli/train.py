"""The command that trains an FNO on Darcy flow, compares it with other surrogates and writes a report."""

import json
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import jax
import numpy as np
import optax

from ..core.addresses import address_of
from ..core.files import atomic_write, write_json
from ..datasets.dataset import Dataset
from ..datasets.generation import generate
from ..solvers import random
from ..solvers.pde import problem
from ..surrogates.baselines import LinearSpectral, MeanField, SolverSurrogate
from ..surrogates.evaluation import plots
from ..surrogates.evaluation.evaluate import evaluate
from ..surrogates.evaluation.report import Heading, Paragraph, Picture, Results, Settings, write_report
from ..surrogates.operators.fno import FNO, ORIGINAL
from ..surrogates.reduced.pod_regression import PODRegression
from ..surrogates.task.task import Task
from ..surrogates.training.checkpoint import environment
from ..surrogates.training.fit import fit


@dataclass(frozen=True)
class DarcyFNO:
    """Train a Fourier neural operator on Darcy flow, compare it with other surrogates and the solver, write a report.

    The same command resumes an interrupted run. The run folder holds config.toml, metrics.jsonl (an epoch per line),
    metrics.json, table.json, best.sgx and last.sgx (the saved surrogates), checkpoints/, environment.json and report.html.
    """

    folder: Path = Path("runs/darcy-fno")
    """Run folder, on this machine."""
    config: Path | None = None
    """The config.toml of another run; it replaces all settings below."""
    coefficient: Literal["threshold", "lognormal"] = "threshold"
    """Law of the permeability: the two values 12 and 3 (threshold, as in the FNO paper), or smooth (lognormal)."""
    grid: int = 57
    """Points per axis, ends included, of the stored data and of the zero-shot test."""
    refine: int = 2
    """Solve on a grid this many times finer than the stored one."""
    subsample: int = 2
    """Train on every n-th stored point per axis, n being this number."""
    train: int = 1000
    """Training samples."""
    val: int = 100
    """Validation samples."""
    test: int = 200
    """Test samples, read once, for the report."""
    width: int = 24
    """Channels of the network."""
    modes: int = 10
    """Frequencies kept per axis and sign."""
    depth: int = 4
    """Number of Fourier blocks."""
    padding: float = 0.25
    """Width of the zero padding of the domain, as a fraction of the domain."""
    network: Literal["default", "original"] = "default"
    """Details of the network: this library's, or those of the original paper (ReLU, batch normalisation)."""
    schedule: Literal["onecycle", "halving"] = "onecycle"
    """Schedule of AdamW's learning rate: one cosine cycle, or halved every 100 epochs (paper)."""
    learning_rate: float = 4e-3
    """Largest learning rate."""
    weight_decay: float = 1e-4
    """Decoupled weight decay, per unit of learning rate."""
    epochs: int = 12
    """Passes over the training data."""
    batch_size: int = 20
    """Samples per optimiser step."""
    symmetry: bool = True
    """Augment the data: transform every sample by a random one of the eight symmetries of the square."""
    seeds: int = 1
    """Networks trained at once from different initial weights."""
    seed: int = 0
    """Seed of data, weights and batches."""

    def run(self) -> None:
        """Train, or resume, or say that the run is finished.

        **Raises:** `ValueError` if the folder holds a run with other settings, or the config file has unknown ones.
        """
        settings = self if self.config is None else _read_config(self.config, self.folder)
        folder = settings.folder
        if (place := address_of(folder)) is not None:
            raise ValueError(
                f"--folder {place}: `surrogax train` writes its run folder on this machine only; give a local folder, "
                "or train by fit(run=…) in Python, which takes addresses"
            )
        if (folder / "metrics.json").exists() and _same_settings(folder, settings):
            metrics = json.loads((folder / "metrics.json").read_text())
            print(
                f"{folder} is finished: {json.dumps(metrics)}. Open {folder / 'report.html'}, or choose another folder."
            )
            return
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "config.toml").exists() and not _same_settings(folder, settings):
            raise ValueError(
                f"{folder} holds a run of another configuration (see its config.toml); choose another --folder"
            )
        _write_config(folder / "config.toml", settings)
        _train(settings, folder)

    def datasets(self) -> tuple[Dataset, Dataset, Dataset]:
        """Training, validation and test data on the stored grid, before subsampling."""
        k_data, k_split, _, _ = _keys(self)
        darcy = problem("darcy", a=random.Threshold(12, 3) if self.coefficient == "threshold" else random.Lognormal())
        data = generate(darcy, self.train + self.val + self.test, self.grid, k_data, refine=self.refine)
        train, val, test = data.split(train=self.train, val=self.val, test=self.test, key=k_split)
        return train, val, test


PRESETS = {
    "darcy-fno": (
        "FNO on 29² Darcy flow: data, training and report in under three minutes on two cores.",
        DarcyFNO(),
    ),
    "darcy-fno-paper": (
        "The original paper's setting: 85² from 421², 500 epochs. Hours on a CPU, minutes on a GPU.",
        DarcyFNO(
            folder=Path("runs/darcy-fno-paper"), grid=421, refine=1, subsample=5, test=100, width=32, modes=12,
            padding=10 / 84, network="original", schedule="halving", learning_rate=1e-3, epochs=500, symmetry=False,
        ),
    ),
}  # fmt: skip


def _keys(s: DarcyFNO):
    """Four random keys: for the data, the split, the initial weights and the batches."""
    return jax.random.split(jax.random.key(s.seed), 4)


def _train(s: DarcyFNO, folder: Path) -> None:
    _, _, k_model, k_fit = _keys(s)
    train, val, test = s.datasets()
    darcy = train.problem
    assert darcy is not None  # the data are generated
    coarse_train, coarse_val = train.subsample(s.subsample), val.subsample(s.subsample)
    task = Task.fit(coarse_train, inputs="a", targets="u")
    details = ORIGINAL if s.network == "original" else {}
    model = FNO(task, width=s.width, modes=s.modes, depth=s.depth, padding=s.padding, key=k_model, **details)
    result = fit(
        model, coarse_train, val=coarse_val, optimizer=_optimizer(s), epochs=s.epochs, batch_size=s.batch_size,
        seeds=s.seeds, symmetry=s.symmetry, run=folder, key=k_fit,
    )  # fmt: skip
    result.best.save(folder / "best.sgx")
    result.last.save(folder / "last.sgx")

    spectral = fit(LinearSpectral(task, modes=s.modes), coarse_train)
    pod = fit(PODRegression(task, rank=64), coarse_train, val=coarse_val)
    n = coarse_train.grid.shape[0]
    solvers = {
        f"solver {m}²": SolverSurrogate(darcy, m, rtol) for m, rtol in ((n // 2 + 1, 1e-2), (n, 1e-3), (s.grid, 1e-3))
    }
    surrogates = {"FNO": result, "POD + GP": pod, "linear spectral": spectral, "mean": MeanField(task), **solvers}
    here, fine = f"{n}²", f"{s.grid}² (zero-shot)"
    table = evaluate(surrogates, {here: test.subsample(s.subsample), fine: test}, metrics=("rel_l2", "rel_h1"))
    metrics = {
        "test_rel_l2": table.value("FNO", here),
        "zero_shot_rel_l2": table.value("FNO", fine),
        "label_error": test.attributes["label_error"]["u"],
        "seconds_train": float(np.sum(result.history.seconds)),
        "device": jax.devices()[0].device_kind,
        "parameters": result.parameters,
    }
    table.to_json(folder / "table.json")
    _report(folder, s, result, table, {here: test.subsample(s.subsample), fine: test}, metrics)
    write_json(folder / "metrics.json", metrics)
    print(table)
    print(f"\nReport: {folder / 'report.html'}\n{json.dumps(metrics)}")


def _report(folder: Path, s: DarcyFNO, result, table, datasets, metrics) -> None:
    here, fine = datasets
    l2 = replace(table, rows=[r for r in table.rows if r.metric == "rel_l2"])
    names = {"FNO": result.best}
    parts = [
        Paragraph(
            f"Fourier neural operator on Darcy flow, −∇·(a∇u) = 1 on the unit square, u = 0 on its boundary: "
            f"{s.train} training samples, {result.parameters:,} parameters, {metrics['seconds_train']:.0f} s of training."
        ),
        Heading("Test errors"),
        Results(table),
        Heading("Samples"),
        Picture(
            f"Test samples at {here}: input, solution, prediction, error.",
            plots.plot_predictions(result.best, datasets[here]),
        ),
        Picture(f"The same at {fine}, a resolution never seen.", plots.plot_predictions(result.best, datasets[fine])),
        Heading("Training"),
        Picture("Mean relative L2 error per epoch.", result.history.plot()),
        Heading("Errors"),
        Picture(
            "Error against time per sample in full batches; grey: the front of surrogates that no other beats in both.",
            l2.pareto(dataset=here),
        ),
        Picture("Distribution over test samples.", plots.plot_error_histogram(l2, dataset=here)),
        Picture("Energy spectrum.", plots.plot_spectrum(names, datasets[fine])),
        Heading("Settings"),
        Settings(asdict(s)),
        Settings(environment()),
    ]
    write_report(folder / "report.html", "Darcy flow with a Fourier neural operator", parts)


def _optimizer(s: DarcyFNO) -> optax.GradientTransformation:
    per_epoch = s.train // min(s.batch_size, s.train)
    if s.schedule == "onecycle":
        rate = optax.cosine_onecycle_schedule(max(s.epochs * per_epoch, 1), s.learning_rate, pct_start=0.2)
    else:
        rate = optax.exponential_decay(s.learning_rate, 100 * per_epoch, 0.5, staircase=True)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=s.weight_decay))


def _plain(settings: DarcyFNO) -> dict:
    """The settings on which the results depend, as a dict of plain values."""
    return {k: v for k, v in asdict(settings).items() if k not in ("folder", "config")}


def _write_config(path: Path, settings: DarcyFNO) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in _plain(settings).items()]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _same_settings(folder: Path, settings: DarcyFNO) -> bool:
    path = folder / "config.toml"
    return path.exists() and tomllib.loads(path.read_text()) == _plain(settings)


def _read_config(path: Path, folder: Path) -> DarcyFNO:
    try:
        config = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no configuration of this command: {error}") from error
    kinds = get_type_hints(DarcyFNO)
    for name, value in config.items():
        if name not in _plain(DarcyFNO()):
            raise ValueError(f"{path}: unknown setting {name!r}; known: {', '.join(_plain(DarcyFNO()))}")
        choices = get_args(kinds[name])
        if value not in choices if choices else type(value) not in {kinds[name], int if kinds[name] is float else None}:
            expected = f"one of {', '.join(choices)}" if choices else kinds[name].__name__
            raise ValueError(f"{path}: {name} is {value!r}, expected {expected}")
    return DarcyFNO(folder=folder, **config)
