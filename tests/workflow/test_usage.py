"""`workflows/usage.py`: what jobs asked for against what they used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import BIN, TOY

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs of a run with two shards and one training."""
    folder = tmp_path / "logs" / "toy"
    (folder / "simulate").mkdir(parents=True)
    first = "60.0\t0:01:00\t120.5\t1\t1\t1\t0\t0\t95.0\t57.0\n"
    second = "30.0\t0:00:30\t180.4\t1\t1\t1\t0\t0\tNA\t0.0\n"
    (folder / "simulate" / "0.benchmark.tsv").write_text(HEADER + first)
    (folder / "simulate" / "1.benchmark.tsv").write_text(HEADER + second)
    (folder / "train.benchmark.tsv").write_text(HEADER + first)
    (folder / "simulate" / "0.log").write_text("not a benchmark\n")
    return folder.parent


def usage(
    root: Path, environment: dict[str, str], *arguments: object
) -> subprocess.CompletedProcess:
    """Run the script on the toy."""
    script = [BIN / "python", root / "workflows" / "usage.py", "--pipelines", TOY / "pipelines"]
    command = [*script, "--markdown", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_largest_of_all_shards_against_the_settings(root, environment, logs) -> None:
    """Of each figure the largest; a stage that did not run is not there."""
    done = usage(root, environment, logs)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert rows[2:] == [
        ["toy", "simulate", "2", "1", "0.9", "200", "180", "5", "1.0"],
        ["toy", "train", "1", "1", "0.9", "200", "120", "5", "1.0"],
    ]


def test_something_else_in_place_of_a_benchmark(root, environment, logs) -> None:
    """Named, with exit code 2."""
    (logs / "toy" / "train.benchmark.tsv").write_text("s\n1\n")
    done = usage(root, environment, logs)
    assert done.returncode == 2
    assert "train.benchmark.tsv" in done.stderr
    assert "Traceback" not in done.stderr


def test_folder_that_is_not_there(root, environment, tmp_path) -> None:
    """Said in a line."""
    done = usage(root, environment, tmp_path / "nowhere")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
