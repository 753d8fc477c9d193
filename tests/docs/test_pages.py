"""The pages say what is so: names, messages, commands, numbers, scripts."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import kjko
from kjko.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUFF = Path(sys.executable).with_name("ruff")
NOTEBOOKS = sorted([*DOCS.glob("notebooks/*.md"), DOCS / "peers.md"])
PAGES = sorted(
    {*DOCS.glob("*.md"), *DOCS.glob("equations/*.md"), *NOTEBOOKS, ROOT / "CONTRIBUTING.md"}
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_every_name_is_on_the_python_page():
    listed = re.findall(r"^\.\. auto\w+:: (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == kjko.__all__


def texts_of_the_source() -> Iterator[str]:
    """All strings, with … for what is filled in."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "…") for part in node.values)
                yield "".join(part if isinstance(part, str) else "…" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_is_one_of_the_source():
    page = (DOCS / "troubleshooting.md").read_text()
    quoted = re.findall(r"^### `(.*)`$", page, re.MULTILINE)
    source = [" ".join(text.split()) for text in texts_of_the_source()]
    assert len(quoted) > 40
    for message in quoted:
        pattern = re.compile(".*".join(map(re.escape, message.split("…"))))
        assert any(pattern.search(text) for text in source), message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_cases_of_a_page_are_valid(page, tmp_path):
    for number, text in enumerate(blocks(page, "toml")):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        kjko.load(str(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_is_python(page):
    for text in blocks(page, "python"):
        ast.parse(text)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_cells_are_in_the_style_and_figures_have_alternative_texts(page, tmp_path):
    cell = r"^```\{code-cell\} python\n(?:---\n(.*?)\n---\n)?(.*?)^```"
    cells = re.findall(cell, page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(cells) > 5
    for options, code in cells:
        assert ("plt.subplots(" in code) == ("\n    alt: " in options), code
    ours = [re.sub(r";$", "", code) for _, code in cells if not re.search(r"^%%|= !", code)]
    for number, code in enumerate(ours):
        (tmp_path / f"{number}.py").write_text(code)
    style = ("--config", str(ROOT / "pyproject.toml"))
    subprocess.run([RUFF, "format", "--check", *style, str(tmp_path)], check=True)
    unlike = "B018,E402,F821,I001,T20"  # shown values, imports where they are used
    whole = "\n".join(ours).encode()
    subprocess.run([RUFF, "check", "--ignore", unlike, *style, "-"], input=whole, check=True)


def code_of(page: Path) -> list[str]:
    """The lines of fenced blocks, and what is in backticks; a line that goes on is one."""
    text = page.read_text()
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(fenced).replace("\\\n", " ").splitlines()
    return [*lines, *re.findall(r"`([^`\n]+)`", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_exist_with_their_options(page):
    commands = getattr(typer.main.get_command(app), "commands")  # noqa: B009  of a group
    for line in code_of(page):
        for name, words in re.findall(r"(?:^|\s)kjko ([a-z]+)\b(.*)", line):
            assert name in commands, line
            known = {option for each in commands[name].params for option in each.opts}
            assert set(re.findall(r"(?<=\s)--[a-z-]+", words)) <= known, line


def test_numbers_of_the_units_page():
    """What its snippet gives is what its table and text say."""
    page = (DOCS / "units.md").read_text()
    (snippet,) = blocks(DOCS / "units.md", "python")
    found: dict = {}
    exec(compile(snippet, "units.md", "exec"), found)
    omega_p, debye, nu = found["omega_p"], found["debye"], found["nu"]
    for value, digits in (
        (omega_p, 4),
        (debye, 4),
        (found["thermal"], 4),
        (nu, 4),
        (nu / omega_p, 3),
        (found["field"], 4),
    ):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        assert f"{mantissa}·10{power}" in page
    assert f"collision_rate = {nu / omega_p:.2e}".replace("e-05", "e-5") in page
    assert f"{4 * 3.141592653589793 * debye * 1e3:.4f} mm" in page
    assert f"t = {1e-9 * omega_p:.2f}" in page
    assert f"{0.05 / omega_p * 1e12:.2f} ps" in page
    assert f"{1e9 / (0.15336 * omega_p):.4f} ns" in page


SCRIPTS = blocks(DOCS / "batch.md", "bash")
SRUN = """#!/bin/bash
echo "srun $*" >> "$LOG"
words="$*"; folder=${words#*--out }
case "$words" in *--out*) folder=${folder%% *}; mkdir -p "$folder"; touch "$folder/$MADE";; esac
exit "$(cat "$CODE")"
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*" >> "$LOG"\n'


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_a_batch_script_requeues_and_resumes(number, tmp_path):
    """Stopped by the signal (75): queued again, then resumed; done (0) or wrong (2): ended."""
    script = SCRIPTS[number]
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    log, code = tmp_path / "log", tmp_path / "code"
    is_array = "--array" in script
    job = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4"}
    if is_array:
        job |= {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "1"}
    made = "sweep.json" if "kjko sweep" in script else "case.toml"
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "CODE": str(code)}

    def submit(ends: int) -> list[str]:
        code.write_text(str(ends))
        log.write_text("")
        job_env = own | job | {"MADE": made}
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=job_env, check=False)
        assert done.returncode == ends
        return log.read_text().splitlines()

    begun, back = submit(75)
    words = begun.split()
    assert words[:2] == ["srun", "kjko"] and words[2] in ("run", "sweep")
    folder = words[words.index("--out") + 1]
    assert back == f"scontrol requeue {'5_1' if is_array else '7'}"
    if is_array:
        assert "problem.collision_rate=0.03" in words
    (resumed, again), done, wrong = submit(75), submit(0), submit(2)
    assert again == back
    assert resumed.startswith(f"srun kjko resume {folder}")
    assert done == wrong == [resumed]


def test_versions_agree():
    """pyproject.toml and CITATION.cff."""
    (project,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    (citation,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert project == citation
