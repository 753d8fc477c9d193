"""The names that `import kjko` gives."""

import ast
from pathlib import Path

import pytest

import kjko

NAMES = sorted(name for names in kjko._HOME.values() for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there(name):
    assert getattr(kjko, name).__name__ == name


def test_no_name_twice_and_no_other():
    assert len(NAMES) == len(set(NAMES))
    assert dir(kjko) == sorted([*NAMES, "__version__"])
    with pytest.raises(AttributeError, match="'kjko' has no attribute 'Solvr'"):
        _ = kjko.Solvr


def test_type_checkers_see_the_same_names():
    """Those under TYPE_CHECKING, from the same modules, each as itself: `import A as A`."""
    tree = ast.parse(Path(kjko.__file__).read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = [
        (node.module, alias.name, alias.asname)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    expected = [
        (f"kjko.{module}", name, name) for module, names in kjko._HOME.items() for name in names
    ]
    assert sorted(seen) == sorted(expected)
