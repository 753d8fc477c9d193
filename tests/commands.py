"""The command, called in this process."""

from typer.testing import CliRunner

from kjko import cli


def kjko(*arguments: object, stdin: str | None = None):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.app, words, input=stdin, catch_exceptions=False)


def line(result, exit_code: int) -> str:
    """The one line that a failure gives, after that which a run begins with."""
    assert result.exit_code == exit_code, result.stderr
    assert result.stdout == ""
    *begins, said = result.stderr.splitlines(keepends=True)
    assert said.startswith("kjko: ") and said.endswith("\n"), result.stderr
    assert not begins or (len(begins) == 1 and "; the first one compiles" in begins[0]), (
        result.stderr
    )
    return said.removeprefix("kjko: ").rstrip("\n")
