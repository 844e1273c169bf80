"""Rows of a table that are measured seed by seed and recorded after each seed, so that long tables grow over sittings."""

from collections.abc import Callable, Iterator

import numpy as np


def unfinished(rows: dict[str, dict], names: tuple[str, ...] | list[str], seeds: int) -> list[str]:
    """Those of `names` of which fewer than `seeds` seeds are recorded."""
    return [name for name in names if name not in rows or len(rows[name]["runs"]) < seeds]


def measured(
    rows: dict[str, dict], name: str, settings: dict, seeds: int, run: Callable[[int], dict]
) -> Iterator[None]:
    """Measure the seeds of row `name` that are missing in `rows`, write the row into `rows`, and stop after each one.

    A row that has all seeds, or was measured with other settings, is measured anew; the old one stays until the first new seed.

    **Arguments:** `settings`: what a row was measured with, numbers and text. `run(seed)`: the numbers of one seed, among them
    "error" and "seconds".
    """
    before = rows.get(name)
    goes_on = before is not None and before["settings"] == settings and len(before["runs"]) < seeds
    runs = list(before["runs"]) if goes_on else []
    for seed in range(len(runs), seeds):
        runs.append({"seed": seed, **run(seed)})
        errors = [found["error"] for found in runs]
        rows[name] = {
            "error": float(np.mean(errors)),
            "spread": float(np.std(errors)),
            "seconds": float(np.median([found["seconds"] for found in runs])),
            "seeds": len(runs),
            "settings": settings,
            "runs": list(runs),
        }
        print(f"  {name}, seed {seed}: {shown(runs[-1])}", flush=True)
        yield


def shown(numbers: dict) -> str:
    return ", ".join(f"{key} {value:.3g}" for key, value in numbers.items() if key != "seed")
