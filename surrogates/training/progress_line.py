"""The line of text that shows the progress of a training run."""

import numpy as np

from ...core.progress import ProgressPrinter
from .history import History


class ProgressLine:
    """Shows epoch, loss, validation error, samples (or other `unit`s of work) per second and seconds left, of a run of `rounds`
    epochs.

    The first epoch includes compilation. Its excess over the median of the other epochs is shown separately and does not count in
    the samples per second.
    """

    def __init__(self, rounds: int, samples_per_round: int, enabled: bool, unit: str = "samples"):
        self.rounds, self.samples, self.unit = rounds, samples_per_round, unit
        self.printer = ProgressPrinter(rounds, enabled=enabled)

    def update(self, history: History):
        """Show the last finished epoch."""
        self.printer.update(history.rounds, self._text(history))

    def close(self, history: History):
        """Show the last epoch and the total seconds of the run, and end the line."""
        if history.rounds:
            self.printer.close(history.rounds, f"{self._text(history)}, {sum(history.seconds):.1f} s")
        else:
            self.printer.stop()

    def _text(self, history: History) -> str:
        seconds = history.seconds
        steady = float(np.median(seconds[1:])) if len(seconds) > 1 else seconds[0]
        parts = [f"{history.rounds}/{self.rounds}", f"loss {np.mean(history.loss[-1]):.4g}"]
        if history.val:
            parts.append(f"val {np.mean(history.val[-1]):.4g} (best {np.mean(history.best_error):.4g})")
        rate = self.samples / max(steady, 1e-9)
        parts.append(f"{rate:{'.0f' if rate >= 10 else '.2g'}} {self.unit}/s")
        if 1 < history.rounds < self.rounds:  # the first epoch includes compilation and tells little
            parts.append(f"{(self.rounds - history.rounds) * steady:.0f} s left")
        if len(seconds) > 1:
            parts.append(f"compiled in {max(seconds[0] - steady, 0):.1f} s")
        return ", ".join(parts)
