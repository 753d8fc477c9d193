"""The command `kjko`. Modules that need jax are imported by the commands that need them."""

from typing import Annotated

import typer

from kjko.cli import cases, runs, studies
from kjko.cli.new_case import init
from kjko.messages import speaking

app: typer.Typer = typer.Typer(
    help="Density, entropy and free energy of kinetic equations.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # a tenth of a second
    pretty_exceptions_enable=False,
)
app.command("cases")(cases.list_cases)
app.command()(cases.show)
app.command()(cases.validate)
app.command("keys")(cases.list_keys)
app.command()(init)
app.command()(runs.run)
app.command()(studies.sweep)
app.command()(runs.resume)
app.command()(runs.status)
app.command()(runs.plot)
app.command()(studies.converge)
app.command()(studies.compare)
app.command()(runs.verify)
app.command()(runs.report)
app.command()(runs.export)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"kjko {version('kinetic-jko')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="and exit")
    ] = False,
) -> None:
    """Density, entropy and free energy of kinetic equations."""
    context.with_resource(speaking())


def main() -> None:
    """Entry point."""
    app()
