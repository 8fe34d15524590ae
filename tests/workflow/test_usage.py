"""`workflows/usage.py`: what jobs asked for against what they used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fakes.chain import BIN, TOY

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


def usage(root: Path, environment: dict[str, str], *arguments: object) -> list[list[str]]:
    """Rows that the script prints of the toy."""
    done = run(root, environment, *arguments)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    return rows[2:]


def refused(root: Path, environment: dict[str, str], *arguments: object) -> str:
    """Message of the script where it has nothing to print."""
    done = run(root, environment, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def run(
    root: Path, environment: dict[str, str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    script = [BIN / "python", root / "workflows" / "usage.py", "--pipelines", TOY / "pipelines"]
    command = [*script, "--markdown", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_largest_of_all_shards_against_the_settings(root, environment, logs) -> None:
    """Of each figure the largest; a stage that did not run is not there."""
    assert usage(root, environment, logs) == [
        ["toy", "simulate", "2", "1", "0.9", "200", "180", "5", "1.0"],
        ["toy", "train", "1", "1", "0.9", "200", "120", "5", "1.0"],
    ]


def test_something_else_in_place_of_a_benchmark(root, environment, logs, tmp_path) -> None:
    (logs / "toy" / "train.benchmark.tsv").write_text("s\n1\n")
    assert "train.benchmark.tsv" in refused(root, environment, logs)
    assert "no such folder" in refused(root, environment, tmp_path / "nowhere")


SACCT = """#!/bin/sh
echo "$@" >> {calls}
cat <<'END'
7|COMPLETED|60|30|00:50.500||2500M
7.batch|COMPLETED|60||00:03.500|147660K|
7.0|COMPLETED|55||00:47.000|1G|
9_0|COMPLETED|30|5|00:20||200M
9_0.batch|COMPLETED|30||00:20|100M|
9_1|CANCELLED by 0|90|5|1-00:00:30||200M
12|RUNNING|1|5|||
END
"""
SNAKEMAKE = """localrule all:
    jobid: 0
rule toy_train:
    input: a
    jobid: 5
Job 5 has been submitted with SLURM jobid 7 (log: /x/rule_toy_train/7.log).
rule toy_report:
    jobid: 6
Job 6 has been submitted with SLURM jobid 12 (log: /x/rule_toy_report/12.log).
rule toy_simulate:
    jobid: 3
rule toy_simulate:
    jobid: 4
Submitted array job with Snakemake IDs 3,4 and SLURM job ID 9. The individual task IDs are 1-2.
"""


@pytest.fixture
def accounted(logs, tmp_path, environment) -> dict[str, str]:
    """A run on Slurm, and a sacct that knows its jobs."""
    (tmp_path / ".snakemake" / "log").mkdir(parents=True)
    (tmp_path / ".snakemake" / "log" / "1.snakemake.log").write_text(SNAKEMAKE)
    sacct = tmp_path / "bin" / "sacct"
    sacct.parent.mkdir()
    sacct.write_text(SACCT.format(calls=tmp_path / "calls"))
    sacct.chmod(0o755)
    return {**environment, "PATH": f"{sacct.parent}:{environment['PATH']}"}


def test_figures_of_slurm_are_sums_over_the_steps_of_a_job(root, accounted, logs, tmp_path) -> None:
    """Tasks of an array are jobs of one rule; failed ones are counted, those at work not."""
    assert usage(root, accounted, logs, "--sacct") == [
        ["toy_report", "1", "0", "0", "0", "5", "0.0", "0.0"],
        ["toy_simulate", "2", "1", "200", "100", "5", "1.5", "1440.8"],
        ["toy_train", "1", "0", "2500", "1148", "30", "1.0", "0.8"],
    ]
    assert "--jobs 7,12,9" in (tmp_path / "calls").read_text()


def test_accounting_that_is_not_there(root, environment, accounted, logs, tmp_path) -> None:
    """Said in a line: no command, no database, no job of Slurm."""
    bare = {**environment, "PATH": str(tmp_path)}
    assert "none on this machine" in refused(root, bare, logs, "--sacct")
    sacct = tmp_path / "bin" / "sacct"
    sacct.write_text("#!/bin/sh\necho Slurm accounting storage is disabled >&2\nexit 1\n")
    assert "storage is disabled" in refused(root, accounted, logs, "--sacct")
    sacct.write_text("#!/bin/sh\necho what\n")
    assert "'what'" in refused(root, accounted, logs, "--sacct")
    (tmp_path / ".snakemake" / "log" / "1.snakemake.log").write_text("rule a:\n    jobid: 1\n")
    assert "jobs of Slurm" in refused(root, accounted, logs, "--sacct")
