"""The command `kjko`, also as `python -m kjko`.

Streams, signals and memory are seen to before anything large is imported.
"""

import sys

from kjko.compilation_cache import be_quiet
from kjko.limits import hold_to_memory
from kjko.signals import RESUMABLE, STOPPED, unwatch, watch
from kjko.streams import mend


def main() -> None:
    """Entry point."""
    mend()
    be_quiet()
    watch(RESUMABLE if "resume" in sys.argv[1:2] else STOPPED)
    hold_to_memory()
    from kjko import cli

    try:
        cli.main()
    finally:
        unwatch()


if __name__ == "__main__":
    main()
