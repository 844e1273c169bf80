"""Progress of a long job on standard error: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterator, Sequence

_LOG_EVERY = 10.0  # seconds between lines where there is no terminal
_DRAW_EVERY = 0.1  # seconds between two drawings on a terminal


class ProgressPrinter:
    """Prints the progress of a job of `total` steps.

    On a terminal it draws a bar followed by a text; elsewhere it prints the text as a line at most every ten seconds. Call
    `update` after every step and `close` once at the end. If the job fails, nothing needs to be called.

    **Arguments:** `total`, the number of steps; `text`, shown before the first update; `enabled`, False prints nothing.
    """

    def __init__(self, total: int, text: str = "", *, enabled: bool = True):
        self._enabled, self._last = enabled, time.monotonic()
        self._bar = _Bar(total, text) if enabled and sys.stderr.isatty() else None

    def update(self, done: int, text: str):
        """Show `text` and that `done` steps are done, unless something was shown a moment ago."""
        now = time.monotonic()
        if self._enabled and now - self._last > (_LOG_EVERY if self._bar is None else _DRAW_EVERY):
            self._last = now
            self._show(done, text)

    def close(self, done: int, text: str):
        """Show the final `text` in any case and end the line."""
        if self._enabled:
            self._show(done, text)
        self.stop()

    def stop(self):
        """End the line without showing anything new."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, done: int, text: str):
        if self._bar is not None:
            self._bar.draw(done, text)
        else:
            print(text, file=sys.stderr, flush=True)


class _Bar:
    """A bar and a text on the terminal, drawn by rich.

    It has its own console and no thread, and it does not hide the cursor or redirect standard error. A job that fails before
    `stop` therefore leaves the terminal in order.
    """

    def __init__(self, total: int, text: str):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            BarColumn(bar_width=16),
            TextColumn("{task.description}", markup=False),
            console=Console(file=sys.stderr, force_terminal=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(text, total=total)
        self._progress.start()
        self._progress.console.show_cursor(True)

    def draw(self, done: int, text: str):
        self._progress.update(self._task, completed=done, description=text, refresh=True)

    def stop(self):
        self._progress.stop()


def track(items: Sequence, label: str, *, enabled: bool = True) -> Iterator:
    """Yield the items one by one, showing `label`, the number of items done and an estimate of the seconds left.

    The first item says nothing about the others, since programs are compiled during it; from the second on, what is left is taken
    to go on like the last item.
    """
    line = ProgressPrinter(len(items), label, enabled=enabled)
    begun = time.monotonic()
    try:
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            rest = len(items) - done
            left = f", about {(now - begun) * rest:.0f} s left" if done > 1 or not rest else ""
            line.update(done, f"{label}: {done}/{len(items)}{left}")
            begun = now
    finally:
        line.stop()
