"""The command `kjko`, also as `python -m kjko`.

Streams are mended and signals heeded before anything else is imported.
"""

from kjko.signals import watch
from kjko.streams import mend


def main() -> None:
    """Entry point."""
    mend()
    watch()
    from kjko import cli

    cli.main()


if __name__ == "__main__":
    main()
