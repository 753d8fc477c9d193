"""The command: exit codes, one line for what went wrong, signals, what is said."""

import errno
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax
import pytest
import run_folders
from commands import kjko, line

from kjko import cases
from kjko.case import Case, load
from kjko.cli import runs, telling
from kjko.run import loop
from kjko.run.writer import Writer
from kjko.signals import SIGNALS

SMALL = [word for override in run_folders.SMALL for word in ("--set", override)]


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """An empty working directory, no figures (tested elsewhere), the precision restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telling, "draw", lambda folder: None)
    yield
    jax.config.update("jax_enable_x64", False)


BAD = {  # override: how the line begins
    "gaussian-1d": {
        "solver.tme_step=1": "solver.tme_step: unknown key here; did you mean solver.time_step?",
        "problem.force=1": "problem.force: expected a table, got 1",
        "particles.number=1": "particles.number: expected a number greater than or equal to 2",
        "particles.number=1.5": "particles.number: expected a whole number, got 1.5",
        "particles.number=true": "particles.number: expected a whole number, got True",
        "particles.seed=-1": "particles.seed: expected a number greater than or equal to 0, got -1",
        "particles.number=2147483648": "particles.number: expected a number less than 2147483648",
        "particles.seed=4294967296": "particles.seed: expected a number less than 4294967296",
        "solver.time_step=0": "solver.time_step: expected a number greater than 0, got 0",
        "solver.time_step=-0.1": "solver.time_step: expected a number greater than 0, got -0.1",
        "solver.time_step=nan": "solver.time_step: expected a finite number, got nan",
        "solver.time_step=fast": "solver.time_step: expected a number, got 'fast'",
        "solver.time_step={a=1}": "solver.time_step: expected a number, got {'a': 1}",
        "solver.end_time=inf": "solver.end_time: expected a finite number, got inf",
        "solver.end_time=1e30": "solver.end_time: expected 1 to 2^31 steps of time_step = 0.1",
        "solver.end_time=1e300": "solver.end_time: expected zero or a number from 1e-38 to 3e+38",
        "solver=3": "solver: expected a table, got 3",
        "solver.fit.warm_start=1": "solver.fit.warm_start: expected a boolean, got 1",
        "solver.fit.held_out=1.0": "solver.fit.held_out: expected a number less than 1, got 1.0",
        "problem.collision_rate=-1": "problem.collision_rate: expected a number greater than or",
        "problem.temperature=0.0": "problem.temperature: expected a number greater than 0, got 0.0",
        "problem.dimension=2": "problem.law.mean: expected a list of length 4, got length 2",
        "problem.law.mean=zero": "problem.law.mean: expected a list, got 'zero'",
        "problem.law.mean=[0.0, inf]": "problem.law.mean.1: expected a finite number, got inf",
        "problem.law.covariance=[[1.0]]": "problem.law.covariance: expected a 2 x 2 matrix, got",
        "problem.law.covariance=[[1, 2], [2, 1]]": (
            "problem.law.covariance: expected a positive definite matrix, got one with the"
            " eigenvalue -1"
        ),
        "problem.law.covariance=[[1, 0], [0.5, 1]]": (
            "problem.law.covariance: expected a symmetric matrix, got 0 in row 1, column 2 and 0.5"
        ),
        "problem.law.covariance=[[1, nan], [nan, 1]]": (
            "problem.law.covariance.0.1: expected a finite number, got nan"
        ),
        "problem.law.covariance=[[1e-40, 0], [0, 1]]": (
            "problem.law.covariance.0.0: expected zero or a number from 1e-38 to 3e+38 in single"
        ),
        "problem.law.covariance=[[1e300, 0], [0, 1]]": (
            "problem.law.covariance.0.0: expected zero or a number from 1e-38 to 3e+38 in single"
        ),
        "problem.potential.stiffness=-2": (
            "problem.potential.stiffness: expected a number greater than 0, got -2"
        ),
        "problem.potential.stiffness=[['a']]": (
            "problem.potential.stiffness.0.0: expected a number, got 'a'"
        ),
        "problem.potential.stiffness=[[-1.0]]": (
            "problem.potential.stiffness: expected a positive definite matrix"
        ),
        "problem.potential.center=[0.0, 1.0]": "problem.potential.center: expected a list of",
        "problem.potential.kind=cubic": "problem.potential.kind: expected one of 'quadratic', ",
        "problem.potential.kind=[1]": "problem.potential.kind: expected one of 'quadratic', ",
        "problem.potential.quadratic=1": "problem.potential.quadratic: unknown key here; remove it",
        "problem.potential=7": "problem.potential: expected a table, got 7",
        "problem.potential={}": "problem.potential.kind: expected this key, got none",
        "problem.potential.kind=sine": (
            "problem.potential.kind: sine is periodic and the domain is unbounded;"
            " set problem.domain.length"
        ),
        "problem.domain.length=[1.0]": (
            "problem.law.kind: gaussian is not periodic and the domain is; use product with a"
        ),
        "problem.domain.length=[1.0, 2.0]": "problem.domain.length: expected a list of length 1",
        "solver.integrator.kind=leapfrog": "solver.integrator.kind: expected one of 'strang-",
        "output.snapshot_times=[-1.0]": (
            "output.snapshot_times.0: expected a number greater than or"
        ),
        "solver.time_step": "--set 'solver.time_step': expected KEY.PATH=VALUE, as in solver.time_",
        "=1": "--set '=1': expected KEY.PATH=VALUE",
        "solver..time_step=1": "--set 'solver..time_step=1': expected KEY.PATH=VALUE",
        "title=a\nb": "--set 'title=a\\nb': expected KEY.PATH=VALUE",
        "title=\udcff": "--set 'title=\\udcff': expected KEY.PATH=VALUE",
        "problem.law.mean.0=1": (
            "--set problem.law.mean.0: expected a table at problem.law.mean, got [0.0, 1.0];"
            " a list is set as a whole"
        ),
    },
    "periodic-1d": {
        "problem.potential.kind=quadratic": (
            "problem.potential.kind: quadratic is not periodic and the domain is; use sine or"
        ),
        "problem.law.position={kind='gaussian', mean=[0.0], covariance=[[1.0]]}": (
            "problem.law.position.kind: gaussian is not periodic and the domain is; use cosine"
        ),
        "problem.law.position.amplitude=[1.5]": (
            "problem.law.position.amplitude.0: expected a number less than or equal to 1, got 1.5"
        ),
        "problem.law.position.mode=[-1]": (
            "problem.law.position.mode.0: expected a number greater than or equal to 0, got -1"
        ),
        "problem.law.position.mode=[1, 2]": (
            "problem.law.position.mode: expected a list of length 1"
        ),
    },
    "multiwell-1d": {
        "problem.law.velocity.means=[]": (
            "problem.law.velocity.means: expected at least one list of"
        ),
        "problem.law.velocity.means=[[1, 2]]": ("problem.law.velocity.means.0: expected a list of"),
        "problem.law.velocity.widths=[1.0]": (
            "problem.law.velocity.widths: expected a list of length 2, got length 1; it follows"
            " from problem.law.velocity.means"
        ),
        "problem.law.velocity.weights=[0.5, 0.6]": (
            "problem.law.velocity.weights: expected numbers of sum 1, got the sum 1.1"
        ),
        "problem.law.velocity.weights=[]": (
            "problem.law.velocity.weights: expected a list of length 2"
        ),
        "problem.law.position={kind='cosine', amplitude=[0.5], mode=[1]}": (
            "problem.law.position.kind: cosine is periodic and the domain is unbounded;"
            " set problem.domain.length"
        ),
    },
    "gausian-1d": {"title=x": "gausian-1d: no built-in case and no .toml file of that name;"},
    "absent.toml": {"title=x": "absent.toml: no built-in case and no .toml file of that name;"},
}
BAD_ROWS = [(case, *row) for case, rows in BAD.items() for row in rows.items()]


@pytest.mark.parametrize(("case", "override", "begins"), BAD_ROWS, ids=[r[1] for r in BAD_ROWS])
def test_bad_input_gives_one_line_and_touches_nothing(case, override, begins, tmp_path):
    small = ["--set", "particles.number=50"] if "particles.number" not in override else []
    message = line(kjko("run", case, "--out", "out", *small, "--set", override), 2)
    assert message.startswith(begins)
    assert list(tmp_path.iterdir()) == []


def test_too_few_particles_to_hold_some_out(tmp_path):
    options = ["--set", "particles.number=2", "--set", "solver.fit.held_out=0.9"]
    assert line(kjko("run", "gaussian-1d", *options), 2).startswith("solver.fit.held_out: ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_toml(tmp_path):
    (tmp_path / "bad.toml").write_text("[solver\n")
    assert line(kjko("validate", "bad.toml"), 2).startswith("bad.toml: not valid TOML: ")
    (tmp_path / "odd.toml").write_text('"a\\nb" = 1\n' + cases.text("gaussian-1d"))
    assert line(kjko("validate", "odd.toml"), 2).startswith("'a\\nb': unknown key")


@pytest.mark.parametrize("command", ["show", "validate", "run", "converge"])
def test_a_case_that_does_not_exist(command, tmp_path):
    assert "nearest: gaussian-" in line(kjko(command, "gausian"), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["0.1", "0.1,0.1", "0.1,-1", "0.1,nan", "inf,1", "a,b", ""])
def test_time_steps_of_a_study(steps, tmp_path):
    message = line(kjko("converge", "gaussian-1d", "--time-steps", steps), 2)
    assert message.startswith(f"--time-steps {steps}: expected two or more")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "converge"])
def test_a_folder_in_use(command, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "case.toml").write_text("mine")
    message = line(kjko(command, "gaussian-1d", "--out", "used", *SMALL), 2)
    assert message.startswith("--out used: holds another run; `kjko resume used`")
    (tmp_path / "used" / "case.toml").rename(tmp_path / "used" / "thesis.tex")
    for name in ("used", "used/thesis.tex"):
        message = line(kjko(command, "gaussian-1d", "--out", name, *SMALL), 2)
        assert message == f"--out {name}: expected a new or empty folder; name another"
    assert (tmp_path / "used" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("command", ["plot", "resume"])
def test_no_run_folder(command, tmp_path, monkeypatch):
    monkeypatch.undo()  # plot draws
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", __file__):
        message = line(kjko(command, name), 2)
        assert message.startswith(f"{name}: ") and "run folder" in message
    assert [p.name for p in tmp_path.rglob("*")] == ["empty"]


def test_a_run_and_its_default_folder(tmp_path):
    for name in ("gaussian-1d", "gaussian-1d-2"):
        result = kjko("run", "gaussian-1d", *SMALL)
        assert result.exit_code == 0
        assert (tmp_path / "runs" / name / "case.toml").is_file()
    assert kjko("resume", "runs/gaussian-1d").exit_code == 0


def test_precision_is_the_cases(tmp_path):
    double = ["--set", "solver.precision=double", "--set", "solver.end_time=0.1"]
    assert kjko("run", "gaussian-1d", "--out", "run", *SMALL, *double).exit_code == 0
    state = run_folders.arrays(tmp_path / "run" / "checkpoints" / "step_000001.npz")
    assert {leaf.dtype.name for leaf in state} == {"float64", "int32", "uint32", "uint8"}
    jax.config.update("jax_enable_x64", False)
    assert kjko("resume", "run").exit_code == 0


def test_cases_gives_a_line_each():
    lines = kjko("cases").stdout.splitlines()
    assert [text.split()[0] for text in lines] == cases.names()
    assert all(cases.title(text.split()[0]) in text for text in lines)


def test_show_then_validate(tmp_path):
    shown = kjko("show", "periodic-1d")
    (tmp_path / "mine.toml").write_text(shown.stdout)
    assert kjko("validate", "mine.toml").stdout == "mine.toml: valid\n"
    assert kjko("show", "mine.toml").stdout == shown.stdout
    assert load("mine.toml") == load("periodic-1d")


def test_a_numerical_failure(tmp_path):
    options = [word for o in run_folders.TRAINED_HARD for word in ("--set", o)]
    message = line(kjko("run", "gaussian-1d-paper", "--out", "run", *options), 3)
    assert " at step " in message
    assert line(kjko("resume", "run"), 3) == message


def test_no_checkpoint(tmp_path):
    assert kjko("run", "gaussian-1d", "--out", "run", *SMALL).exit_code == 0
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"")
    message = line(kjko("resume", "run"), 5)
    assert message.startswith("run: no checkpoint that can be read (damaged: step_000006.npz, ")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    assert "file/run" in line(kjko("run", "gaussian-1d", "--out", "file/run", *SMALL), 4)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "locked/run" in line(kjko("run", "gaussian-1d", "--out", "locked/run", *SMALL), 4)


def test_a_full_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = line(kjko("run", "gaussian-1d", "--out", "run", *SMALL), 4)
    assert "No space left on device: 'run/series.jsonl'" in message
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_after_the_step(number, tmp_path, monkeypatch):
    append = Writer.record

    def append_and_signal(self, record):
        append(self, record)
        if record["step"] == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Writer, "record", append_and_signal)
    usual = signal.signal(number, signal.SIG_DFL)  # the tests may be run under nohup
    before = signal.getsignal(number)
    result = kjko("run", "gaussian-1d", "--out", "run", *SMALL)
    assert line(result, 75) == "stopped at step 3 of 6; `kjko resume run` goes on"
    assert signal.getsignal(number) == before
    signal.signal(number, usual)
    assert run_folders.names(tmp_path / "run" / "checkpoints")[-1] == "step_000003.npz"


def test_a_signal_before_the_first_step(tmp_path, monkeypatch):
    start = loop.Start

    def signal_and_start(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*arguments)

    monkeypatch.setattr(loop, "Start", signal_and_start)
    result = kjko("run", "gaussian-1d", "--out", "run", *SMALL)
    assert line(result, 75) == "stopped at step 0 of 6; `kjko resume run` goes on"
    result = kjko("resume", "run")
    assert line(result, 75) == "stopped at step 0 of 6; `kjko resume run` goes on"
    monkeypatch.setattr(loop, "Start", start)
    assert kjko("resume", "run").exit_code == 0
    assert len(run_folders.series(tmp_path / "run")) == 7


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    write = Writer.checkpoint

    def write_and_signal(self, state):
        if int(state.step) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        write(self, state)

    monkeypatch.setattr(Writer, "checkpoint", write_and_signal)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # as under nohup, above
    message = line(kjko("run", "gaussian-1d", "--out", "run", *SMALL), 75)
    signal.signal(signal.SIGINT, usual)
    assert message == "stopped at once; `kjko resume run` goes on from the last checkpoint"
    assert run_folders.names(tmp_path / "run" / "checkpoints")[-1] == "step_000002.npz"


@pytest.mark.parametrize("command", ["validate", "run", "converge"])
def test_a_stop_that_leaves_no_checkpoint(command, tmp_path, monkeypatch):
    """Ctrl-C while the case is built: nothing is there to be resumed."""
    monkeypatch.setattr(Case, "build", interrupted)
    assert line(kjko(command, "gaussian-1d", *SMALL), 130) == "stopped"
    assert list(tmp_path.iterdir()) == []


def test_a_stop_while_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(telling, "draw", interrupted)
    assert line(kjko("plot", "run"), 130) == "stopped"
    message = "stopped; `kjko plot run` draws the figures"
    result = kjko("run", "gaussian-1d", "--out", "run", *SMALL)
    assert result.exit_code == 75 and result.stderr.endswith(f"\nkjko: {message}\n")
    assert line(kjko("resume", "run"), 75) == message


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_a_package_that_is_missing(monkeypatch):
    """The exact line that installs it, from what the package itself says that it needs."""

    def lacks(module):
        def refuse(*_):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)

        monkeypatch.setattr(runs, "open_folder", refuse)
        return line(kjko("status", "run"), 2)

    install = "expected this package, got none; `pip install 'kinetic-jko"
    assert lacks("torch.nn") == f"torch.nn: {install}[benchmark]'`"
    assert lacks("xarray") == f"xarray: {install}'`"
    with pytest.raises(ModuleNotFoundError):  # a fault of ours, which is not expected
        lacks("kjko.absent")


def test_quiet_says_nothing_but_what_is_wrong(tmp_path):
    result = kjko("run", "gaussian-1d", "--out", "run", "--quiet", *SMALL)
    (warning,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (0, "")
    assert warning.startswith("kjko: the density cannot be trusted: ")
    (tmp_path / "run" / "checkpoints" / "step_000006.npz").write_bytes(b"")
    result = kjko("resume", "run", "--quiet")
    assert (result.exit_code, result.stdout) == (0, "")
    damaged = "kjko: step_000006.npz is damaged; going on from step 4"
    assert result.stderr.splitlines() == [damaged, warning]
    assert "unknown key" in line(kjko("run", "gaussian-1d", "--quiet", "--set", "a=1"), 2)


def test_what_is_said_as_json():
    result = kjko("run", "gaussian-1d", "--out", "run", "--log-json", *SMALL)
    begins, *_, last, warning = map(json.loads, result.stderr.splitlines())
    assert begins["level"] == "info" and "steps 1 to 6 on cpu" in begins["message"]
    assert last["fields"]["step"] == last["fields"]["steps"] == run_folders.STEPS
    assert warning["level"] == "warning" and warning["message"].startswith("the density cannot")
    record = run_folders.series(Path("run"))[-1]
    assert last["fields"]["free_energy"] == record["free_energy"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(last["time"])).total_seconds()) < 60
    result = kjko("resume", "run", "--log-json", "--devices", "0")
    (refused,) = map(json.loads, result.stderr.splitlines())
    assert (result.exit_code, refused["level"], refused["fields"]) == (2, "error", {})
    assert refused["message"] == "--devices: expected 1 to 64, got 0"


def test_a_signal_is_told_of_as_json():
    """Where the process ends at once, in the midst of compilation say."""
    code = """
import os, signal, time
from kjko.signals import watch
from kjko.messages import speaking
watch(130)
with speaking(as_json=True):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = json.loads(done.stderr)
    assert (done.returncode, said["level"], said["message"]) == (130, "error", "stopped")
