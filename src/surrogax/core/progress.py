"""Progress of a long job: a bar that is drawn again on a terminal, plain lines in a log. Both go to standard error."""

import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

_LOG_EVERY = 10.0  # seconds between lines where there is no terminal
_DRAW_EVERY = 0.1  # seconds between two drawings on a terminal


class ProgressPrinter:
    """The state of a job of `total` steps, as one line of text: on a terminal behind a bar, in a log every ten seconds.

    Call `update` after every step, and `close` once at the end. If the job fails, nothing needs to be called.
    """

    def __init__(self, total: int, text: str = "", *, enabled: bool = True):
        self._enabled, self._last = enabled, time.monotonic()
        self._bar = _Bar(total, text) if enabled and sys.stderr.isatty() else None

    def update(self, done: int, text: str):
        """Show that `done` steps are done, unless the last showing is too recent."""
        now = time.monotonic()
        if self._enabled and now - self._last > (_LOG_EVERY if self._bar is None else _DRAW_EVERY):
            self._last = now
            self._show(done, text)

    def close(self, done: int, text: str):
        """Show the last state, however recent the one before is, and end the line."""
        if self._enabled:
            self._show(done, text)
        self.stop()

    def stop(self):
        """End the line as it is."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, done: int, text: str):
        if self._bar is not None:
            self._bar.draw(done, text)
        else:
            print(text, file=sys.stderr, flush=True)


class _Bar:
    """A bar and a text on the terminal, drawn by rich.

    It has a console of its own, no thread, and it leaves the cursor and standard error alone: a job that fails before `stop`
    leaves nothing behind that would have to be put right.
    """

    def __init__(self, total: int, text: str):
        self._progress = Progress(
            BarColumn(bar_width=16),
            TextColumn("{task.description}", markup=False),
            console=Console(file=sys.stderr, force_terminal=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID = self._progress.add_task(text, total=total)
        self._progress.start()
        self._progress.console.show_cursor(True)

    def draw(self, done: int, text: str):
        self._progress.update(self._task, completed=done, description=text, refresh=True)

    def stop(self):
        self._progress.stop()


def track(items: Sequence, label: str, *, enabled: bool = True) -> Iterator:
    """Iterate over `items` and show how many are done and how many seconds are left, under a `label`."""
    line = ProgressPrinter(len(items), label, enabled=enabled)
    start = time.monotonic()
    try:
        for done, item in enumerate(items, start=1):
            yield item
            left = (time.monotonic() - start) / done * (len(items) - done)
            line.update(done, f"{label}: {done}/{len(items)}, about {left:.0f} s left")
    finally:
        line.stop()
