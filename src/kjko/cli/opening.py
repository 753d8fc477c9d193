"""A case, and the jax that it asks for; the run of a folder."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kjko.case import Case
    from kjko.run.reader import Run


def load(name: str, overrides: list[str] | None) -> "Case":
    """The case, with jax set up for it."""
    from kjko.case import load

    loaded = load(name, overrides)
    set_up_jax(loaded)
    return loaded


def set_up_jax(case: "Case") -> None:
    import jax

    from kjko.compilation_cache import keep_programs

    gc.freeze()  # what is imported stays: to look through it again takes a tenth of all tracing
    jax.config.update("jax_enable_x64", case.solver.precision == "double")
    if case.output.keep_programs:
        keep_programs()


def open_folder(folder: Path) -> "Run":
    """The run of a folder, which is bad input if it is none or its case was changed."""
    from kjko.case import BadInput
    from kjko.run.reader import open_run

    try:
        return open_run(folder)
    except (FileNotFoundError, ValueError) as error:
        raise BadInput(str(error)) from None
