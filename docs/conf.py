"""How the site is built: `make docs`. Nothing is fetched."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from kjko.case.keys import keys

sys.path.insert(0, str(Path(__file__).parent))
# Notebooks find the `kjko` that is installed here.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "kinetic-jko"
author = "The kinetic-jko developers"
project_copyright = author
version = release = version_of("kinetic-jko")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "plain_docstrings"]
exclude_patterns = ["_build"]
highlight_language = "none"  # an indented block is an equation

smartquotes = False
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_in_temp = True  # there they leave their run folders
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_typehints = "none"  # shapes and units are in the text
autoclass_content = "both"  # arguments are told of where they are
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "kinetic-jko"
html_show_sourcelink = False
copybutton_prompt_text = "$ "


def write_keys(app: Any) -> None:
    """The page of all keys of a case, from the code that reads them."""
    tables: dict[str, list[str]] = {}
    for key in keys():
        table, _, name = key.path.rpartition(".")
        takes, what = (part.replace("|", "\\|") for part in key.told().split("\n"))
        takes = takes.removeprefix(key.path).lstrip(": ")
        tables.setdefault(table, []).append(f"| `{name}` | {takes} | {what.strip()} |")
    page = ["# All keys of a case", "", "As `kjko keys` lists them; a heading for each table."]
    for table, rows in tables.items():
        heading = f"`{table}`" if table else "A case"
        page += ["", f"## {heading}", "", "| key | takes | |", "|---|---|---|", *rows]
    (Path(app.srcdir) / "keys.md").write_text("\n".join(page) + "\n", encoding="utf-8")


def setup(app: Any) -> None:
    app.connect("builder-inited", write_keys)
