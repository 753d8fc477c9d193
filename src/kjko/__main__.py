"""The command `kjko`, also as `python -m kjko`.

Streams, signals and memory are seen to before anything else is imported.
"""

from kjko.compilation_cache import be_quiet
from kjko.limits import hold_to_memory
from kjko.signals import unwatch, watch
from kjko.streams import mend


def main() -> None:
    """Entry point."""
    mend()
    be_quiet()
    watch()
    hold_to_memory()
    from kjko import cli

    try:
        cli.main()
    finally:
        unwatch()


if __name__ == "__main__":
    main()
