"""Commands on cases."""

from pathlib import Path

import typer

from kjko import cases
from kjko.cli.arguments import CaseName, Overrides
from kjko.cli.exit_codes import exit_codes
from kjko.cli.opening import load


def list_cases() -> None:
    """List the built-in cases."""
    width = max(len(name) for name in cases.names())
    with exit_codes():
        for name in cases.names():
            typer.echo(f"{name:{width}}  {cases.title(name)}")


def show(case: CaseName) -> None:
    """Print a case, to copy and edit."""
    path = Path(case)
    with exit_codes():
        if case in cases.names():
            typer.echo(cases.text(case), nl=False)
        elif path.suffix == ".toml" and path.is_file():
            typer.echo(path.read_bytes(), nl=False)
        else:
            load(case, None)  # refuses it, with the nearest names


def validate(case: CaseName, overrides: Overrides = None) -> None:
    """Check a case without running it."""
    with exit_codes():
        from kjko.case.memory import check_step

        check_step(load(case, overrides).build())
        typer.echo(f"{case}: valid")
