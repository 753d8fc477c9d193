"""Programs that are kept: found again, and made anew where they are damaged."""

import subprocess
import sys
import warnings

import pytest

from kjko import compilation_cache

COMPILE = """
from kjko.compilation_cache import be_quiet, keep_programs
be_quiet()
keep_programs()
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
print(jax.jit(lambda x: 3 * x)(2.0), sum("cache_hits" in name for name in events))
"""


def compiled(folder, **variables):
    environment = {"PATH": "", "HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_program_is_found_again(tmp_path):
    cache = {"KJKO_CACHE": str(tmp_path / "cache")}
    assert compiled(tmp_path, **cache) == ["6.0", "0"]
    assert compiled(tmp_path, **cache) == ["6.0", "1"]
    (program,) = (tmp_path / "cache").glob("*/*")
    whole = program.read_bytes()
    program.write_bytes(whole[:100])
    assert compiled(tmp_path, **cache) == ["6.0", "0"]
    assert program.read_bytes() != whole[:100]
    assert compiled(tmp_path, **cache) == ["6.0", "1"]


@pytest.mark.parametrize("variables", [{}, {"KJKO_CACHE": "off"}])
def test_its_folder(variables, tmp_path):
    compiled(tmp_path, **variables)
    kept = [path for path in tmp_path.rglob("*") if "kjko" in path.parts and path.is_file()]
    assert bool(kept) == (not variables)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    cache = {"KJKO_CACHE": str(tmp_path / "file")}
    assert compiled(tmp_path, **cache) == ["6.0", "0"]


def test_a_program_that_cannot_be_written(tmp_path):
    """Another of the same name is left, whether or not it could be removed."""
    cache = {"KJKO_CACHE": str(tmp_path)}
    compiled(tmp_path, **cache)
    (program,) = tmp_path.glob("*/*")
    with warnings.catch_warnings(action="always"):
        compilation_cache.forget_what_is_damaged(program.parent)
        name = program.name.partition("-")[0]
        warnings.warn(
            f"Error writing persistent compilation cache entry for '{name}': full", stacklevel=1
        )
        assert program.exists()
        warnings.warn(
            f"Error reading persistent compilation cache entry for '{name}': bad", stacklevel=1
        )
        assert not program.exists()


def test_a_folder_that_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "MOST", 250)
    monkeypatch.setenv("KJKO_CACHE", str(tmp_path))
    folder = compilation_cache.program_folder()
    (folder / "a-folder-of-xla").mkdir()
    for number in range(4):
        (folder / str(number)).write_bytes(bytes(100))
    assert compilation_cache.program_folder() == folder
    assert len(list(folder.iterdir())) == 3  # two programs and that folder
