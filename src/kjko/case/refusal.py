"""What is said of input that is refused."""


class BadInput(ValueError):
    """Input that is refused: one line with the key, what was expected, what came, what to do."""
