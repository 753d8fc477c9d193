"""docs/results.md from docs/results.json: `page` fills the template beside this file."""

import json
import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
JSON, PAGE = DOCS / "results.json", DOCS / "results.md"
TEMPLATE = "results.md.j2"


def page(results: dict[str, Any]) -> str:
    """The page. Raises jinja2.UndefinedError if a number that it tells of is missing."""
    loader = FileSystemLoader(HERE)
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bound": bound, "measured": measured, "missed": missed, "number": number, "spread": spread
    }  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        results=results, missing=out_of_bounds(results), origins=list(origins(results).items())
    )


def out_of_bounds(results: dict[str, Any]) -> list[str]:
    """The checks that miss their bounds, by result and quantity."""
    return [
        f"`{name}`, {check['quantity']}"
        for name, result in results.items()
        if isinstance(result["numbers"], list)
        for check in result["numbers"]
        if missed(check)
    ]


def origins(results: dict[str, Any]) -> dict[str, list[str]]:
    """The results by what made them: commit, tree, versions, device and cores."""
    found: dict[str, list[str]] = {}
    for name, result in results.items():
        machine = result["machine"]
        versions = machine["versions"]
        made = (
            f"commit `{result['commit']}`, tree `{result['source']}`, Python {versions['python']},"
            f" jax {versions['jax']}, {result['device']} ({machine['architecture']},"
            f" {machine['cores']} core{'s' if machine['cores'] > 1 else ''})"
        )
        found.setdefault(made, []).append(f"`{name}`")
    return found


def number(value: float, digits: int = 2) -> str:
    """As text to so many digits, without an exponent below a hundred thousand."""
    rounded = float(f"{value:.{digits}g}")
    if 10**digits <= abs(rounded) < 1e5:
        return _signed(f"{rounded:.0f}")
    return _signed(re.sub(r"e(-?)\+?0*", r"e\1", f"{value:.{digits}g}"))


def _signed(text: str) -> str:
    return "−" + text[1:] if text.startswith("-") else text


def measured(check: dict[str, Any]) -> str:
    """The numbers of all runs, "least to largest"; what they are off by, if that is relative."""
    known = [value for value in check["measured"] if value is not None]
    if not known:
        return "not seen"
    text = _range([_told(value, check) for value in (min(known), max(known))])
    if "relative" not in check:
        return text
    off = [100 * (value / check["exact"] - 1) for value in known]
    return f"{text} ({_range([_signed(f'{e:+.2g}') for e in (min(off), max(off))])} %)"


def _range(ends: list[str]) -> str:
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _told(value: float, check: dict[str, Any]) -> str:
    """To a tenth of what it may be off by; otherwise to two digits."""
    if "exact" not in check:
        return number(value)
    allowed = check.get("within", 0.02 * abs(check["exact"]))
    decimals = max(0, 1 + math.ceil(-math.log10(allowed)))
    return _signed(f"{value:.{decimals}f}")


def bound(check: dict[str, Any]) -> str:
    """What the numbers are held to, and whose number that is."""
    if "exact" in check:
        text = _told(check["exact"], check)
        if "relative" in check:
            text += f" ± {100 * check['relative']:g} %"
        elif "within" in check:
            text += f" ± {check['within']:g}"
        return f"{text}, {check['source']}"
    if "at_most" in check:
        return f"≤ {number(check['at_most'])}"
    return f"≥ {number(check['at_least'])}" if "at_least" in check else ""


def missed(check: dict[str, Any]) -> bool:
    """Whether a run is out of bounds, or has no number."""
    exact = check.get("exact", math.nan)
    allowed = check.get("within", check.get("relative", math.inf) * abs(exact))
    for value in check["measured"]:
        if value is None or abs(value - exact) > allowed:
            return True
        if value > check.get("at_most", math.inf) or value < check.get("at_least", -math.inf):
            return True
    return False


def spread(values: list[float]) -> str:
    """Mean ± standard deviation of several runs."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return number(mean)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{number(mean)} ± {number(deviation, 1)}"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(JSON.read_text(encoding="utf-8"))), encoding="utf-8")
