"""Processes that are killed, stopped, or meet in one folder."""

import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from campaign import STEPS, await_heed, begin, end, kjko, many, settings
from run_folders import names, series

from kjko.signals import SIGNALS

RUN = ["run", "gaussian-1d", "--out", "run", *settings()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The series of a run that nothing disturbs, and how long it takes: the second one, with the
    programs that the first has compiled, as for all others.
    """
    for name in ("first", "second"):
        folder = tmp_path_factory.mktemp(name)
        ended = kjko(folder, *RUN)
        assert ended.code == 0, ended
    return series(folder / "run"), ended.seconds


def phase(folder: Path) -> str:
    """How far a run has got."""
    run = folder / "run"
    if not (run / "case.toml").exists():
        return "start"
    if not list((run / "checkpoints").glob("step_*")):
        return "first files"
    steps = (run / "series.jsonl").read_bytes().count(b"\n") - 1
    if steps < STEPS:
        return "first step" if steps == 0 else "steps"
    return "figures" if len(list((run / "figures").glob("*.png"))) < 5 else "done"


def go_on(folder: Path) -> list[str]:
    """The one command: `resume`, or the first one again if it has left no run."""
    return ["resume", "run"] if (folder / "run" / "case.toml").exists() else RUN


@pytest.mark.parametrize("seed", range(5))
def test_kills(seed, whole, tmp_path, report):
    expected, seconds = whole
    draw, phases = np.random.default_rng(seed), Counter()
    for number in range(many(100)):
        folder = tmp_path / str(number)
        folder.mkdir()
        end(begin(folder, *RUN), signal.SIGKILL, draw.uniform(0, seconds))
        phases[phase(folder)] += 1
        while draw.uniform() < 0.3:
            end(begin(folder, *go_on(folder)), signal.SIGKILL, draw.uniform(0, seconds))
            phases["resume: " + phase(folder)] += 1
        ended = kjko(folder, *go_on(folder))
        assert ended.code == 0, (number, ended)
        assert series(folder / "run") == expected, number
        assert not list((folder / "run").rglob("*.tmp"))
    report(f"{many(100)} runs killed, all went on to the same series; {dict(phases)}")


def test_signals(whole, tmp_path, report):
    expected, seconds = whole
    draw, phases, slowest = np.random.default_rng(16), Counter(), 0.0
    for number in range(many(200)):
        folder, which = tmp_path / str(number), SIGNALS[number % len(SIGNALS)]
        folder.mkdir()
        if number % 3 == 0:  # the signal goes to `resume`
            end(begin(folder, *RUN), signal.SIGKILL, draw.uniform(0.5, 1) * seconds)
        resumed = go_on(folder) != RUN
        process = begin(folder, *go_on(folder))
        await_heed(process, which)
        ended = end(process, which, draw.uniform(0, seconds))
        expected_codes = {0, 75} if resumed else {0, 75, 130}
        if not resumed and phase(folder) != "start":
            expected_codes = {0, 75}
        assert ended.code in expected_codes, (number, ended)
        assert (ended.code == 0) <= (phase(folder) == "done"), (number, ended)
        assert ended.errors.count("\n") <= 4, ended.errors
        phases[f"{phase(folder)}{' of resume' if resumed else ''}: {ended.code}"] += 1
        slowest = max(slowest, ended.seconds if ended.code else 0.0)
        assert kjko(folder, *go_on(folder)).code == 0
        assert series(folder / "run") == expected, number
    assert slowest < 5
    report(f"{many(200)} signals, noticed within {slowest:.2f} s; {dict(phases)}")


def test_a_signal_in_a_training(tmp_path, report):
    """A network for all times is learned before the first step, for minutes."""
    method = "solver.method={kind='score-end-to-end',gradient_steps=1000000}"
    process = begin(tmp_path, "run", "gaussian-1d", "--out", "run", "--set", method)
    while not list((tmp_path / "run" / "checkpoints").glob("step_*")):
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()
    ended = end(process, signal.SIGTERM, 5.0)
    assert ended.code == 75 and "goes on" in ended.errors, ended
    assert phase(tmp_path) == "first step"
    assert ended.seconds < 5
    report(f"SIGTERM in a training: noticed within {ended.seconds:.2f} s")


def test_races(whole, tmp_path, report):
    """Two runs into one folder, from two seeds."""
    alone = {}
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        assert kjko(tmp_path / str(seed), *RUN, "--set", f"particles.seed={seed}").code == 0
        alone[seed] = series(tmp_path / str(seed) / "run")
    winners = Counter()
    for number in range(many(200)):
        folder = tmp_path / f"race-{number}"
        folder.mkdir()
        both = {s: begin(folder, *RUN, "--set", f"particles.seed={s}") for s in (1, 2)}
        ended = {seed: end(process) for seed, process in both.items()}
        codes = sorted(e.code for e in ended.values())
        assert codes == [0, 2], ended
        (winner,) = (seed for seed, e in ended.items() if e.code == 0)
        assert "run: " in ended[3 - winner].errors
        assert series(folder / "run") == alone[winner]
        winners[winner] += 1
    report(f"{many(200)} races for a folder, one winner each: {dict(winners)}")


def test_two_runs_without_a_name(tmp_path):
    both = [begin(tmp_path, "run", "gaussian-1d", *settings()) for _ in range(2)]
    assert [end(process).code for process in both] == [0, 0]
    assert names(tmp_path / "runs") == ["gaussian-1d", "gaussian-1d-2"]


STREAMS = ["2>&-", ">&-", ">&- 2>&-", "2>/dev/full", ">/dev/full", "| head -1"]


@pytest.mark.parametrize("where", STREAMS)
def test_streams(where, whole, tmp_path, shell):
    code = shell(tmp_path, " ".join(f"'{word}'" for word in RUN), where)
    assert code == 0
    assert series(tmp_path / "run") == whole[0]


def test_what_is_asked_for_and_cannot_be_written(tmp_path, shell):
    assert shell(tmp_path, "show gaussian-1d", ">/dev/full") == 4
    assert shell(tmp_path, "show gaussian-1d", "| head -1") == 0
