"""The page of the leaderboard, made of the tidy rows that `surrogax bench` has written."""

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt

from surrogax.cli.bench_tasks import TASKS
from surrogax.cli.leaderboard import BREAK_EVEN, Board, boards
from surrogax.surrogates.evaluation.table import Table

FILE = Path(__file__).parents[2] / "benchmarks" / "results" / "leaderboard.json"
_COMMAND = f"surrogax bench {' '.join(TASKS)} --minutes 20"


def write_leaderboard_page(path: Path, file: Path = FILE) -> None:
    """Write the page, and its pictures into a folder beside it. Without the file the page says how to make it."""
    pictures = path.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_page(file, pictures)))


def _page(file: Path, pictures: Path) -> Iterator[str]:
    yield "# Leaderboard\n"
    yield "Named tasks, every family that can learn them, and the classical solver on several grids and at several tolerances: "
    yield "the same data, splits, and minutes of training, shared equally by the models that are trained. Errors are means over "
    yield "unseen samples.\n"
    if not file.exists():
        yield f"No run is recorded. This one makes it, in about an hour on two cores:\n\n```bash\n{_COMMAND}\n"
        yield "cp runs/bench/leaderboard.json benchmarks/results/\n```"
        return
    record = json.loads(file.read_text())
    found = boards(record)
    there = record["environment"]
    machine = ", ".join([there["platform"], *(f"{name} {told}" for name, told in there["versions"].items())])
    yield f"Recorded with `surrogax bench {' '.join(b.name for b in found)} --minutes {record['minutes']:g}`; {machine}. "
    yield "`--add module:function` puts a surrogate of your own beside these.\n"
    yield f"{BREAK_EVEN}\n"
    for board in found:
        yield from _board(board, pictures)


def _board(board: Board, pictures: Path) -> Iterator[str]:
    yield f"## {board.name}\n\n{board.says}\n"
    yield from _table(*board.cells())
    yield from (f"{note}\n" for note in board.single.notes())
    yield _picture(board.pareto(), pictures / f"{board.name}.svg", f"{board.name}: error against time per sample")
    if board.rollout.rows:
        yield f"Rollouts of {board.rollout.rows[0].rollout} frames:\n"
        yield from _table(*_short(board.rollout))
        text = f"{board.name}: error per frame of a rollout"
        yield _picture(board.per_frame(), pictures / f"{board.name}_rollout.svg", text)
    yield "Settings of the task and of each model:\n"
    yield f"```toml\n{board.settings}```\n\n```text"
    yield from (
        f"{label}: {', '.join(f'{k} {v}' for k, v in options.items())}" for label, options in board.models.items()
    )
    yield "```\n"


def _short(table: Table) -> tuple[list[str], list[list[str]]]:
    """Without times and sizes, which the first table has."""
    heads, rows = table.cells()
    return heads[:-3], [row[:-3] for row in rows]


def _table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    escaped = [
        [cell.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_") for cell in row] for row in (heads, *rows)
    ]
    yield f"| {' | '.join(escaped[0])} |\n| --- |{' ---: |' * (len(heads) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in escaped[1:])
    yield ""


def _picture(figure, path: Path, alt: str) -> str:
    figure.savefig(path)
    plt.close(figure)
    return f"![{alt}]({path.parent.name}/{path.name})\n"
