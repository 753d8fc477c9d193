"""series.jsonl: a JSON object a line, one for each step, each with its checksum."""

import logging
from pathlib import Path
from typing import Any

from kjko.run.sealed import unseal

log = logging.getLogger(__name__)


def read_series(folder: Path) -> list[dict[str, Any]]:
    """The records. Lines that are damaged are left out, with a warning; one without its end is
    being written, or was when the run was killed.
    """
    records, damaged = [], 0
    path = folder / "series.jsonl"
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            record = unseal(line)
        except ValueError:
            damaged += line.endswith(b"\n")
        else:
            records.append(record)
    if damaged:
        log.warning("%s: %d damaged line(s) are left out", path, damaged)
    return records
