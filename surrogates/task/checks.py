"""What `Task.fit` refuses: roles that do not fit together, values that are not finite."""

from collections.abc import Mapping

import numpy as np

from ...datasets.source import FieldSpec


def check_roles(
    specs: Mapping[str, FieldSpec], inputs: tuple[str, ...], targets: tuple[str, ...], history: int, predict: str
) -> None:
    """`ValueError` for targets that are no fields, and where time axes, `history` and `predict` contradict each other."""
    for name in targets:
        if specs[name].role != "field":
            raise ValueError(f"target {name!r} is a {specs[name].role}; only fields can be predicted")
    timed = [n for n in specs if specs[n].time]
    if history == 0 and timed:
        raise ValueError(f"fields {timed} have a time axis: an autoregressive task needs history=1 or more")
    if history == 0 and predict == "delta":
        raise ValueError("predict='delta' needs an autoregressive task: set history")
    if history:
        wrong = [n for n in targets if n not in inputs or not specs[n].time]
        if wrong:
            raise ValueError(f"history={history}: targets {wrong} must be timed fields and inputs as well")


def finite(name: str, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """`values` of the samples at these positions, samples first; `ValueError` that names those which hold NaN or infinity."""
    if not np.isfinite(values).all():
        bad = positions[~np.isfinite(values.reshape(len(values), -1)).all(1)]
        raise ValueError(
            f"field {name!r} holds NaN or infinity in {len(bad)} of {len(values)} samples, at positions {bad[:5].tolist()}; "
            "drop them with dataset.select(…) or repair the file"
        )
    return values
