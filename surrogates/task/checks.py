"""Checks of `Task.fit` and of training data: roles that fit together, finite values."""

from collections.abc import Mapping

import numpy as np

from ...datasets.source import FieldSpec


def check_fields(specs: Mapping[str, FieldSpec], targets: tuple[str, ...]) -> None:
    """Check the targets of a task. **Raises:** `ValueError` if one is no field, or if they are on different domains."""
    for name in targets:
        if specs[name].role != "field":
            raise ValueError(f"target {name!r} is a {specs[name].role}; only fields can be predicted")
    places = {name: specs[name].domain for name in targets}
    if len(set(places.values())) > 1:
        raise ValueError(f"the targets must live on one domain, these live on {places}")


def finite(name: str, values: np.ndarray, positions: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Return `values`, an array with a leading sample axis, if all of them are finite.

    With `valid`, a boolean array that has the first axes of `values`, only the values where it is True count; the others, those
    of padded points, become 0.

    **Raises:** `ValueError` that names the field and the positions of the samples that hold NaN or infinity.
    """
    if np.iscomplexobj(values):
        raise ValueError(f"field {name!r} is complex; store its real and imaginary parts as two components")
    if valid is not None and not valid.all():
        values = np.where(valid[(..., *(None,) * (values.ndim - valid.ndim))], values, np.zeros((), values.dtype))
    if not _sums_to_finite(values) and not np.isfinite(values).all():
        # Several windows of one sample have its position.
        bad = np.unique(positions[~np.isfinite(values.reshape(len(values), -1)).all(1)])
        raise ValueError(
            f"field {name!r} holds NaN or infinity in {len(bad)} of {len(np.unique(positions))} samples, at "
            f"positions {bad[:5].tolist()}; drop them with dataset.select(…) or repair the file"
        )
    return values


def _sums_to_finite(values: np.ndarray) -> bool:
    """Whether the sum of squares is finite, and so every value. It is three times faster than `isfinite`; large values can
    overflow."""
    if values.dtype.kind != "f" or not values.flags.c_contiguous:
        return False
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))
