"""The results page is made of docs/results.json, and says what misses its bound."""

import copy
import importlib
import itertools
import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from kjko.case import load

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
PAGE = runpy.run_path(str(ROOT / "benchmarks" / "page.py"))


def test_the_page_is_made_of_the_results():
    """Byte for byte; `python benchmarks/page.py` writes it."""
    assert PAGE["page"](RESULTS) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_every_result_names_what_made_it():
    for name, result in RESULTS.items():
        assert re.fullmatch(r"[0-9a-f]{12}", result["commit"]), f"{name}: {result['commit']}"
        assert re.fullmatch(r"[0-9a-f]{12}", result["source"]), f"{name}: {result['source']}"
        assert result["commands"] and result["seeds"] and result["precision"] and result["device"]


@pytest.fixture
def named(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("named_results").RESULTS


def test_every_command_is_one(named):
    """Of a case that can be read; and the page is of these commands."""
    for name, result in named.items():
        for command in result.commands:
            _, _, case, *options = shlex.split(command)
            pairs = itertools.pairwise(options)
            load(case, [value for option, value in pairs if option == "--set"])
        if name in RESULTS:
            assert RESULTS[name]["commands"] == list(result.commands), name
    assert {name for name, result in named.items() if not result.long} <= set(RESULTS) <= set(named)


def test_figures_of_the_pages_are_there():
    """And none that no page shows."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    shown = set(re.findall(r"figures/([\w-]+\.png)", "".join(p.read_text() for p in pages)))
    assert shown == {path.name for path in (ROOT / "docs" / "figures").iterdir()}


@pytest.mark.parametrize(
    ("bounds", "measured", "text", "missed"),
    [
        ({"at_most": 0.02}, [0.0123, 0.0199], "0.012 to 0.02", False),
        ({"at_most": 0.02}, [0.0123, 0.0201], "0.012 to 0.02", True),
        ({"at_least": 1.9}, [1.8], "1.8", True),
        ({"exact": -1.4913, "within": 0.005}, [-1.4871], "−1.4871", False),
        ({"exact": -1.4913, "within": 0.005}, [-1.4862], "−1.4862", True),
        ({"exact": -0.2, "relative": 0.05}, [-0.208], "−0.2080 (+4 %)", False),
        ({"exact": -0.2, "relative": 0.05}, [-0.188], "−0.1880 (−6 %)", True),
        ({"exact": 1.4, "relative": 0.01}, [None], "not seen", True),
        ({}, [3.0], "3", False),
        ({}, [-5.3e-7, 1234567.0], "−5.3e-7 to 1.2e6", False),
    ],
)
def test_a_bound_that_is_missed_shows(bounds, measured, text, missed):
    check = {"quantity": "it", "measured": measured, "source": "theory", **bounds}
    assert PAGE["measured"](check) == text
    assert PAGE["missed"](check) is missed
    results = copy.deepcopy(RESULTS)
    next(r for r in results.values() if isinstance(r["numbers"], list))["numbers"] = [check]
    assert ("it |" in PAGE["page"](results)) and ("`, it" in PAGE["page"](results)) is missed


def test_the_readme_states_no_measured_number():
    """They are on the results page alone: outside of code no decimal and no number with a unit."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|^    .*$|\]\([^)]*\)", "", text, flags=re.DOTALL | re.M)
    prose = prose.replace("Python ≥ 3.11", "")
    number = r"\d+[.,]\d+|\d+ ?(?:%|ms|s|min|h|GB|GiB|MB|times|particle\S*)(?!\w)"
    assert re.findall(number, prose) == []
    assert re.findall(r"\b(?:two|three|four|five|six|ten|hundred|thousand) times\b", prose) == []
