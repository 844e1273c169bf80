"""Progress that behaves on a terminal and in a log."""

import sys
import time
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LOG_EVERY = 10.0  # seconds between lines where there is no terminal


def track(items: Sequence, label: str, *, enabled: bool = True) -> Iterator:
    """Iterate with a progress bar on a terminal, or a plain line every ten seconds elsewhere."""
    if not enabled:
        yield from items
    elif sys.stderr.isatty():
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns) as bar:
            yield from bar.track(items, description=label)
    else:
        start = last = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - last > _LOG_EVERY:
                last = now
                left = (now - start) / done * (len(items) - done)
                print(f"{label}: {done}/{len(items)}, about {left:.0f} s left", file=sys.stderr, flush=True)
