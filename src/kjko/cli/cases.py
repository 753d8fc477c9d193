"""Commands on cases."""

from pathlib import Path
from typing import Annotated

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


def show(case: CaseName, overrides: Overrides = None) -> None:
    """Print a case, to copy and edit; with --set in full, as it would be run."""
    path = Path(case)
    with exit_codes():
        if overrides:
            typer.echo(load(case, overrides).to_toml(), nl=False)
        elif case in cases.names():
            typer.echo(cases.text(case), nl=False)
        elif path.suffix == ".toml" and path.is_file():
            typer.echo(path.read_bytes(), nl=False)
        else:
            load(case, None)  # refuses it, with the nearest names


def list_keys(
    pattern: Annotated[str, typer.Argument(help="of the path or the kind; all if not given")] = "",
) -> None:
    """List the keys of a case: what each is, its type and range, unit, default."""
    with exit_codes():
        from kjko.case import BadInput
        from kjko.case.keys import find

        found = find(pattern)
        if not found:
            raise BadInput(
                f"{pattern}: expected a part of a key's name or kind; `kjko keys` has all"
            )
        for key in found:
            typer.echo(key.told())


def validate(case: CaseName, overrides: Overrides = None) -> None:
    """Check a case without running it."""
    with exit_codes():
        from kjko.case.memory import check_step

        check_step(load(case, overrides).build())
        typer.echo(f"{case}: valid")
