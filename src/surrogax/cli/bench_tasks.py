"""The tasks of `surrogax bench`: data, and the models that can learn from them with settings that suit their size."""

from typing import Any, NamedTuple

from .bench_data import AbstractBenchData, OfSettings, StarDomains
from .presets import BURGERS, DARCY, KURAMOTO_SIVASHINSKY, NAVIER_STOKES, THERMAL_BLOCK


class BenchTask(NamedTuple):
    """One sentence about a task, its settings as in a TOML file, its models with their options by name, and where its data come
    from."""

    says: str
    settings: dict[str, Any]
    models: dict[str, dict[str, Any]]
    data: AbstractBenchData = OfSettings()


_STEPS: dict[str, dict[str, Any]] = {
    "fno": {"modes": 24}, "ffno": {"modes": 24}, "uno": {"modes": 16}, "unet": {"width": 16}, "deeponet": {}, "persistence": {},
}  # fmt: skip

TASKS = {
    "darcy": BenchTask(
        "Darcy flow: from a permeability of two values to the pressure, 29², and 57² that no model saw.",
        DARCY,
        {
            "fno": {"width": 24, "modes": 10, "padding": 0.25}, "ffno": {"modes": 10, "padding": 0.25},
            "uno": {"width": 16, "modes": 8}, "unet": {"width": 16}, "deeponet": {}, "pod-deeponet": {},
            "pod-regression": {}, "local-pod": {"clusters": 5, "rank": 32}, "linear-spectral": {"modes": 10},
        },
    ),
    "burgers": BenchTask("Burgers' equation, one step of 0.05 after the other; rollouts of 20.", BURGERS, _STEPS),
    "kuramoto-sivashinsky": BenchTask(
        "The chaotic Kuramoto-Sivashinsky equation, one step after the other; rollouts of 80.", KURAMOTO_SIVASHINSKY, _STEPS
    ),
    "navier-stokes": BenchTask(
        "Vorticity of a forced flow in 2D, ν = 1e-3, one step of 1 after the other; rollouts of 19.",
        NAVIER_STOKES,
        {**_STEPS, "fno": {"modes": 12, "width": 20}, "ffno": {"modes": 12}, "uno": {"modes": 12, "width": 16}},
    ),
    "thermal-block": BenchTask(
        "Stationary heat in a square of 2 × 2 blocks, from four conductivities over two decades.",
        THERMAL_BLOCK,
        {"pod-regression": {}, "local-pod": {"clusters": 4, "rank": 24}, "deeponet": {}, "pod-deeponet": {}},
    ),
    "star-poisson": BenchTask(
        "Poisson's equation on random star-shaped domains, on meshes of 500 or 1000 points that differ per sample.",
        {
            "inputs": ["f", "d"], "targets": ["u"], "train": 240, "val": 30, "test": 60, "batch_size": 4,
            "optimizer": {"name": "adamw", "learning_rate": 3e-3},
        },
        {
            "transolver": {"width": 32, "slices": 16, "heads": 2},
            "gino": {"grid": 24, "modes": 8, "depth": 3, "reach": 1}, "pointnet": {},
        },
        StarDomains((490, 1020)),
    ),
}  # fmt: skip
