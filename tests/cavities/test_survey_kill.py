"""A survey that is killed, and taken up again, ends as one that was not."""

from __future__ import annotations

import random
import time

import pytest
from fakes.commands import Command
from fakes.surveys import equal_tables, use_truth, write_targets

from physml.cavities.survey import run_survey


def start(folder, *arguments) -> Command:
    return Command(
        ["cavities", "survey", *map(str, arguments)], folder / "errors.txt", prepare=use_truth
    )


def check(folder, number, kills, seed) -> None:
    targets = write_targets(folder, number)
    start(folder, targets, "-o", folder / "first").kill_after(0.5)  # until the server is there
    began = time.monotonic()
    code, errors = start(folder, targets, "-o", folder / "whole").finish()
    assert code == 0, errors
    longest = time.monotonic() - began
    chance, killed = random.Random(seed), 0
    parts = folder / "parts"
    for _ in range(kills):
        killed += start(folder, targets, "-o", parts).kill_after(chance.uniform(0.2, 0.8) * longest)
    done = [p.name for p in (parts / "targets").glob("*") if p.name[0] != "."]
    for name in done:  # whole, whenever it was killed
        assert (parts / "targets" / name / "target.json").is_file()
        assert (parts / "targets" / name / "cavities.ecsv").is_file()
    code, errors = start(folder, targets, "-o", parts).finish()
    assert code == 0, errors
    assert killed
    if done:
        assert f"{len(done)} of {number} targets are searched already" in errors
    for name in ("catalogue.ecsv", "targets.ecsv"):
        equal_tables(folder / "whole" / name, parts / name)
    left = [p.name for p in (parts / "targets").iterdir() if p.name[0] == "."]
    assert left == []


def test_killed_survey_ends_with_the_same_tables(tmp_path):
    check(tmp_path, 3, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_survey_killed_many_times_ends_with_the_same_tables(tmp_path, seed):
    check(tmp_path, 8, 5, seed)


@pytest.mark.slow
def test_processes_give_the_tables_of_one(tmp_path):
    """With the shipped weights: workers load what they need by themselves."""
    targets = write_targets(tmp_path, 3)
    one = run_survey(targets, tmp_path / "one")
    (tmp_path / "t1.fits").rename(tmp_path / "away.fits")
    assert run_survey(targets, tmp_path / "two", processes=2).failed.keys() == {"T 1"}
    (tmp_path / "away.fits").rename(tmp_path / "t1.fits")
    two = run_survey(targets, tmp_path / "two", processes=2)
    assert one.failed == two.failed == {}
    for name in ("catalogue.ecsv", "targets.ecsv"):
        equal_tables(tmp_path / "one" / name, tmp_path / "two" / name)
