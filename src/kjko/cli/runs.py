"""Commands on a run: begin it, go on with it, look at it."""

from pathlib import Path
from typing import Annotated

import typer

from kjko.cli import telling
from kjko.cli.arguments import (
    CaseName,
    Coordinator,
    Devices,
    Folder,
    LogJson,
    Overrides,
    Process,
    Processes,
    Quiet,
)
from kjko.cli.exit_codes import exit_codes
from kjko.cli.opening import load, open_folder, set_up_jax
from kjko.cli.processes import ask_for, has_joined, shared_out_among
from kjko.messages import speaking
from kjko.signals import RESUMABLE, exit_at_once
from kjko.streams import lossy_output


def run(
    case: CaseName,
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/CASE, numbered if taken")
    ] = None,
    devices: Devices = None,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process: Process = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Run a case into a new folder and draw its figures.

    By several processes, each started with the same words but for --process; by those that SLURM
    has started (srun) with --devices alone.
    """
    with speaking(quiet, log_json), lossy_output(), exit_codes():
        devices = ask_for(devices, coordinator, processes, process)
        loaded = load(case, overrides)
        from kjko.case import BadInput
        from kjko.hosts import is_writer
        from kjko.run import loop

        if out is None and has_joined():
            raise BadInput("--out: expected a folder where there are several processes; name one")
        with shared_out_among(devices):
            folder = loop.start(loaded, out or Path("runs") / Path(case).stem, numbered=out is None)
        if is_writer():
            telling.tell(folder)


def resume(
    folder: Folder,
    devices: Devices = None,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process: Process = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Go on with a stopped run or sweep, a run on any number of devices and processes."""
    go_on = f"stopped; `kjko resume {folder}` goes on"
    with speaking(quiet, log_json), lossy_output(), exit_codes(), exit_at_once(RESUMABLE, go_on):
        from kjko.case import BadInput
        from kjko.hosts import is_writer
        from kjko.run import loop
        from kjko.studies import sweep as study

        if study.is_sweep(folder):
            if (devices, coordinator, processes, process) != (None,) * 4:
                raise BadInput(f"--devices: {folder} is a sweep, whose runs have one device each")
            planned = study.read_sweep(folder)
            set_up_jax(next(planned.members).case)
            return telling.tell_sweep(planned, study.resume(planned, telling.say))
        devices = ask_for(devices, coordinator, processes, process)
        case = loop.read_case(folder)
        set_up_jax(case)
        with shared_out_among(devices):
            loop.resume(case, folder)
        if is_writer():
            telling.tell(folder)


def status(folder: Folder) -> None:
    """Tell how far a run is, who runs it, and which of its files are damaged."""
    with exit_codes():
        from kjko.run.status import status as state_of
        from kjko.studies import sweep_results
        from kjko.studies.sweep import is_sweep, read_sweep

        if is_sweep(folder):
            line, damage = sweep_results.status(read_sweep(folder))
        else:
            line, damage = state_of(open_folder(folder))
        typer.echo(line)
        if damage:
            raise OSError("; ".join(damage))


def plot(folder: Folder, quiet: Quiet = False, log_json: LogJson = False) -> None:
    """Draw the figures of a run or a sweep, from its folder alone."""
    with speaking(quiet, log_json), exit_codes():
        from kjko.studies.sweep import is_sweep, read_sweep
        from kjko.studies.sweep_results import draw

        if is_sweep(folder):
            telling.say_result(f"figure: {draw(read_sweep(folder))}")
        else:
            telling.draw(folder)


def export(
    folder: Folder,
    encoding: Annotated[
        str, typer.Option(metavar="group|file", help="one file for all snapshots, or one for each")
    ] = "group",
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Write a run's particles, fields and density as openPMD, into DIR/openpmd."""
    with speaking(quiet, log_json), exit_codes():
        from kjko.run import openpmd

        for path in openpmd.export(open_folder(folder), encoding):
            telling.say_result(f"openPMD: {path}")


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    out: Annotated[
        Path | None,
        typer.Option(help="file; default DIR/report.html, or report.html of several runs"),
    ] = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Tell of a run or a sweep, or compare runs, on one HTML page that needs nothing beside it."""
    with speaking(quiet, log_json), exit_codes():
        from kjko.case import BadInput
        from kjko.report.page import write_report, write_sweep_report
        from kjko.studies.sweep import is_sweep, read_sweep

        path = out or (folders[0] if len(folders) == 1 else Path()) / "report.html"
        sweeps = [folder for folder in folders if is_sweep(folder)]
        if sweeps and len(folders) > 1:
            raise BadInput(f"{sweeps[0]}: expected runs, or a sweep alone, got it beside others")
        if sweeps:
            write_sweep_report(read_sweep(folders[0]), path)
        else:
            write_report([open_folder(folder) for folder in folders], path)
        telling.say_result(f"report: {path}")


def verify(folder: Folder, quiet: Quiet = False, log_json: LogJson = False) -> None:
    """Hold a run to the exact law, a grid solution or the law it tends to; print, draw errors."""
    with speaking(quiet, log_json), exit_codes():
        from kjko.run.claim import check_free
        from kjko.run.loop import read_case
        from kjko.studies import verify as verification

        case = read_case(folder)
        check_free(folder)
        set_up_jax(case)
        result = verification.verify(case, folder)
        typer.echo(verification.keep(result, folder))
        telling.say_result(f"figure: {verification.draw(case.title, result, folder)}")
