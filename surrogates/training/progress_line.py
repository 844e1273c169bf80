"""The progress line of a training run, for terminals and for logs."""

import sys
import time

import numpy as np

from .history import History

_LOG_EVERY = 10.0  # seconds between lines where there is no terminal


class ProgressLine:
    """epoch, loss, validation error, samples per second, time left; the first round's compilation apart."""

    def __init__(self, rounds: int, samples_per_round: int, enabled: bool):
        self.rounds, self.samples, self.enabled = rounds, samples_per_round, enabled
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()

    def update(self, history: History):
        now = time.monotonic()
        if not self.enabled or not (self.terminal or now - self.last > _LOG_EVERY):
            return
        self.last = now
        print(("\r\x1b[K" if self.terminal else "") + self._text(history), end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def close(self, history: History):
        if self.enabled and history.rounds:
            start = "\r\x1b[K" if self.terminal else ""
            print(f"{start}{self._text(history)}, {sum(history.seconds):.1f} s", file=sys.stderr, flush=True)

    def _text(self, history: History) -> str:
        seconds = history.seconds
        steady = float(np.median(seconds[1:])) if len(seconds) > 1 else seconds[0]
        parts = [f"{history.rounds}/{self.rounds}", f"loss {np.mean(history.loss[-1]):.4g}"]
        if history.val:
            parts.append(f"val {np.mean(history.val[-1]):.4g} (best {np.mean(history.best_error):.4g})")
        parts.append(f"{self.samples / max(steady, 1e-9):.0f} samples/s")
        if history.rounds < self.rounds:
            parts.append(f"{(self.rounds - history.rounds) * steady:.0f} s left")
        if len(seconds) > 1:
            parts.append(f"compiled in {max(seconds[0] - steady, 0):.1f} s")
        return ", ".join(parts)
