"""The surrogates that are known by name, for the command line and for benchmarks."""

import inspect
from collections.abc import Callable
from typing import Any

from ..core.arguments import checked, random_key
from ..datasets.dataset import Dataset
from .baselines import LinearSpectral, MeanField, Persistence, UNet
from .operators.deeponet import DeepONet
from .operators.ffno import FFNO
from .operators.fno import FNO
from .operators.gino import GINO
from .operators.neural_spectral import NeuralSpectral
from .operators.pod_deeponet import PODDeepONet
from .operators.point_net import PointNet
from .operators.transolver import Transolver
from .operators.uno import UNO
from .physics.models import PIG, PINN, SPINN, RandomFeatures
from .reduced import LocalPOD, PODRegression
from .task.task import Task

Maker = Callable[..., Any]

_MODELS: dict[str, Maker] = {
    "fno": FNO, "ffno": FFNO, "uno": UNO, "unet": UNet, "deeponet": DeepONet, "pod-deeponet": PODDeepONet,
    "transolver": Transolver, "gino": GINO, "pointnet": PointNet, "pod-regression": PODRegression, "local-pod": LocalPOD,
    "linear-spectral": LinearSpectral, "mean": MeanField, "persistence": Persistence,
    "neural-spectral": NeuralSpectral, "pinn": PINN, "spinn": SPINN, "pig": PIG, "random-features": RandomFeatures,
}  # fmt: skip


@checked
def register_model(name: str) -> Callable[[Maker], Maker]:
    """Decorator: make a function or class known by name, so that `surrogax train --model NAME` builds it.

        @register_model("my-net")
        def my_net(task, *, width: int = 32, key):
            return wrap(MyNet(task.in_channels, task.out_channels, width, key=key), task)

    It is called with the task and, if it has arguments of these names, with the training data `train` and a random `key`. One
    that has an argument `problem` is called with the problem that the data were generated from instead of the task: it learns
    from the residual of the equation, without data. Its other keyword arguments are options of the command line: numbers, words,
    `Literal`s and tuples of these, with their defaults; lines "- `width`: …" of its docstring are their help.

    **Raises:** `ValueError` for a name that another model has. The same function may be defined again.

    **Example:**

        >>> @sx.register_model("docs-mean")
        ... def mean_of_field(task):
        ...     return sx.MeanField(task)
        >>> type(mean_of_field(task)).__name__
        'MeanField'
    """

    def decorate(make: Maker) -> Maker:
        known = _MODELS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (make.__module__, make.__qualname__):
            raise ValueError(
                f"the model {name!r} is registered by {known.__module__}.{known.__qualname__}; choose another name"
            )
        _MODELS[name] = make
        return make

    return decorate


def registered_models() -> dict[str, Maker]:
    """The known models by name."""
    return dict(_MODELS)


def learns_without_data(name: str) -> bool:
    """Whether the registered model `name` learns from the residual of a problem alone."""
    return "problem" in inspect.signature(_MODELS[name]).parameters


@checked
def make_model(name: str, task: Task, train: Dataset, key: Any, **options: Any) -> Any:
    """The registered model `name` for a task, or for the problem of the data if it learns without data, ready for `fit`.

    **Raises:** `ValueError` for an unknown name, and for data that know no problem if it needs one; what the model raises.
    """
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(_MODELS)}")
    make, of = _MODELS[name], task
    if learns_without_data(name):
        of = train.problem
        if of is None:
            raise ValueError(
                f"the model {name!r} learns from the residual of a problem, which these data do not know; generate them from one"
            )
    known = inspect.signature(make).parameters
    given = {"train": train, "key": random_key("make_model", key)}
    return make(of, **{k: v for k, v in given.items() if k in known}, **options)
