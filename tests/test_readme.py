"""The README's example runs and says what it says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_python_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    exec(compile(example, "README.md", "exec"), {})
    first, *_, last = capsys.readouterr().out.splitlines()
    time, free_energy, kl = map(float, last.split())
    assert time == 2.0
    assert 0 < kl < 0.5
    assert free_energy < float(first.split()[1])


def test_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", text, re.MULTILINE)):
        assert f"\n{target}:" in makefile


def test_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / target).exists(), target
