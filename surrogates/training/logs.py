"""`Logs`: the functions and sinks that `fit(log=…)` calls, none of which can stop a training."""

import warnings
from collections.abc import Callable, Sequence

from .sinks import AbstractSink

Log = Callable[[int, dict[str, float]], None]  # is called with the number of steps done and values by name


class Logs:
    """Several logs as one. A log that raises is named in a warning and not called again: training matters more."""

    def __init__(self, logs: Sequence[Log]):
        self.logs = list(logs)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Call every log with the number of steps done and numbers by name, each with a dict of its own."""
        for log in tuple(self.logs):
            self._guarded(log, lambda log=log: log(step, dict(values)))

    def close(self) -> None:
        """Tell the sinks that training has ended."""
        for log in tuple(self.logs):
            if isinstance(log, AbstractSink):
                self._guarded(log, log.close)

    def _guarded(self, log: Log, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever it raises
            self.logs.remove(log)
            name = type(log).__name__ if isinstance(log, AbstractSink) else repr(log)
            warnings.warn(f"fit: the log {name} failed and is left out from here on: {error!r}", stacklevel=5)
