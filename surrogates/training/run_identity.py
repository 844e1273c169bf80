"""The identity of a training run, which must agree with that of a run folder before the run can be resumed."""

from typing import Any

from ...core.identity import identity_of
from ...datasets.dataset import Dataset
from ..trainable import AbstractTrainable
from .identity import data_identity
from .objective import AbstractObjective
from .solver_source import SolverSource
from .steps import AbstractStep


def run_identity(
    models: list[AbstractTrainable],
    objective: AbstractObjective,
    optimizer: AbstractStep,
    data: Dataset | SolverSource | None,
    val: Any,
    names: tuple[str, ...],
    **settings: Any,
) -> dict[str, Any]:
    """The content of everything on which the numbers of a training run depend. The number of steps is not part of it, so that a
    finished run can be continued with more steps.

    **Arguments:** `names`: the arrays of the data that enter the identity. `settings`: further values by name.
    """

    def content(source):
        return data_identity(source, names) if isinstance(source, Dataset) else identity_of(source)

    return {
        "train": content(data),  # first, as the length of a round follows from it
        "val": content(val),
        **{name: identity_of(value) for name, value in settings.items()},
        "objective": identity_of(objective),
        "optimizer": identity_of(optimizer),
        "model": [identity_of(model) for model in models],
    }
