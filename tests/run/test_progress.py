"""Progress of a run: a bar on a terminal, elsewhere a line now and then."""

import io
import logging
import sys

import pytest

from kjko.messages import speaking
from kjko.run import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def records(steps: int, done: int = 0, **more: float | None):
    for step in range(done + 1, steps + 1):
        yield {"step": step, "time": 0.1 * step, "free_energy": -1.25} | more


def told(output: io.StringIO, monkeypatch, steps: int, done: int, **more: float | None) -> str:
    monkeypatch.setattr(sys, "stderr", output)
    with speaking(), progress.progress("It begins", steps, done) as show:
        for record in records(steps, done, **more):
            show(record)
    return output.getvalue()


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def test_a_bar_on_a_terminal(monkeypatch, wide):
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    text = told(Terminal(), monkeypatch, 5, 2, det_min=0.9, fit_r2=0.98)
    assert text.startswith("It begins\n") and "3/5" in text and "5/5" in text
    assert "t = 0.5, F = -1.25, det = 0.9, R² = 0.98, 0 s left" in text
    assert text.count("\n") == 2  # one line, drawn over and over


def test_the_bar_is_not_drawn_at_every_step(monkeypatch, wide):
    text = told(Terminal(), monkeypatch, 1000, 0)
    assert "1000/1000" in text and text.count("/1000") < 20


def test_what_is_said_beside_a_bar_is_above_it(monkeypatch, wide):
    output = Terminal()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    with speaking(), progress.progress("It begins", 5, 0) as show:
        first, *_, last = records(5)
        show(first)
        logging.getLogger("kjko").warning("a [bold] word")
        show(last)
    lines = output.getvalue().splitlines()
    (warned,) = [number for number, line in enumerate(lines) if "kjko: a [bold] word" in line]
    assert "1/5" in "".join(lines[: warned + 1]) and "5/5" in "".join(lines[warned + 1 :])
    assert output.getvalue().count("word") == 1


def test_a_bar_ends_with_what_ends_the_run(monkeypatch, wide):
    output = Terminal()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    with speaking(), pytest.raises(OSError), progress.progress("It begins", 5, 0) as show:
        show(next(records(5)))
        raise OSError
    assert sys.stderr is output and output.getvalue().rstrip("\x1b[?25h").endswith("\n")


@pytest.mark.parametrize("output", [io.StringIO(), Terminal()])
def test_quiet_shows_nothing(output, monkeypatch, wide):
    monkeypatch.setattr(sys, "stderr", output)
    with speaking(quiet=True), progress.progress("It begins", 5, 0) as show:
        for record in records(5):
            show(record)
    assert output.getvalue() == ""


def test_no_bar_on_a_terminal_that_cannot_draw_one(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    text = told(Terminal(), monkeypatch, 5, 0)
    assert text == "It begins\nstep 5/5, t = 0.5, F = -1.25, 0 s left\n"


def test_a_line_now_and_then_elsewhere(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    lines = told(io.StringIO(), monkeypatch, 5, 2, det_min=None).splitlines()
    assert lines[0] == "It begins" and len(lines) == 4
    assert lines[1] == "step 3/5, t = 0.3, F = -1.25"  # of compilation nothing follows
    assert lines[-1] == "step 5/5, t = 0.5, F = -1.25, 0 s left"


def test_not_more_than_a_line_every_interval(monkeypatch):
    _, *lines = told(io.StringIO(), monkeypatch, 5, 0).splitlines()
    assert lines == ["step 5/5, t = 0.5, F = -1.25, 0 s left"]


def test_a_kinetic_energy_in_place_of_a_free_one(monkeypatch):
    text = told(io.StringIO(), monkeypatch, 2, 0, free_energy=None, energy_kinetic=0.5)
    assert text.endswith("step 2/2, t = 0.2, kinetic energy = 0.5, 0 s left\n")


@pytest.mark.parametrize(("seconds", "left"), [(2, "2 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_left_without_compilation(seconds, left, monkeypatch):
    clock = iter([0.0, 100.0, 100.0 + seconds, 100.0 + 2 * seconds])
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = told(io.StringIO(), monkeypatch, 3, 0).splitlines()
    assert lines[2].endswith(f", {left} left")
