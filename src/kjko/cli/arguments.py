"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from kjko.cli import completion

Folder = Annotated[Path, typer.Argument(metavar="DIR", autocompletion=completion.folders)]
CaseName = Annotated[
    str,
    typer.Argument(
        help="a built-in's name or a path to a .toml", autocompletion=completion.names_of_cases
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=C",
        help="set a key of the case",
        autocompletion=completion.overrides,
    ),
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
Quiet = Annotated[bool, typer.Option("--quiet", help="say nothing but results, warnings, errors")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="say what goes to stderr as JSON, an object a line")
]
