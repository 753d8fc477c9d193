"""The table of `kjko compare`, as numbers."""

import csv
from pathlib import Path
from typing import Any

from kjko.studies.comparison import COLUMNS


def methods(folder: Path) -> dict[str, Any]:
    """Of each method its numbers by column, one for each seed that did not fail; and how many did.

    A column that is empty for all of its seeds is left out.
    """
    (path,) = folder.rglob("compare.csv")
    found: dict[str, Any] = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        method = found.setdefault(row["method"], {"failed": 0})
        method["failed"] += bool(row["failure"])
        for column in COLUMNS:
            if row[column]:
                method.setdefault(column, []).append(float(row[column]))
    return found
