"""Memory that there is, of control groups of both versions; output that cannot be written."""

import io

import pytest

from kjko import limits, streams

MIB = 2**20


@pytest.mark.parametrize("version", ["", "memory"])
def test_control_groups(version, tmp_path):
    """The least of those around a process; what the system can drop is not taken."""
    limit, use, droppable = limits.NAMES[version]
    inner = tmp_path / version / "job" / "step"
    inner.mkdir(parents=True)
    for folder, most, now, dropped in ((inner, "max", 90, 0), (inner.parent, 100 * MIB, 80, 30)):
        (folder / limit).write_text(f"{most}\n")
        (folder / use).write_text(f"{now * MIB}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{droppable} {dropped * MIB}\n")
    (tmp_path / "cgroup").write_text(f"7:cpu:/elsewhere\n4:{version}:/job/step\n")
    found = list(limits._of_groups(str(tmp_path / "cgroup"), tmp_path))
    assert found == [50 * MIB]


def test_there_is_memory():
    assert 2**26 < limits.memory_left() < 2**50


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_output_that_cannot_be_written_is_lost(monkeypatch):
    monkeypatch.setattr("sys.stdout", Full())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    import sys

    with streams.lossy_output():
        assert sys.stdout.write("lost") == 4
        sys.stderr.write("kept")
        sys.stdout.flush()
    assert sys.stderr.getvalue() == "kept"
    with pytest.raises(OSError, match="No space"):
        sys.stdout.write("not lost")
