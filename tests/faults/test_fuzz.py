"""Hostile case files and formulas: read or refused in a line, at once, and nothing else happens."""

import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from campaign import many
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kjko import cases
from kjko.case import BadInput, parse_toml
from kjko.core.formula import FUNCTIONS, parse

LONGEST = 2.0  # seconds of the processor
FORBIDDEN = ("exec", "open", "os.", "subprocess", "socket", "shutil", "ctypes", "import")
VARIABLES = ("x1", "x2", "t")
HOSTILE = [
    "__import__('os').system('touch pwned')",
    "open('pwned', 'w')",
    "().__class__.__bases__[0].__subclasses__()",
    "[x for x in (1,)]",
    "(lambda: 1)()",
    "9**9**9**9**9",
    "10**10**10",
    "2**" * 300 + "2",
    "-" * 900 + "1",
    "(" * 400 + "1" + ")" * 400,
    "x1" + "*x1" * 320,
    "1" * 999,
    "0x" + "f" * 900,
    "1e999999999",
    "1_000",
    "1j",
    "'a'*10**9",
    "x1.real",
    "x1 if x1 else 2",
    "exp(exp(exp(exp(9))))",
    "sin",
    "sin(x1, x1)",
    "log(-1)",
    "x1;x2",
    "x1\nx2",
    "f'{x1}'",
    "\x00",
    "x1 := 2",
    "é*2",
]
WORDS = ["x1", "x2", "t", "pi", "sin(", "exp(", "log(", "sqrt(", ")", "(", "+", "-", "*", "/", "**"]
WORDS += ["2", "0.5", "1e300", "1e-300", ",", ".", "[", "]", "'", "__class__", "lambda", "if", " "]
terms = st.recursive(
    st.sampled_from(["x1", "x2", "t", "pi", "2", "0.5", "9", "1e300", "-3"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]}{p[1]}{p[2]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})**{p[1]}"),
        st.tuples(st.sampled_from(FUNCTIONS), inner).map(lambda p: f"{p[0]}({p[1]})"),
    ),
    max_leaves=30,
)
texts = st.one_of(
    terms,
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(WORDS), max_size=60).map("".join),
    st.text(max_size=200),
    st.tuples(st.sampled_from(HOSTILE), st.text(max_size=5), st.integers(0, 40)).map(
        lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
    ),
)
VALUES = [*map(repr, HOSTILE[:20]), "nan", "-inf", "1e999", "-1", "0", "2147483648", "true", '""']
VALUES += [
    "[]",
    "{}",
    "[[[[1]]]]",
    '"' + "a" * 5000 + '"',
    "1979-05-27",
    "{ kind = 'x' }",
    "[" * 999,
]


@pytest.fixture(scope="module")
def watched():
    """Runs a function; the audit events that it must not cause, and its seconds."""
    caused, active = [], []

    def note(event, arguments):
        if threading.get_ident() in active and event.startswith(FORBIDDEN):
            caused.append((event, str(arguments)[:100]))

    sys.addaudithook(note)

    def run(function, *arguments):
        caused.clear()
        active.append(threading.get_ident())
        start = time.process_time()
        try:
            return function(*arguments)
        finally:
            active.clear()
            assert not caused
            assert time.process_time() - start < LONGEST

    return run


def test_formulas(watched, report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcomes = Counter()

    @seed(19)
    @settings(
        max_examples=many(5000), database=None, deadline=None, suppress_health_check=HealthCheck
    )
    @given(texts)
    def read(text):
        try:
            formula = watched(parse, text, VARIABLES)
        except ValueError as error:
            assert "expected" in str(error)
            outcomes["refused"] += 1
            return
        with np.errstate(all="ignore"):
            value = watched(formula.value, dict.fromkeys(VARIABLES, np.float64(0.3)), np)
        assert np.isrealobj(value)
        outcomes["read"] += 1

    read()
    assert not list(tmp_path.iterdir())
    report(f"{sum(outcomes.values())} formulas: {dict(outcomes)}")


def mutated(draw, text: str) -> str:
    """A case file with a line, a value or some letters changed."""
    lines = text.splitlines() or [""]
    row = int(draw.integers(len(lines)))
    kind = draw.integers(6)
    if kind == 0:
        lines.pop(row)
    elif kind == 1:
        lines.insert(row, lines[int(draw.integers(len(lines)))])
    elif kind == 2 and "=" in lines[row]:
        lines[row] = lines[row].partition("=")[0] + "= " + str(draw.choice(VALUES))
    elif kind == 3:
        lines[row] = "".join(draw.permutation(list(lines[row])))
    elif kind == 4:
        return text[: int(draw.integers(len(text) + 1))]
    else:
        letters = list(text or " ")
        for at in draw.integers(len(letters), size=3):
            letters[at] = chr(int(draw.integers(1, 0x300)))
        return "".join(letters)
    return "\n".join(lines)


def test_case_files(watched, report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw, outcomes, corpus = np.random.default_rng(20), Counter(), [*map(cases.text, cases.names())]
    for text in corpus:
        parse_toml(text, "case").build() if text is corpus[0] else parse_toml(text, "case")
    for number in range(many(5000)):
        text = corpus[number % len(corpus)]
        for _ in range(int(draw.choice([1, 1, 1, 2, 3]))):
            text = mutated(draw, text)
        try:
            case = watched(parse_toml, text, "case")
            outcome = "read"
            if number % 4 == 0:
                case.model_copy(
                    update={"particles": case.particles.model_copy(update={"number": 50})}
                ).build()
                outcome = "built"
        except BadInput as error:
            assert ":" in str(error)
            outcome = "refused"
        outcomes[outcome] += 1
    assert not list(tmp_path.iterdir())
    report(f"{many(5000)} case files: {dict(outcomes)}")
