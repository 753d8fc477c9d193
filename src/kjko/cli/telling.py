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
    from kjko.run.reader import open_run

    wave = open_run(folder).wave
    if not wave:
        return
    where, measured = f"k = {wave['theory']['wave_number']:.4g}", wave.get("measured", {})
    if measured:
        start, end = wave["window"]
        where += f", t = {start:.3g} to {end:.3g}"
    parts = []
    for name, key in (("omega", "frequency"), ("gamma", "rate")):
        exact = abs(round(wave["theory"][key], 9)) if key == "frequency" else wave["theory"][key]
        found, theory = measured.get(key), f"theory {exact:.5g}"  # a root's zero is 1e-16
        error = measured.get(f"{key}_error")
        told = "not seen" if found is None else f"= {found:.5g}"
        parts.append(f"{name} {told}{f' ± {error:.1g}' if error else ''} ({theory})")
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
