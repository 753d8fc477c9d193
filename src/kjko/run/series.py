"""series.jsonl: a JSON object a line, one for each step."""

import contextlib
import json
from pathlib import Path
from typing import Any


def read_series(folder: Path) -> list[dict[str, Any]]:
    """The records, without lines that a crash has cut or that are damaged otherwise."""
    records = []
    path = folder / "series.jsonl"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records
