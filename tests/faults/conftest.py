"""All of these are the campaign; each prints its figures."""

import subprocess
import sys
from pathlib import Path

import pytest
from campaign import ENVIRONMENT


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture
def report(capsys):
    """Say something that is seen."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return say


@pytest.fixture
def shell():
    """The exit code of `kjko` in a folder, with its streams as the shell leaves them."""

    def run(folder: Path, arguments: str, streams: str) -> int:
        line = f"set -o pipefail; {sys.executable} -m kjko {arguments} {streams}"
        return subprocess.run(["bash", "-c", line], cwd=folder, env=ENVIRONMENT).returncode

    return run
