"""What Slurm's accounting knows of the jobs of a run, also of those that failed.

Benchmark files are Snakemake's and of the attempts that ended well. Slurm's own figures are of all
attempts and include the Snakemake that runs inside each job: it is their sum that a job's memory
limit is about.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from physml.exceptions import InputError

COLUMNS = ("rule", "jobs", "of them failed", "MB", "used", "minutes", "used", "CPU minutes")
FIELDS = "JobID,State,ElapsedRaw,TimelimitRaw,TotalCPU,MaxRSS,ReqMem"
_RULE = re.compile(r"(?:local)?rule (\w+):")
_NUMBER = re.compile(r"    jobid: (\d+)")
_JOB = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+)")
_ARRAY = re.compile(r"array job with Snakemake IDs ([\d,]+) and SLURM job ID (\d+)")
WELL = ("COMPLETED", "COMPLETING", "PENDING", "REQUEUED", "RUNNING", "SUSPENDED")
#: Jobs a question: command lines have a limit.
TOGETHER = 500


@dataclass
class Job:
    """Figures of one Slurm job: memory is the sum over its steps, which run together."""

    state: str
    minutes: float
    asked_minutes: float
    cpu_minutes: float = 0.0
    mem_mb: float = 0.0
    asked_mb: float = 0.0


def submitted(folder: Path) -> dict[str, str]:
    """Slurm job -> rule, from the logs of Snakemake in a folder, all runs together.

    Raises
    ------
    InputError
        No log, or no job of Slurm in them.
    """
    rules: dict[str, str] = {}
    for path in sorted(folder.glob("*.snakemake.log")):
        rule, of = "", dict[str, str]()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _RULE.fullmatch(line):
                rule = match[1]
            elif match := _NUMBER.fullmatch(line):
                of[match[1]] = rule
            elif match := _JOB.match(line):
                rules[match[2]] = of.get(match[1], "")
            elif match := _ARRAY.search(line):
                rules[match[2]] = of.get(match[1].split(",")[0], "")
    if not rules:
        raise InputError.expected(folder, "logs of Snakemake with jobs of Slurm", "none")
    return rules


def megabytes(text: str) -> float:
    """Memory as Slurm writes it (``147660K``, ``2500M``, ``4Gn``), in MB; 0 where it has none."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)[nc]?", text)
    if match is None:
        return 0.0
    return float(match[1]) * {"": 1e-6, "K": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}[match[2]]


def minutes(text: str) -> float:
    """Processor time as Slurm writes it (``[days-][hours:]minutes:seconds``), in minutes.

    Examples
    --------
    >>> minutes("01:30.500"), minutes("1-00:00:30")
    (1.5083333333333333, 1440.5)
    """
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part or 0)
    return (86400 * int(days or 0) + total) / 60


def read(text: str) -> dict[str, list[Job]]:
    """Jobs of sacct's answer by their number; the tasks of an array are jobs of its number.

    Raises
    ------
    InputError
        It is not in the form of `FIELDS`.
    """
    found: dict[str, dict[str, Job]] = {}
    for line in text.splitlines():
        try:
            name, state, elapsed, limit, cpu, rss, asked = line.split("|")
            task = name.partition(".")[0]
            jobs = found.setdefault(task.partition("_")[0], {})
            if "." not in name:  # the job itself comes before its steps
                jobs[task] = Job(state.split()[0], float(elapsed) / 60, float(limit or "nan"))
                jobs[task].asked_mb = megabytes(asked)
                jobs[task].cpu_minutes = minutes(cpu)
            else:  # batch script and step run at the same time
                jobs[task].mem_mb += megabytes(rss)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError.expected("sacct", f"lines of {FIELDS}", f"{line[:80]!r}") from error
    return {number: list(jobs.values()) for number, jobs in found.items()}


def ask(numbers: Iterable[str]) -> dict[str, list[Job]]:
    """Ask sacct for jobs.

    Raises
    ------
    InputError
        There is no sacct, or no accounting behind it.
    """
    if shutil.which("sacct") is None:
        raise InputError.expected("sacct", "Slurm's command for accounting", "none on this machine")
    wanted, found = list(numbers), {}
    for start in range(0, len(wanted), TOGETHER):
        jobs = ",".join(wanted[start : start + TOGETHER])
        command = ["sacct", "--noheader", "--parsable2", "--format", FIELDS, "--jobs", jobs]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise InputError.expected("sacct", "an answer", done.stderr.strip()[:200] or "an error")
        found |= read(done.stdout)
    return found


def rows(rules: Mapping[str, str], jobs: Mapping[str, list[Job]]) -> list[tuple[str, ...]]:
    """One row a rule: the largest figures of its jobs."""
    of: dict[str, list[Job]] = {}
    for number, rule in rules.items():
        of.setdefault(rule or "(unknown)", []).extend(jobs.get(number, []))
    return [
        (
            rule,
            str(len(own)),
            str(sum(job.state not in WELL for job in own)),
            f"{max(job.asked_mb for job in own):.0f}",
            f"{max(job.mem_mb for job in own):.0f}",
            f"{max(job.asked_minutes for job in own):.0f}",
            f"{max(job.minutes for job in own):.1f}",
            f"{sum(job.cpu_minutes for job in own):.1f}",
        )
        for rule, own in sorted(of.items())
        if own
    ]
