"""Docstrings of plain text for Sphinx: `code`, and indented blocks of equations or of Python."""

import ast
import dataclasses
import re
import textwrap
from typing import Any

MARKUP = re.compile(r"(?<!\w)(\*\w+\*)(?!\w)|([\\*_|])")  # an emphasised word stays
LISTED = re.compile(r"^([-+] |\(?\w{1,4}[.)] )")


def to_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, which has no markup but these two, as reStructuredText."""
    made: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        made += _verbatim(block) if block.startswith("  ") else _paragraph(block)
        made.append("")
    return made


def _verbatim(block: str) -> list[str]:
    text = textwrap.dedent(block)
    language = "python" if _is_python(text) else "none"
    return [f".. code-block:: {language}", "", *textwrap.indent(text, "    ").splitlines()]


def _is_python(text: str) -> bool:
    """A call or a loop somewhere, which no equation has."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))


def _paragraph(block: str) -> list[str]:
    """On one line, so that no line of it begins with what looks like a list."""
    plain, *rest = " ".join(block.split()).split("`")
    text = LISTED.sub(r"\\\1", _escaped(plain))
    for number, part in enumerate(rest):
        text += f"\\ ``{part}``\\ " if number % 2 == 0 else _escaped(part)
    return [text]


def _escaped(text: str) -> str:
    return MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", text)


def _process(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


def _signature(
    app: Any,
    what: str,
    name: str,
    of: Any,
    options: Any,
    arguments: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """With the call that makes a default in place of `<factory>`."""
    for field in dataclasses.fields(of) if dataclasses.is_dataclass(of) and arguments else ():
        made = f"{field.name}={getattr(field.default_factory, '__name__', '')}()"
        arguments = (arguments or "").replace(f"{field.name}=<factory>", made)
    return arguments, returned


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
