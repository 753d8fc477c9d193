"""A new case, by questions on a terminal or by options."""

import copy
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kjko.cli.arguments import Overrides
from kjko.cli.exit_codes import exit_codes
from kjko.cli.opening import set_up_jax

DIMENSIONS = ("1", "2", "3")
log: logging.Logger = logging.getLogger(__name__)
FEW = "particles.number=100"  # to try an answer


def init(
    file: Annotated[Path, typer.Argument(help="new file")] = Path("case.toml"),
    equation: Annotated[str | None, typer.Option(help="potential or plasma")] = None,
    dimension: Annotated[str | None, typer.Option(help="1, 2 or 3")] = None,
    law: Annotated[
        str | None, typer.Option(help="normal or beams in a potential, wave or beams in a plasma")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write a first case of your own, each key with what it is.

    Asks on a terminal for what no option says; elsewhere takes the defaults.
    """
    with exit_codes():
        from kjko.case import BadInput
        from kjko.case.templates import LAWS, template
        from kjko.run.atomic import write_atomically

        if file.suffix != ".toml" or file.exists():
            raise BadInput(f"{file}: expected a new file that ends in .toml; name another")
        equation = _choice("equation", tuple(LAWS), equation)
        dimension = _choice("dimension", DIMENSIONS, dimension)
        law = _choice("law", LAWS[equation], law)
        tables = template(equation, int(dimension), law)
        answers = [*(overrides or []), *_answers(tables, equation, overrides or [])]
        text = _filled_in(tables, answers)
        _check(text)
        write_atomically(file, text.encode())
        typer.echo(f"{file}: written; `kjko run {file}` runs it")


def _choice(name: str, choices: Sequence[str], given: str | None) -> str:
    """One of them: as the option says, as is answered, or the first."""
    from kjko.case import BadInput

    def check(answer: str) -> None:
        if answer not in choices:
            raise BadInput(f"--{name}: expected one of {', '.join(choices)}, got {answer}")

    if given is None:
        return _ask(f"{name}: {', '.join(choices)}", choices[0], check)
    check(given)
    return given


def _answers(tables: dict[str, Any], equation: str, overrides: list[str]) -> list[str]:
    """Overrides that set the keys that are asked for, and that no other sets."""
    from kjko.case.keys import keys
    from kjko.case.templates import ASKED

    given = {override.partition("=")[0].strip() for override in overrides}
    answers: list[str] = []
    for path in ASKED[equation]:
        if path in given or path.removesuffix(".kind") in given:
            continue
        rows = [key for key in keys() if key.path == path]
        *parents, last = path.split(".")
        table = tables
        for parent in parents:
            table = table[parent]
        kinds = ", ".join(key.kind for key in rows)
        what = f"{path}: {kinds if last == 'kind' else rows[0].description}"

        def check(answer: str, path: str = path) -> None:
            _check(_filled_in(tables, [*overrides, *answers, f"{path}={answer}"]), [FEW])

        answers.append(f"{path}={_ask(what, str(table[last]), check)}")
    return answers


def _filled_in(tables: dict[str, Any], answers: list[str]) -> str:
    from kjko.case.commented import commented
    from kjko.case.read import set_keys

    tables = copy.deepcopy(tables)
    set_keys(tables, answers)
    return commented(tables)


def _check(text: str, overrides: Sequence[str] = ()) -> None:
    """Raises BadInput for a case that cannot be run."""
    from kjko.case import parse_toml
    from kjko.case.memory import check_step

    case = parse_toml(text, "case", list(overrides))
    set_up_jax(case)
    check_step(case.build())


def _ask(what: str, default: str, check: Callable[[str], None]) -> str:
    """What is answered on a terminal, asked again until it can be taken; the default elsewhere."""
    from kjko.case import BadInput

    while _is_asked():
        try:
            answer = typer.prompt(what, default=default)
            check(answer)
            return answer
        except BadInput as error:
            log.error(error)
        except typer.Abort:
            raise KeyboardInterrupt from None
    return default


def _is_asked() -> bool:
    return sys.stdin.isatty()
