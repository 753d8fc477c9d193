"""The memory that this process may take."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
NAMES = {  # of what limits a control group, and of what it takes, by the version
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def memory_left() -> float:
    """Bytes that this process may still take: of the machine, its control groups and its limits."""
    left = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    left += _kilobytes("/proc/meminfo", "MemAvailable:")
    left += _of_groups("/proc/self/cgroup")
    for kind, use in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            left.append(soft - _of_process(use))
    return max(0.0, min(left))


def hold_to_memory() -> None:
    """Let an allocation fail where memory ends, for the system would end the process."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(_of_process("VmData:") + memory_left())
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _of_groups(of_process: str, groups: Path = GROUPS) -> Iterator[float]:
    """What is left in the control group of a process and in those around it; files that the system
    keeps in memory, and can drop, are not counted.
    """
    for line in _lines(of_process):
        _, controllers, path = line.split(":", 2)
        if controllers not in NAMES:
            continue
        limit, use, droppable = NAMES[controllers]
        group = groups / controllers / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(groups):
                break
            most, now = (_lines(folder / name) for name in (limit, use))
            if most and now and most[0].isdigit():
                stat = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat"))
                yield float(most[0]) - float(now[0]) + float(stat.get(droppable, 0))


def _of_process(key: str) -> float:
    return sum(_kilobytes("/proc/self/status", key))


def _kilobytes(path: str, key: str) -> list[float]:
    """The bytes that a line of a file tells; empty where there is none."""
    return [1024 * float(line.split()[1]) for line in _lines(path) if line.startswith(key)]


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
