"""Commands that make many runs of a case."""

import math
from pathlib import Path
from typing import Annotated

import typer

from kjko.cli.arguments import CaseName, LogJson, Overrides, Quiet
from kjko.cli.exit_codes import exit_codes
from kjko.cli.opening import load, set_up_jax
from kjko.cli.telling import say, say_result, tell_sweep
from kjko.messages import speaking
from kjko.streams import lossy_output


def sweep(
    case: CaseName,
    seeds: Annotated[int, typer.Option(help="runs of each setting, from seeds that follow")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/sweep-CASE, numbered if taken")
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Run a case for each of several values, as in --set problem.collision_rate=0.1,0.3,1.

    Compiled once; a table and a figure at the end, all series by `kjko.open_sweep`.
    """
    with speaking(quiet, log_json), lossy_output(), exit_codes():
        from kjko.run.claim import new_folder
        from kjko.run.loop import check_unused
        from kjko.studies import sweep as study

        folder = out or Path("runs") / f"sweep-{Path(case).stem}"
        if out is not None:
            check_unused(out)
        planned = study.plan(case, overrides or [], seeds, folder)
        set_up_jax(next(planned.members).case)
        study.check(planned)
        if out is None:
            planned = planned._replace(folder=new_folder(folder))
        tell_sweep(planned, study.start(planned, say))


def converge(
    case: CaseName,
    time_steps: Annotated[str, typer.Option(help="separated by commas")] = "0.2,0.1,0.05,0.025",
    out: Annotated[
        Path | None, typer.Option(help="new folder; default runs/converge-CASE, numbered if taken")
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Time-step study of a Gaussian case against the exact law (Figure 1).

    In double precision, with the affine control fitted on all particles, unless --set says else.
    """
    with speaking(quiet, log_json), lossy_output(), exit_codes():
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
        loaded = load(case, [*SETTINGS, *(overrides or [])])
        if out is not None:
            check_unused(out)
        result = study(loaded, steps, progress=say)
        folder = out or new_folder(Path("runs") / f"converge-{Path(case).stem}")
        write_atomically(folder / "convergence.csv", result.csv().encode())
        draw_convergence(steps, result.errors, result.orders, folder / "convergence.png")
        for name, order in result.orders.items():
            typer.echo(f"order of {name}: {order:.2f}")
        say_result(f"figure: {folder / 'convergence.png'}")


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
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Solve a case by several methods from the same particles: table and figures (Figure 2).

    Methods that learn a network take the case's control and fit, where it has one.
    """
    with speaking(quiet, log_json), lossy_output(), exit_codes():
        from kjko.run.claim import new_folder
        from kjko.run.loop import check_unused
        from kjko.studies.compare import check_methods
        from kjko.studies.compare import compare as study
        from kjko.studies.comparison import write

        names = [name.strip() for name in methods.split(",")]
        check_methods(names, seeds)
        loaded = load(case, overrides)
        folder = out or new_folder(Path("runs") / f"compare-{Path(case).stem}")
        check_unused(folder)
        result = study(
            case,
            overrides or [],
            names,
            seeds,
            progress=say,
            save=lambda result: write(result, loaded.title, folder),
        )
        typer.echo(result.table())
        for path in sorted(folder.glob("*.png")):
            say_result(f"figure: {path}")
