"""The page that says which surrogate fits which problem: a text with places for numbers, which come from recorded runs."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TEMPLATE = Path(__file__).parent / "which_surrogate.md"

_SHOWN = {
    "percent": lambda x: f"{100 * x:.3g} %",
    "mean": lambda x: f"{100 * sum(x) / len(x):.3g} %",  # over seeds
    "number": lambda x: f"{x:,}" if isinstance(x, int) else f"{x:.3g}",
    "error": lambda x: f"{x:.1e}",
    "seconds": lambda x: f"{x:.2g} s" if x < 10 else f"{x:.0f} s",
    "ms": lambda x: f"{1e3 * x:.3g} ms",
    "times": lambda x: f"{x:.3g} times",
}


def write_choosing_page(path: Path) -> None:
    """Write the page with the numbers of the recorded runs; "not run" where there is none."""
    path.write_text(filled(TEMPLATE.read_text()))


def filled(text: str) -> str:
    """The text with `{percent:operators_compared/burgers/FNO/rel_l2}` and the like replaced by numbers.

    **Raises:** `KeyError` for a run that is recorded but does not have the number.
    """
    return re.sub(rf"{{({'|'.join(_SHOWN)}):([^{{}}]+)}}", lambda found: _shown(found[1], *found[2].split("/")), text)


def _shown(how: str, benchmark: str, *keys: str) -> str:
    file = RESULTS / f"{benchmark}.json"
    if not (file.parent.parent / f"{benchmark}.py").exists():
        raise KeyError(f"which_surrogate.md names {benchmark}, which is no benchmark")
    value: Any = json.loads(file.read_text())["values"] if file.exists() else None
    for key in keys if value is not None else ():
        value = _entry(value, key, f"{benchmark}/{'/'.join(keys)}")
        if value is None or isinstance(value, str):  # a row that did not run says so
            break
    return (value or "not run") if value is None or isinstance(value, str) else _SHOWN[how](value)


def _entry(value: Any, key: str, where: str) -> Any:
    found = {str(i): x for i, x in enumerate(value)} if isinstance(value, list) else value
    if not isinstance(found, dict) or key not in found:
        there = sorted(found) if isinstance(found, dict) else found
        raise KeyError(f"which_surrogate.md: {where} is not in the recorded run; there are {there}")
    return found[key]
