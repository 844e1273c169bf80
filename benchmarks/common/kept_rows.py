"""Rows of a comparison that take long: each is kept when it is finished, so that a script that was killed goes on after it."""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NOT_RUN = "not run"


class KeptRows:
    """Results by row, in a folder of the trainings that `options(…, **row_options(…))` names.

    With `--rows` only the rows named there are made, with `--smoke` alone the first and the last; others are taken from the
    folder, or are `NOT_RUN`. With `--quick` and `--smoke` the folder is temporary.

    **Arguments:** `settings`: all that the results depend on beside the code, in a form that prints in full; `labels`,
    of all rows.

    **Raises:** `ValueError` for `--rows` that are no labels.
    """

    def __init__(self, arguments: argparse.Namespace, settings: Any, labels: Iterable[str]):
        labels = list(labels)
        if unknown := set(arguments.rows) - set(labels):
            raise ValueError(f"--rows {sorted(unknown)}: the rows are {labels}")
        self.folder = arguments.folder / "runs" if arguments.quick or arguments.smoke else arguments.runs
        ends = (labels[0], labels[-1]) if arguments.smoke else ()
        self.wanted, self.settings = arguments.rows or ends, repr(settings)
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, label: str) -> Path:
        """The folder of the training of a row, for `fit(run=…)`."""
        return self.folder / re.sub(r"[^\w=.-]+", "_", label)

    def row(self, label: str, make: Callable[[], dict] | None) -> dict | str:
        """The result of a row: the kept one, that of `make`, which is kept, or `NOT_RUN`. `make` is None where nothing can make
        it, such as the row of a peer that is missing.

        **Raises:** `ValueError` for a kept result of other settings.
        """
        run = self.run(label)
        file = run.with_name(f"{run.name}.json")  # not `with_suffix`: labels have dots
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["settings"] != self.settings:
                raise ValueError(f"{file} was made with other settings; choose another --runs, or delete it")
            return kept["row"]
        if make is None or (self.wanted and label not in self.wanted):
            return NOT_RUN
        row = make()
        file.write_text(json.dumps({"settings": self.settings, "row": row}, indent=1) + "\n")
        print(f"{label} is kept in {file}", flush=True)
        return row


def row_options(name: str) -> dict[str, dict]:
    """The options `--runs` and `--rows` of a benchmark called `name`."""
    return {
        "runs": dict(type=Path, default=Path("runs") / name, help="folder of the trainings, which resume"),
        "rows": dict(nargs="*", default=(), metavar="ROW", help="train these rows only"),
    }
