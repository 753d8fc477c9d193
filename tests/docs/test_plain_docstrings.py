"""Docstrings of plain text become reStructuredText."""

import importlib.util
import textwrap
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "plain_docstrings.py"


def rst(docstring: str) -> str:
    spec = importlib.util.spec_from_file_location("plain_docstrings", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "\n".join(module.to_rst(textwrap.dedent(docstring).splitlines()))


def test_code_and_what_would_be_markup():
    assert rst("`kl_`: |u − u*|² of `Gradient`s_") == (
        "\\ ``kl_``\\ : \\|u − u\\*\\|² of \\ ``Gradient``\\ s\\_\n"
    )
    assert rst("(34) with *half* a*\n- b") == "\\(34) with *half* a\\* - b\n"
    assert rst("+ and −") == "\\+ and −\n"


def test_equations_and_examples():
    made = rst("""\
        The equation

            f(x) = |x|²,    x > 0

        and a call:

            run = kjko.open_run("a*b")
            print(run)
        """)
    equation, example = made.split(".. code-block:: none")[1].split(".. code-block:: python")
    assert "\n    f(x) = |x|²,    x > 0\n" in equation
    assert '\n    run = kjko.open_run("a*b")\n    print(run)\n' in example
