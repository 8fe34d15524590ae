"""The example of shadows in the documentation prints what stands there."""

from __future__ import annotations

import re

import pytest

from physml.cli.main import main


def test_shadows_of_a_ghz_state(root, tmp_path, monkeypatch, capsys):
    text = (root / "docs" / "howto" / "processes.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (example,) = re.findall(r"^ {4}\$ physml (.*)\n((?: {4}.*\n)+)", text, re.MULTILINE)
    command, printed = example
    (sentence,) = re.findall(r"The true values are (.*?)\.\n", text)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "processes.md", "exec"), {})
    assert main(command.split()) == 0
    found = capsys.readouterr()
    lines = [line[4:] for line in printed.splitlines()]
    shown = [line for line in (found.out + found.err).splitlines() if line.strip()]
    assert [line.split() for line in shown] == [line.split() for line in lines]
    # White noise w leaves 1 - w of correlations; 0 and 1 alone have two values of (1 - w / 2) / 2.
    truths = [0.9, 0.0, 0.9, 0.9 + 0.1 / 32, 2 * (0.45 + 0.025) ** 2 + 2 * 0.025**2]
    told = [float(x) for x in re.split(", | and ", sentence)]
    assert told == [pytest.approx(x, abs=5e-4) for x in truths]
    for line, truth in zip(lines[2:7], truths, strict=True):
        low, high = map(float, re.findall(r"-?\d\.\d{4}", line)[1:3])
        assert low <= truth <= high
