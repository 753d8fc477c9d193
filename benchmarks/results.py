"""Make the results of docs/results.md: runs, docs/results.json, the page and its figures.

    python benchmarks/results.py                 all that are not yet of this source, but long ones
    python benchmarks/results.py NAME...         these, anew
    python benchmarks/results.py --long          the long ones too, for hours

What the commands make stays in runs/results/NAME; where it is of this source, numbers are read from
it again, without a run. docs/results.json is written after each, so that what was stopped goes on.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it spins on busy cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import json
import shlex
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import jax
from checks import KL, RMS, SAID, runs
from density import draw as draw_checks
from named_results import RESULTS, Result
from page import JSON, PAGE, page
from PIL import Image
from record import machine, tell, write

from kjko.figures.run_figures import draw

ROOT = Path(__file__).parents[1]
FOLDERS = ROOT / "runs" / "results"
FIGURES = ROOT / "docs" / "figures"
MADE = "made.json"
LARGE = 500_000  # bytes of a picture in the repository


def git(*words: str) -> str:
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def state_of_tree() -> dict[str, str]:
    """The commit, and the tree of src/, which a rebase leaves as it is; marked if changed since."""
    changed = git("status", "--porcelain", "--", ".", ":!docs")
    mark = "+changes" if changed else ""
    return {
        "commit": git("rev-parse", "--short=12", "HEAD") + mark,
        "source": git("rev-parse", "--short=12", "HEAD:src") + mark,
    }


def make(name: str, result: Result, tree: dict[str, str]) -> dict[str, Any]:
    """Run the commands, and tell what they were run with."""
    folder = FOLDERS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun, before, memory = time.perf_counter(), machine(), 0
    for number, command in enumerate(result.commands):
        tell(f"{name}: {command}")
        memory = max(memory, _run(command, folder / str(number)))
    made = {
        "commands": list(result.commands),
        **tree,
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_memory_gb": round(memory / 2**20, 2),
        "device": jax.devices()[0].device_kind,
        "machine": before,
        **_settings(folder),
    }
    (folder / MADE).write_text(json.dumps(made))
    return made


def _run(command: str, out: Path) -> int:
    """KiB that the command took at most. Raises RuntimeError with its last line if it fails."""
    words = [sys.executable, "-m", *shlex.split(command), "--out", str(out), "--quiet"]
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    log = out.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {log.read_text().strip()[-300:]}")
    return usage.ru_maxrss


def _settings(folder: Path) -> dict[str, Any]:
    """Precision and seeds, as the runs tell."""
    known = [(run.manifest["precision"], run.manifest["seed"]) for run in runs(folder)]
    for path in folder.rglob("compare.csv"):
        cases = json.loads(path.with_name("compare.json").read_text()).values()
        rows = csv.DictReader(path.read_text().splitlines())
        seeds = {int(row["seed"]) for row in rows}
        known += [(case["solver"]["precision"], seed) for case in cases for seed in seeds]
    known = known or [("double", 0)]  # a time-step study
    precisions, seeds = (sorted(set(each)) for each in zip(*known, strict=True))
    return {"precision": ", ".join(precisions), "seeds": seeds}


def numbers(name: str, result: Result) -> Any:
    """What is read of the folder, to six digits."""
    text = json.dumps(result.read(FOLDERS / name), default=float)
    return json.loads(text, parse_float=_short, parse_constant=_unknown)


def _short(text: str) -> float:
    return float(f"{float(text):.6g}")


def _unknown(_: str) -> None:
    """In place of nan and infinity."""


def made_before(name: str, result: Result, tree: dict[str, str]) -> dict[str, Any] | None:
    """What the folder was made with, if that is this source and these commands."""
    path = FOLDERS / name / MADE
    made = json.loads(path.read_text()) if path.exists() else {}
    same = made.get("source") == tree["source"] and made["commands"] == list(result.commands)
    return made if same and "+" not in tree["source"] else None


def copy_figures(name: str, result: Result) -> None:
    """The pictures of a result, drawn if they are of a run that has drawn none; large ones in 256
    colours.
    """
    for picture, path in result.figures.items():
        source = FOLDERS / name / path
        if not source.exists():
            draw(source.parents[1])
        if source.stat().st_size > LARGE:
            colours = Image.open(source).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            colours.save(FIGURES / picture, optimize=True)
        else:
            shutil.copyfile(source, FIGURES / picture)


def told_of_density(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that tell of their density as `density.draw` takes them: errors beside checks."""
    found = []
    for name, result in results.items():
        told = [each for each in result["numbers"] if isinstance(each, dict)]
        measured = {each["quantity"]: each["measured"] for each in told}
        if not {KL, RMS, *SAID} <= measured.keys():
            continue
        by = " by splines" if name.endswith("splines") else ""
        for kl, rms, *checks in zip(*(measured[key] for key in (KL, RMS, *SAID)), strict=True):
            said = dict(zip(("score_check", "unresolved"), checks, strict=True))
            found.append({"name": name + by, "at": [{"kl": kl, "log_f_rms": rms}], **said})
    return found


def main() -> int:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=", ".join(RESULTS))
    parser.add_argument("--long", action="store_true", help="those that take hours too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RESULTS):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(RESULTS)}")
    chosen = options.names or [n for n, r in RESULTS.items() if options.long or not r.long]
    results = json.loads(JSON.read_text()) if JSON.exists() else {}
    tree, failed = state_of_tree(), []
    for name in chosen:
        result = RESULTS[name]
        try:
            made = None if options.names else made_before(name, result, tree)
            made = made or make(name, result, tree)
            results[name] = {"group": result.group, "numbers": numbers(name, result), **made}
            copy_figures(name, result)
        except Exception as error:  # the others are made all the same
            failed.append(name)
            tell(f"{name}: {error!r}")
        results = {n: results[n] for n in RESULTS if n in results}  # in the order of the table
        write(JSON, results)
    if told := told_of_density(results):
        draw_checks(told, FIGURES / "density_checks.png")
    PAGE.write_text(page(results), encoding="utf-8")
    tell(f"{PAGE}: written" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
