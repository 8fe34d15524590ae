"""How the tests run Snakemake: as a user does, in a folder of its own, with the toy installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOY = HERE / "toy"
BIN = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the toy pipeline is installed, by its folder on PYTHONPATH."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "SLURM"))}
    return kept | {
        "PYTHONPATH": str(TOY / "package"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        # Snakemake's cache of source files and profiles of the user: neither read nor written.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
    }


@pytest.fixture(scope="session")
def call(environment: dict[str, str]) -> Run:
    """Run a program of this environment; output and errors come back together."""

    def run(program: str, *args: str | Path, cwd: Path, rc: int | None = 0, **env: str):
        done = subprocess.run(
            [BIN / program, *map(str, args)],
            cwd=cwd,
            env=environment | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        if rc is not None:
            assert done.returncode == rc, done.stdout
        return done

    return run


@pytest.fixture(scope="session")
def snakemake(call: Run) -> Run:
    """Run Snakemake on one core."""

    def run(*args: str | Path, **kwargs):
        return call("snakemake", "--cores", "1", *args, **kwargs)

    return run


@pytest.fixture(scope="session")
def toy() -> Path:
    """Snakefile of the toy pipeline."""
    return TOY / "pipelines" / "toy" / "Snakefile"


@pytest.fixture(scope="session")
def done(snakemake: Run, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the toy ran once, alone, away from its Snakefile. Do not change it."""
    folder = tmp_path_factory.mktemp("alone")
    snakemake("-s", toy, cwd=folder)
    return folder


def planned(output: str) -> dict[str, int]:
    """Jobs that a dry run names in its table: how many of each rule."""
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.S)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    rows: Iterable[list[str]] = (line.split() for line in table.group(1).splitlines())
    return {rule: int(count) for rule, count in rows}
