"""What it takes to say how a result came about."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kjko.run.damaged import Damaged
from kjko.run.sealed import unseal

MAY_CHANGE = ("title", "output.")  # keys, beside a longer end_time, in a run that is resumed


def manifest(case: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, how many, threads, precision, seed, commit, the case as it was begun."""
    packages = ("kinetic-jko", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "h5py")
    import jax

    from kjko.devices import cores, number_in_use

    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "device": jax.devices()[0].device_kind,
        "devices": number_in_use(),
        "threads": cores(),
        "precision": case["solver"]["precision"],
        "seed": case["particles"]["seed"],
        "git_commit": _git_commit(),
        "case": case,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """That of a run folder; empty if there is none. Raises Damaged."""
    path = folder / "manifest.json"
    try:
        return unseal(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Damaged(path, error) from None


def changed_key(begun: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What is not as in the case that a run was begun with, as "key: expected this, got that"; a
    later end, the title and the output may be.
    """
    before, after = _flat(begun), _flat(now)
    for key in sorted(before.keys() | after.keys()):
        if key == "solver.end_time" or key.startswith(MAY_CHANGE):
            continue
        if before.get(key) != after.get(key):
            return f"{key}: expected {before.get(key)}, as it was begun with, got {after.get(key)}"
    return None


def _flat(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The values of nested tables by the paths of their keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = value
    return flat


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
