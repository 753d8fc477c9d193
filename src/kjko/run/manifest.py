"""What it takes to say how a result came about."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def manifest(case: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, threads, precision, seed, commit, and the case as it was begun."""
    packages = ("kinetic-jko", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "h5py")
    import jax

    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "device": jax.devices()[0].device_kind,
        "threads": len(affinity(0)),
        "precision": case["solver"]["precision"],
        "seed": case["particles"]["seed"],
        "git_commit": _git_commit(),
        "case": case,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """That of a run folder; empty if there is none that can be read."""
    try:
        read = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _git_commit() -> str | None:
    """The commit of this file, "-dirty" if something has changed since; None if git has it not."""
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for arguments in (["ls-files", "--error-unmatch", __file__], describe):
            git = subprocess.run(
                ["git", "-C", str(Path(__file__).parent), *arguments],
                capture_output=True,
                text=True,
                check=True,
            )
    except (OSError, subprocess.CalledProcessError):
        return None
    return git.stdout.strip()
