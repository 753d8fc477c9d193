"""series.jsonl: a JSON object a line, one for each step, each with its checksum."""

import logging
from pathlib import Path
from typing import Any

from kjko.run.sealed import unseal

log: logging.Logger = logging.getLogger(__name__)


def read_series(folder: Path) -> list[dict[str, Any]]:
    """The records. Lines that are damaged are left out, with a warning."""
    records, damaged = [], 0
    path = folder / "series.jsonl"
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            records.append(unseal(line))
        except ValueError:
            damaged += 1
    if damaged:
        log.warning("%s: %d damaged or unfinished line(s) are left out", path, damaged)
    return records
