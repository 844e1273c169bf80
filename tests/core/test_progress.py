"""Progress: a bar with its text on a terminal, a line every ten seconds in a log, nothing where it is switched off."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest

from surrogax.core import progress
from surrogax.core.progress import ProgressPrinter, track
from surrogax.surrogates.training.history import History
from surrogax.surrogates.training.progress_line import ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def shown(self) -> list[str]:
        """What one sees: pieces of text between control sequences."""
        pieces = re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", self.getvalue())
        return [piece.strip() for piece in pieces if piece.strip(" ━╸╺")]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=(stream := Terminal())))
    monkeypatch.setenv("COLUMNS", "120")
    return stream


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=(stream := io.StringIO())))
    return stream


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be moved by hand."""
    now = np.zeros(1)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(now[0]))
    return now


def test_a_log_gets_a_line_every_ten_seconds(log, clock):
    for item in track(range(8), "generating"):
        assert item == clock[0] // 6
        clock += 6
    lines = log.getvalue().splitlines()
    assert lines == [
        "generating: 2/8, about 36 s left",
        "generating: 4/8, about 24 s left",
        "generating: 6/8, about 12 s left",
        "generating: 8/8, about 0 s left",
    ]


def test_a_terminal_gets_a_bar_and_keeps_the_last_state(terminal, clock):
    for _ in track(range(4), "generating"):
        clock += 3
    shown = terminal.shown()
    assert shown[0] == "generating" and shown[-1] == "generating: 4/4, about 0 s left"
    assert "generating: 2/4, about 6 s left" in shown and "━" in terminal.getvalue()


def test_compilation_during_the_first_item_is_not_the_rate(terminal, clock):
    for item in track(range(100), "generating"):
        clock += 0.2 if item else 18
    assert "generating: 1/100" in terminal.shown() and "generating: 2/100, about 20 s left" in terminal.shown()


def test_a_terminal_is_not_drawn_more_than_ten_times_a_second(terminal, clock):
    for _ in track(range(1000), "generating"):
        clock += 0.001
    assert len({text for text in terminal.shown() if "/1000" in text}) < 12


@pytest.mark.parametrize("stream", ["log", "terminal"])
def test_nothing_is_shown_where_it_is_switched_off(request, stream, clock):
    stream = request.getfixturevalue(stream)
    for _ in track(range(3), "generating", enabled=False):
        clock += 100
    line = ProgressLine(3, 10, False)
    line.update(history := History(loss=[[1.0]], seconds=[1.0]))
    line.close(history)
    assert stream.getvalue() == ""


def test_an_error_inside_leaves_the_cursor_and_ends_the_line(terminal):
    with pytest.raises(KeyError):
        for _ in track(range(3), "generating"):
            raise KeyError
    ProgressPrinter(3, "abandoned")
    hidden, shown = terminal.getvalue().rfind("\x1b[?25l"), terminal.getvalue().rfind("\x1b[?25h")
    assert shown > hidden >= 0
    assert progress.sys.stderr is terminal


def test_markup_in_a_text_is_text(terminal):
    ProgressPrinter(3).close(3, "loss [bold]0.1[/bold] /home")
    assert "loss [bold]0.1[/bold] /home" in terminal.getvalue()


TEXT = "2/4, loss 0.25, val 0.75 (best 0.5), 50 samples/s, 4 s left, compiled in 3.0 s"


def trained() -> tuple[ProgressLine, History]:
    return ProgressLine(4, 100, True), History(loss=[[0.5], [0.25]], val=[[0.5], [0.75]], seconds=[5.0, 2.0])


def test_training_says_rate_time_left_and_best_in_a_log(log, clock):
    line, history = trained()
    clock += 9
    line.update(history)
    assert log.getvalue() == ""
    clock += 2
    line.update(history)
    line.close(history)
    assert log.getvalue() == f"{TEXT}\n{TEXT}, 7.0 s\n"


def test_training_says_the_same_on_a_terminal(terminal, clock):
    line, history = trained()
    clock += 1
    line.update(history)
    line.close(history)
    assert TEXT in terminal.shown() and terminal.shown()[-1] == f"{TEXT}, 7.0 s"


def test_the_first_epoch_is_not_the_rate(log):
    line = ProgressLine(2, 100, True)
    line.close(History(loss=[[0.5]], seconds=[4.0]))
    assert log.getvalue() == "1/2, loss 0.5, 25 samples/s, 4.0 s\n"
    line.close(History())
    assert log.getvalue().count("\n") == 1
