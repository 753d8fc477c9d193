"""JSON that shows whether it is as it was written: each object has its checksum."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

SEAL = "crc32"


def seal(content: Mapping[str, Any], indent: int | None = None) -> str:
    """The text of an object with its checksum as the last key. Raises ValueError for nan."""
    sealed = {**content, SEAL: _checksum(content)}
    return json.dumps(sealed, allow_nan=False, indent=indent)


def unseal(text: str | bytes) -> dict[str, Any]:
    """The object, without its checksum. Raises ValueError if it is not as it was written."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if not isinstance(content, dict) or SEAL not in content:
        raise ValueError("no object with a checksum")
    if content.pop(SEAL) != _checksum(content):
        raise ValueError("its checksum is that of other content")
    return content


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
