"""The published statistics of a dataset of The Well: `stats.yaml` with mean, std, … of every field."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .registry import what_it_is

_LARGEST = 2**20  # bytes
_KEYS = ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")


def published_statistics(folder: Path) -> Mapping[str, Any] | str | None:
    """The statistics by key and field, a sentence that says why they cannot be used, or None if the folder has none."""
    file = folder / "stats.yaml"
    if not file.is_file():
        return None
    if file.stat().st_size > _LARGEST:
        return f"stats.yaml has {file.stat().st_size} bytes, too many for a few numbers"
    content = file.read_bytes()
    if what := what_it_is(content[:512]):
        return f"stats.yaml {what}"
    import yaml

    try:
        found = yaml.safe_load(content)
    except Exception as error:  # damaged YAML
        return f"stats.yaml cannot be read: {' '.join(str(error).split()):.200}"
    if not isinstance(found, dict) or not all(isinstance(found.get(key, {}), dict) for key in _KEYS):
        return f"stats.yaml holds a {type(found).__name__}, expected the numbers of every field under {', '.join(_KEYS[:2])}"
    wrong = [
        f"{key} of {name}" for key in _KEYS for name, value in found.get(key, {}).items() if not _is_numbers(value)
    ]
    return f"stats.yaml: {wrong[0]} is no number" if wrong else {key: found[key] for key in _KEYS if key in found}


def _is_numbers(value: Any, depth: int = 2) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_is_numbers(each, depth - 1) for each in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
