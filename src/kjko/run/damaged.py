"""The error of a file that is not as it was written."""

from pathlib import Path


class Damaged(OSError):
    """A file of a run folder whose content is not what was written; the system has read it."""

    def __init__(self, path: Path, why: object):
        super().__init__(f"{path}: cannot be read: {why}")
