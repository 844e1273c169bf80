"""What `Task.fit` refuses: roles that do not fit together, values that are not finite."""

from collections.abc import Mapping

import numpy as np

from ...datasets.source import FieldSpec


def check_fields(specs: Mapping[str, FieldSpec], targets: tuple[str, ...]) -> None:
    """`ValueError` for targets that are no fields or do not live together."""
    for name in targets:
        if specs[name].role != "field":
            raise ValueError(f"target {name!r} is a {specs[name].role}; only fields can be predicted")
    places = {name: specs[name].domain for name in targets}
    if len(set(places.values())) > 1:
        raise ValueError(f"the targets must live on one domain, these live on {places}")


def finite(name: str, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """`values` of the samples at these positions, samples first; `ValueError` that names those which hold NaN or infinity."""
    if not np.isfinite(values).all():
        bad = positions[~np.isfinite(values.reshape(len(values), -1)).all(1)]
        raise ValueError(
            f"field {name!r} holds NaN or infinity in {len(bad)} of {len(values)} samples, at positions {bad[:5].tolist()}; "
            "drop them with dataset.select(…) or repair the file"
        )
    return values
