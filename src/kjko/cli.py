"""The command `kjko`. Modules that need jax are imported by the commands that need them."""

import contextlib
import gc
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kjko import cases
from kjko.signals import RESUMABLE, STOPPED, Interrupted, exit_at_once
from kjko.streams import lossy_output, silence

BAD_INPUT, NUMERICAL, INPUT_OUTPUT, NO_CHECKPOINT = 2, 3, 4, 5
HALF = 500  # of the letters of a message
OTHERS_FIRST = 5  # seconds

app = typer.Typer(
    help="Density, entropy and free energy of kinetic equations.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)
CaseName = Annotated[str, typer.Argument(help="a built-in's name or a path to a .toml")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="set a key of the case")
]

Devices = Annotated[
    int | None,
    typer.Option(help="how many GPUs, or cores where there are none, share the particles"),
]
Coordinator = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="where the first of several processes listens"),
]
Processes = Annotated[
    int | None, typer.Option(help="how many there are, each with as many of the devices")
]
Process = Annotated[int | None, typer.Option(help="which of them this is, from 0 on; 0 writes")]


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"kjko {version('kinetic-jko')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="and exit")
    ] = False,
) -> None:
    """Density, entropy and free energy of kinetic equations."""


@app.command("cases")
def list_cases() -> None:
    """List the built-in cases."""
    width = max(len(name) for name in cases.names())
    with _exit_codes():
        for name in cases.names():
            typer.echo(f"{name:{width}}  {cases.title(name)}")


@app.command()
def show(case: CaseName) -> None:
    """Print a case, to copy and edit."""
    path = Path(case)
    with _exit_codes():
        if case in cases.names():
            typer.echo(cases.text(case), nl=False)
        elif path.suffix == ".toml" and path.is_file():
            typer.echo(path.read_bytes(), nl=False)
        else:
            _load(case, None)  # refuses it, with the nearest names


@app.command()
def validate(case: CaseName, overrides: Overrides = None) -> None:
    """Check a case without running it."""
    with _exit_codes():
        from kjko.case.memory import check_step

        check_step(_load(case, overrides).build())
        typer.echo(f"{case}: valid")


@app.command()
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
) -> None:
    """Run a case into a new folder and draw its figures.

    By several processes, each started with the same words but for --process; by those that SLURM
    has started (srun) with --devices alone.
    """
    with lossy_output(), _exit_codes():
        devices = _ask_for(devices, coordinator, processes, process)
        loaded = _load(case, overrides)
        from kjko.case import BadInput
        from kjko.hosts import is_writer
        from kjko.run import loop

        if out is None and _has_joined():
            raise BadInput("--out: expected a folder where there are several processes; name one")
        with _shared_out_among(devices):
            folder = loop.start(loaded, out or Path("runs") / Path(case).stem, numbered=out is None)
        if is_writer():
            _tell(folder)


@app.command()
def sweep(
    case: CaseName,
    seeds: Annotated[int, typer.Option(help="runs of each setting, from seeds that follow")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/sweep-CASE, numbered if taken")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run a case for each of several values, as in --set problem.collision_rate=0.1,0.3,1.

    Compiled once; a table and a figure at the end, all series by `kjko.open_sweep`.
    """
    with lossy_output(), _exit_codes():
        from kjko.run.claim import new_folder
        from kjko.run.loop import check_unused
        from kjko.studies import sweep as study

        folder = out or Path("runs") / f"sweep-{Path(case).stem}"
        if out is not None:
            check_unused(out)
        planned = study.plan(case, overrides or [], seeds, folder)
        _set_up_jax(next(planned.members).case)
        study.check(planned)
        if out is None:
            planned = planned._replace(folder=new_folder(folder))
        _tell_sweep(planned, study.start(planned, _say))


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    devices: Devices = None,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process: Process = None,
) -> None:
    """Go on with a stopped run or sweep, a run on any number of devices and processes."""
    go_on = f"stopped; `kjko resume {folder}` goes on"
    with lossy_output(), _exit_codes(), exit_at_once(RESUMABLE, go_on):
        from kjko.case import BadInput
        from kjko.hosts import is_writer
        from kjko.run import loop
        from kjko.studies import sweep as study

        if study.is_sweep(folder):
            if (devices, coordinator, processes, process) != (None,) * 4:
                raise BadInput(f"--devices: {folder} is a sweep, whose runs have one device each")
            planned = study.read_sweep(folder)
            _set_up_jax(next(planned.members).case)
            return _tell_sweep(planned, study.resume(planned, _say))
        devices = _ask_for(devices, coordinator, processes, process)
        case = loop.read_case(folder)
        _set_up_jax(case)
        with _shared_out_among(devices):
            loop.resume(case, folder)
        if is_writer():
            _tell(folder)


@app.command()
def status(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Tell how far a run is, who runs it, and which of its files are damaged."""
    with _exit_codes():
        from kjko.run.status import status as state_of
        from kjko.studies import sweep_results
        from kjko.studies.sweep import is_sweep, read_sweep

        if is_sweep(folder):
            line, damage = sweep_results.status(read_sweep(folder))
        else:
            line, damage = state_of(_open(folder))
        typer.echo(line)
        if damage:
            raise OSError("; ".join(damage))


@app.command()
def plot(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Draw the figures of a run or a sweep, from its folder alone."""
    with _exit_codes():
        from kjko.studies.sweep import is_sweep, read_sweep
        from kjko.studies.sweep_results import draw

        if is_sweep(folder):
            typer.echo(f"figure: {draw(read_sweep(folder))}")
        else:
            _draw(folder)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    out: Annotated[
        Path | None,
        typer.Option(help="file; default DIR/report.html, or report.html of several runs"),
    ] = None,
) -> None:
    """Tell of a run, or compare several, on one HTML page that needs nothing beside it."""
    with _exit_codes():
        from kjko.report.page import write_report

        for folder in folders:
            _open(folder)
        path = out or (folders[0] if len(folders) == 1 else Path()) / "report.html"
        write_report(folders, path)
        typer.echo(f"report: {path}")


@app.command()
def converge(
    case: CaseName,
    time_steps: Annotated[str, typer.Option(help="separated by commas")] = "0.2,0.1,0.05,0.025",
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/converge-CASE, numbered if taken")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Time-step study of a Gaussian case against the exact law (Figure 1).

    In double precision, with the affine control fitted on all particles, unless --set says else.
    """
    with lossy_output(), _exit_codes():
        from kjko.case import BadInput
        from kjko.figures.errors import draw_convergence
        from kjko.run.atomic import write_atomically
        from kjko.run.claim import new_folder
        from kjko.run.loop import check_unused
        from kjko.studies.converge import SETTINGS
        from kjko.studies.converge import converge as study

        try:
            steps = [float(step) for step in time_steps.split(",")]
        except ValueError:
            steps = []
        if len(set(steps)) < max(2, len(steps)) or not all(0 < step < math.inf for step in steps):
            raise BadInput(
                f"--time-steps {time_steps}: expected two or more different positive numbers,"
                " as in 0.2,0.1"
            )
        loaded = _load(case, [*SETTINGS, *(overrides or [])])
        if out is not None:
            check_unused(out)
        result = study(loaded, steps, progress=_say)
        folder = out or new_folder(Path("runs") / f"converge-{Path(case).stem}")
        write_atomically(folder / "convergence.csv", result.csv().encode())
        draw_convergence(steps, result.errors, result.orders, folder / "convergence.png")
        for name, order in result.orders.items():
            typer.echo(f"order of {name}: {order:.2f}")
        typer.echo(f"figure: {folder / 'convergence.png'}")


@app.command()
def compare(
    case: CaseName,
    methods: Annotated[
        str, typer.Option(help="separated by commas")
    ] = "jko,jko-paper,score,score-end-to-end,velocity-matching,langevin",
    seeds: Annotated[int, typer.Option(help="runs of each method, from seeds that follow")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/compare-CASE, numbered if taken")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Solve a case by several methods from the same particles: table and figures (Figure 2).

    Methods that learn a network take the case's control and fit, where it has one.
    """
    with lossy_output(), _exit_codes():
        from kjko.run.claim import new_folder
        from kjko.run.loop import check_unused
        from kjko.studies.compare import check_methods
        from kjko.studies.compare import compare as study
        from kjko.studies.comparison import write

        names = [name.strip() for name in methods.split(",")]
        check_methods(names, seeds)
        loaded = _load(case, overrides)
        folder = out or new_folder(Path("runs") / f"compare-{Path(case).stem}")
        check_unused(folder)
        result = study(
            case,
            overrides or [],
            names,
            seeds,
            progress=_say,
            save=lambda result: write(result, loaded.title, folder),
        )
        typer.echo(result.table())
        for path in sorted(folder.glob("*.png")):
            typer.echo(f"figure: {path}")


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Hold a run to the exact law, a grid solution or the law it tends to; print, draw errors."""
    with _exit_codes():
        from kjko.run.claim import check_free
        from kjko.run.loop import read_case
        from kjko.studies import verify as verification

        case = read_case(folder)
        check_free(folder)
        _set_up_jax(case)
        result = verification.verify(case, folder)
        typer.echo(verification.keep(result, folder))
        typer.echo(f"figure: {verification.draw(case.title, result, folder)}")


def _load(name: str, overrides: list[str] | None):
    """The case, with jax set up for it."""
    from kjko.case import load

    loaded = load(name, overrides)
    _set_up_jax(loaded)
    return loaded


def _set_up_jax(case) -> None:
    import jax

    from kjko.compilation_cache import keep_programs

    gc.freeze()  # what is imported stays: to look through it again takes a tenth of all tracing
    jax.config.update("jax_enable_x64", case.solver.precision == "double")
    if case.output.keep_programs:
        keep_programs()


def _ask_for(
    devices: int | None, coordinator: str | None, processes: int | None, process: int | None
) -> int | None:
    """Before jax is first used; how many devices in all."""
    from kjko.case import BadInput
    from kjko.core.sums import BLOCKS
    from kjko.devices import ask_for
    from kjko.hosts import join

    number = _number_of_processes(devices, coordinator, processes, process)
    if devices is None and number == 1:
        return None
    devices = number if devices is None else devices
    if not 1 <= devices <= BLOCKS:
        raise BadInput(f"--devices: expected 1 to {BLOCKS}, got {devices}")
    if devices % number != 0:
        raise BadInput(f"--devices: expected a multiple of {number} processes, got {devices}")
    with contextlib.suppress(RuntimeError):  # it is in use, which is told where there are too few
        ask_for(devices // number)
    if number > 1:
        join(coordinator, processes, process)
    return devices


def _number_of_processes(
    devices: int | None, coordinator: str | None, processes: int | None, process: int | None
) -> int:
    """As the options say, or SLURM where devices are asked for."""
    from kjko.case import BadInput

    given = (coordinator, processes, process)
    if given == (None, None, None):
        return 1 if devices is None else int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if coordinator is None or processes is None or process is None:
        raise BadInput(
            "--coordinator: expected --processes and --process beside it; give all three"
        )
    if not coordinator.rpartition(":")[2].isdecimal() or ":" not in coordinator:
        raise BadInput(f"--coordinator: expected HOST:PORT, got {coordinator}")
    if processes < 1:
        raise BadInput(f"--processes: expected 1 or more, got {processes}")
    if not 0 <= process < processes:
        raise BadInput(f"--process: expected 0 to {processes - 1}, got {process}")
    return processes


@contextlib.contextmanager
def _shared_out_among(number: int | None) -> Iterator[None]:
    """Where particles are shared out among so many devices, or left alone for None."""
    if number is None:
        yield
        return
    from kjko.case import BadInput
    from kjko.devices import several

    try:
        context = several(number)
    except ValueError as error:
        raise BadInput(f"--{error}") from None
    with context:
        yield


def _draw(folder: Path) -> None:
    from kjko.figures.run_figures import draw

    _open(folder)
    for path in draw(folder):
        typer.echo(f"figure: {path}")


def _open(folder: Path):
    """The run of a folder, which is bad input if it is none or its case was changed."""
    from kjko.case import BadInput
    from kjko.run.reader import open_run

    try:
        return open_run(folder)
    except (FileNotFoundError, ValueError) as error:
        raise BadInput(str(error)) from None


def _tell(folder: Path) -> None:
    """What a finished run has to say, and its figures."""
    stopped = f"stopped; `kjko plot {folder}` draws the figures"
    try:
        with exit_at_once(RESUMABLE, stopped):
            _tell_wave(folder)
            _draw(folder)
            _tell_checks(folder)
    except KeyboardInterrupt:
        raise Interrupted(stopped) from None


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _tell_sweep(planned, failures: dict[Path, str]) -> None:
    """What a finished sweep has to say."""
    from kjko.studies.sweep_results import draw, table, write_table

    with exit_at_once(RESUMABLE, f"stopped; `kjko plot {planned.folder}` draws the figure"):
        typer.echo(table(planned))
        typer.echo(f"table: {write_table(planned)}")
        typer.echo(f"figure: {draw(planned)}")
    for folder, failure in failures.items():
        _say(f"kjko: {folder}: {failure}")
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
        parts.append(f"{name} {'not seen' if found is None else f'= {found:.5g}'} ({theory})")
    typer.echo(f"wave of {where}: {', '.join(parts)}")


def _tell_checks(folder: Path) -> None:
    """A line on the checks of the density, and a warning if they fail."""
    from kjko.run.reader import open_run
    from kjko.run.trust import checks_of_density

    line, warning = checks_of_density(open_run(folder).columns)
    if line is not None:
        typer.echo(line)
    if warning is not None:
        typer.echo(f"kjko: {warning}", err=True)


@contextlib.contextmanager
def _exit_codes() -> Iterator[None]:
    """An expected failure becomes one line and its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("kjko: stopped", err=True)
        _leave_the_others(STOPPED)
        raise typer.Exit(STOPPED) from None
    except BrokenPipeError:  # as in `kjko show CASE | head -1`: no one wants more of it
        silence(sys.stdout)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            if _has_joined():
                traceback.print_exc()
            _leave_the_others(1)
            raise
        text = f"out of memory: {error}" if _lacks_memory(error) else str(error)
        if _is_lost(error):
            text = f"another process of the run has ended; `kjko resume` goes on ({error})"
        typer.echo(f"kjko: {_line(text)}", err=True)
        if code not in (NUMERICAL, RESUMABLE):  # which end all processes at the same step
            _leave_the_others(code)
        raise typer.Exit(code) from None


def _line(text: str) -> str:
    """One line. Of a long one the middle is left out: the key comes first, what to do last."""
    line = " ".join(text.split())
    return line if len(line) <= 2 * HALF else f"{line[:HALF]} … {line[-HALF:]}"


def _exit_code(error: Exception) -> int | None:
    """None for what is not expected."""
    from kjko.case import BadInput
    from kjko.observe import NumericalFailure
    from kjko.run.checkpoints import NoCheckpoint

    codes = {
        BadInput: BAD_INPUT,
        NumericalFailure: NUMERICAL,
        OSError: INPUT_OUTPUT,
        NoCheckpoint: NO_CHECKPOINT,
        Interrupted: RESUMABLE,
    }
    if _lacks_memory(error) or _is_lost(error):
        return INPUT_OUTPUT
    return next((code for kind, code in codes.items() if isinstance(error, kind)), None)


def _leave_the_others(code: int) -> None:
    """End at once if this is one of several processes: the others may wait for this one, which
    would else wait for them. The end of the first one aborts the others, which may be about to
    refuse the same: it lets them go first.
    """
    if _has_joined():
        from kjko.hosts import is_writer

        sys.stderr.flush()
        if is_writer():
            time.sleep(OTHERS_FIRST)
        os._exit(code)


def _has_joined() -> bool:
    """Whether this is one of several processes of a run."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _is_lost(error: Exception) -> bool:
    """Whether another process of the run has ended while this one waited for it."""
    words = ("Gloo", "NCCL", "Connection closed", "coordination service")
    return _has_joined() and any(word in str(error) for word in words)


def _lacks_memory(error: Exception) -> bool:
    """Whether numpy or jax has found none."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def main() -> None:
    """Entry point."""
    logging.basicConfig(format="kjko: %(message)s", level=logging.WARNING, stream=sys.stderr)
    app()
