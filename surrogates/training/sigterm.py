"""`Sigterm` turns the signal SIGTERM into a request to save and stop."""

import signal
import threading


class Sigterm:
    """Context manager inside which SIGTERM sets an event instead of ending the process: `with Sigterm() as event`.

    It has an effect in the main thread only, because Python sets signal handlers only there.
    """

    def __enter__(self) -> threading.Event:
        self.event = threading.Event()
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.previous = signal.signal(signal.SIGTERM, lambda *_: self.event.set())
        return self.event

    def __exit__(self, *_):
        if self.main:
            signal.signal(signal.SIGTERM, self.previous)
