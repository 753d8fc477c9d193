"""The command `kjko`, also as `python -m kjko`.

Streams are mended and signals heeded before anything else is imported.
"""

from kjko.signals import unwatch, watch
from kjko.streams import mend


def main() -> None:
    """Entry point."""
    mend()
    watch()
    from kjko import cli

    try:
        cli.main()
    finally:
        unwatch()


if __name__ == "__main__":
    main()
