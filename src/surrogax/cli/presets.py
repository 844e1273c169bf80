"""Settings that have a name: `surrogax train NAME`. Those without "paper" finish within minutes on two cores."""

from typing import Any, NamedTuple

from ..surrogates.operators.fno import ORIGINAL


class Preset(NamedTuple):
    """One sentence about the settings, and the settings themselves, as a TOML file has them."""

    says: str
    settings: dict[str, Any]


DARCY = {
    "problem": {"name": "darcy", "set": {"a": "Threshold(12, 3)"}, "grid": [57], "refine": 2},
    "inputs": ["a"], "targets": ["u"], "subsample": 2, "train": 1000, "val": 100, "test": 200, "epochs": 12,
    "symmetry": True, "metrics": ["rel_l2", "rel_h1"], "optimizer": {"name": "adamw", "learning_rate": 4e-3},
}  # fmt: skip
_PAPER = {
    **DARCY, "problem": {"name": "darcy", "set": {"a": "Threshold(12, 3)"}, "grid": [421], "refine": 1}, "subsample": 5,
    "test": 100, "epochs": 500, "symmetry": False,
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "halving"},
}  # fmt: skip
BURGERS = {
    "problem": {"name": "burgers", "grid": [256], "refine": 1, "frames": 21, "until": 1.0}, "targets": ["u"],
    "mode": {"name": "autoregressive"}, "subsample": 2, "train": 200, "val": 25, "test": 50, "epochs": 10, "rollout": 20,
}  # fmt: skip
KURAMOTO_SIVASHINSKY = {
    "problem": {"name": "kuramoto_sivashinsky", "grid": [128], "refine": 1, "frames": 101, "until": 100.0}, "targets": ["u"],
    "mode": {"name": "autoregressive", "increments": True}, "train": 64, "val": 8, "test": 16, "epochs": 10, "rollout": 80,
    "metrics": ["rel_l2", "correlation"],
}  # fmt: skip
NAVIER_STOKES = {
    "problem": {"name": "navier_stokes", "set": {"nu": "1e-3"}, "grid": [64], "refine": 1, "frames": 20, "until": 19.0},
    "inputs": ["w"], "targets": ["w"], "mode": {"name": "autoregressive"}, "train": 48, "val": 6, "test": 12, "epochs": 10,
    "rollout": 19,
}  # fmt: skip
THERMAL_BLOCK = {
    "problem": {"name": "thermal_block", "set": {"blocks": "(2, 2)"}, "grid": [33], "refine": 1}, "targets": ["u"],
    "train": 300, "val": 50, "test": 100, "epochs": 100,
}  # fmt: skip

PRESETS = {
    "darcy-fno": Preset(
        "FNO on 29² Darcy flow beside POD with Gaussian processes, a linear map and the solver, in under three minutes.",
        {
            **DARCY,
            "model": [
                {"label": "FNO", "name": "fno", "width": 24, "modes": 10, "padding": 0.25},
                {"label": "POD-GP", "name": "pod-regression", "rank": 64},
                {"label": "linear spectral", "name": "linear-spectral", "modes": 10},
            ],
        },
    ),
    "darcy-fno-paper": Preset(
        "The original paper's setting, 85² from 421² and 500 epochs: hours on a CPU, minutes on a GPU.",
        {
            **_PAPER,
            "model": {"label": "FNO", "name": "fno", "width": 32, "modes": 12, "padding": 10 / 84, **ORIGINAL},
        },
    ),
    "darcy-ffno": Preset(
        "Factorised FNO on 29² Darcy flow.", {**DARCY, "model": {"name": "ffno", "modes": 10, "padding": 0.25}}
    ),
    "darcy-uno": Preset(
        "U-shaped neural operator on 29² Darcy flow.", {**DARCY, "model": {"name": "uno", "width": 16, "modes": 8}}
    ),
    "darcy-unet": Preset(
        "U-Net on 29² Darcy flow, the convolutional baseline.", {**DARCY, "model": {"name": "unet", "width": 16}}
    ),
    "darcy-deeponet": Preset(
        "DeepONet and POD-DeepONet on 29² Darcy flow.",
        {**DARCY, "epochs": 60, "model": [{"name": "deeponet"}, {"name": "pod-deeponet"}]},
    ),
    "darcy-pod": Preset(
        "POD with four regressors on 29² Darcy flow, fitted without an optimiser.",
        {
            **DARCY,
            "model": [{"label": f"POD-{r}", "name": "pod-regression", "regressor": r} for r in ("gp", "rbf", "linear")]
            + [{"name": "local-pod"}],
        },
    ),
    "burgers-fno": Preset(
        "FNO steps through Burgers' equation; a rollout of 20.", {**BURGERS, "model": {"name": "fno", "modes": 24}}
    ),
    "burgers-deeponet": Preset("DeepONet steps through Burgers' equation.", {**BURGERS, "model": {"name": "deeponet"}}),
    "ks-fno": Preset(
        "FNO steps through the chaotic Kuramoto-Sivashinsky equation.",
        {**KURAMOTO_SIVASHINSKY, "model": {"name": "fno", "modes": 24}},
    ),
}
