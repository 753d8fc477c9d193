"""What the shell offers, and that help and completion are light."""

import os
import subprocess
import sys

import pytest
import typer.main

from kjko import cases
from kjko.cli import app, completion

LIGHT = """
import sys
from typer.testing import CliRunner
from kjko.cli import app
for words in {commands}:
    assert CliRunner().invoke(app, words).exit_code == 0
print({{"jax", "equinox", "numpy", "h5py", "matplotlib", "rich"}} & set(sys.modules))
"""


def offered(words: str) -> list[str]:
    """For the last of the words, by the protocol of bash."""
    code = "import sys; sys.argv = ['kjko']; from kjko.cli import app; app(prog_name='kjko')"
    given = words.split(" ")
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(given) - 1)}
    environment = {**os.environ, "_KJKO_COMPLETE": "complete_bash", **asked}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def in_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[solver]\nown = 1\n")


def test_help_cases_and_show_are_light():
    commands = [["--help"], ["cases"], ["show", "gaussian-1d"], ["show", "mine.toml"]]
    commands += [[name, "--help"] for name in typer.main.get_command(app).commands]
    assert len(commands) > 15
    code = LIGHT.format(commands=commands)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_cases_and_files_are_offered():
    assert offered("kjko run multi") == ["multiwell-1d", "multiwell-3d"]
    assert offered("kjko show mi") == ["mixture-2d", "mixture-3d", "mine.toml"]
    assert completion.names_of_cases("") == [*cases.names(), "mine.toml"]


def test_keys_are_offered_also_of_a_case_of_ones_own():
    assert offered("kjko run mine.toml --set solver.o") == ["solver.own="]
    assert "solver.fit.kind=" in offered("kjko validate gaussian-1d --set solver.")


def test_folders_of_runs_are_offered(tmp_path):
    for name in ("runs/one", "runs/two", "runs/no-run", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs/one/case.toml").touch()
    (tmp_path / "runs/two/sweep.json").touch()
    assert completion.folders("runs/") == ["runs/no-run/", "runs/one", "runs/two"]
    assert completion.folders("runs/t") == ["runs/two"]
    assert completion.folders("absent/x") == []
    assert offered("kjko resume ru") == ["runs/"]
