"""`python -m kjko` is the command `kjko`."""

from kjko.cli import main

if __name__ == "__main__":
    main()
