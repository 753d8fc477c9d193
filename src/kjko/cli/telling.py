"""What a finished run or sweep has to say, and its figures."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kjko.cli.exit_codes import NUMERICAL
from kjko.cli.opening import open_folder
from kjko.signals import RESUMABLE, Interrupted, exit_at_once

if TYPE_CHECKING:
    from kjko.studies.sweep import Sweep

log: logging.Logger = logging.getLogger(__name__)


def tell(folder: Path) -> None:
    """What a finished run has to say, and its figures."""
    stopped = f"stopped; `kjko plot {folder}` draws the figures"
    try:
        with exit_at_once(RESUMABLE, stopped):
            _tell_wave(folder)
            draw(folder)
            _tell_checks(folder)
    except KeyboardInterrupt:
        raise Interrupted(stopped) from None


def draw(folder: Path) -> None:
    from kjko.figures.run_figures import draw

    open_folder(folder)
    for path in draw(folder):
        say_result(f"figure: {path}")


def say(line: str) -> None:
    """Of what is being done."""
    log.info(line)


def say_result(line: str) -> None:
    """Of what was done, on stdout."""
    if log.isEnabledFor(logging.INFO):
        typer.echo(line)


def tell_sweep(planned: "Sweep", failures: dict[Path, str]) -> None:
    """What a finished sweep has to say."""
    from kjko.studies.sweep_results import draw, table, write_table

    with exit_at_once(RESUMABLE, f"stopped; `kjko plot {planned.folder}` draws the figure"):
        typer.echo(table(planned))
        say_result(f"table: {write_table(planned)}")
        say_result(f"figure: {draw(planned)}")
    for folder, failure in failures.items():
        log.error("%s: %s", folder, failure)
    if failures:
        raise typer.Exit(NUMERICAL)


def _tell_wave(folder: Path) -> None:
    """A line on the wave of linear theory, and what of it was measured."""
    from kjko.report.summary import wave
    from kjko.run.reader import open_run

    run = open_run(folder)
    if not run.wave:
        return
    where = f"k = {run.wave['theory']['wave_number']:.4g}"
    if "measured" in run.wave:
        where += ", t = {:.3g} to {:.3g}".format(*run.wave["window"])
    parts = []
    for symbol, (_, found, theory) in zip(("omega", "gamma"), wave(run), strict=True):
        parts.append(f"{symbol} {'' if found == 'not seen' else '= '}{found} (theory {theory})")
    say_result(f"wave of {where}: {', '.join(parts)}")


def _tell_checks(folder: Path) -> None:
    """A line on the checks of the density, and a warning if they fail."""
    from kjko.observe.trust import checks_of_density
    from kjko.run.reader import open_run

    line, warning = checks_of_density(open_run(folder).columns)
    if line is not None:
        say_result(line)
    if warning is not None:
        log.warning(warning)
