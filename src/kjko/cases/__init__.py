"""The built-in cases: one TOML file for each experiment."""

import tomllib
from importlib.resources import files


def names() -> list[str]:
    """Their names, sorted."""
    return sorted(
        f.name.removesuffix(".toml") for f in files(__name__).iterdir() if f.name.endswith(".toml")
    )


def text(name: str) -> str:
    """The TOML of a case."""
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def title(name: str) -> str:
    """Its title."""
    return tomllib.loads(text(name))["title"]
