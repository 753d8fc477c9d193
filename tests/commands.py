"""The command, called in this process."""

from typer.testing import CliRunner

from kjko import cli


def kjko(*arguments: object):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)


def line(result, exit_code: int) -> str:
    """The one line that a failure gives."""
    assert result.exit_code == exit_code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("kjko: ") and result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    return result.stderr.removeprefix("kjko: ").rstrip("\n")
