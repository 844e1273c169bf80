"""SIGTERM as a request to finish the round and save."""

import signal
import threading


class Sigterm:
    """SIGTERM sets an event instead of ending the process (in the main thread only, where handlers can be set)."""

    def __enter__(self) -> threading.Event:
        self.event = threading.Event()
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.previous = signal.signal(signal.SIGTERM, lambda *_: self.event.set())
        return self.event

    def __exit__(self, *_):
        if self.main:
            signal.signal(signal.SIGTERM, self.previous)
