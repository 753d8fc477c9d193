"""All of these are the campaign; each prints its figures."""

import subprocess
import sys
from pathlib import Path

import pytest
from campaign import ENVIRONMENT

FIGURE = "figure"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture
def report(record_property):
    """Keep a line for the end, where all of them are printed."""
    return lambda line: record_property(FIGURE, line)


def pytest_terminal_summary(terminalreporter):
    for done in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, line in done.user_properties:
            if name == FIGURE:
                terminalreporter.write_line(f"{done.nodeid.rpartition('::')[2]}: {line}")


@pytest.fixture
def shell():
    """The exit code of `kjko` in a folder, with its streams as the shell leaves them."""

    def run(folder: Path, arguments: str, streams: str) -> int:
        line = f"set -o pipefail; {sys.executable} -m kjko {arguments} {streams}"
        return subprocess.run(["bash", "-c", line], cwd=folder, env=ENVIRONMENT).returncode

    return run
