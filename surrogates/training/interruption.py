"""`Interruption` turns the signals SIGTERM and SIGINT (Ctrl-C) into requests to save and stop."""

import signal
import threading


class Interruption:
    """Context manager inside which SIGTERM and the first SIGINT set events instead of ending the process.

    A second SIGINT raises `KeyboardInterrupt`. It has an effect in the main thread only, because Python sets signal handlers only
    there.

    **Fields:** `terminated`, `interrupted`: set by SIGTERM and by SIGINT.
    """

    def __init__(self):
        self.terminated, self.interrupted = threading.Event(), threading.Event()
        self.previous: dict = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self.previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: self.terminated.set())
            # A handler that is not Python's own belongs to the caller, who wants to know of the signal.
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self.previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _interrupt(self, number, frame):
        if self.interrupted.is_set():
            signal.default_int_handler(number, frame)
        self.interrupted.set()
