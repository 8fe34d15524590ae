"""How the tests run Snakemake: as a user does, in a folder of its own, with the toy installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOY = HERE / "toy"
BIN = Path(sys.executable).parent


@dataclass
class Done:
    """What a program left: exit code, output and errors together."""

    rc: int
    stdout: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the toy pipeline is installed, by its folder on PYTHONPATH."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "SLURM"))}
    return kept | {
        "PYTHONPATH": str(TOY / "package"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        # The user's own profiles and source cache: neither read nor written.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
    }


@pytest.fixture(scope="session")
def call(environment: dict[str, str]) -> Run:
    """Run a program of this environment and check its exit code."""

    def run(program: str, *args: str | Path, cwd: Path, rc: int = 0, **env: str) -> Done:
        done = subprocess.run(
            [BIN / program, *map(str, args)],
            cwd=cwd,
            env=environment | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert done.returncode == rc, done.stdout
        return Done(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def snakemake(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """Run Snakemake on one core and check its exit code (see snakemake_server.py)."""
    out = tmp_path_factory.mktemp("snakemake") / "out"
    server = subprocess.Popen(
        [sys.executable, HERE / "snakemake_server.py"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(*args: str | Path, cwd: Path, rc: int = 0, **env: str) -> Done:
        argv = ["--cores", "1", *map(str, args)]
        request = {"argv": argv, "cwd": str(cwd), "env": env, "out": str(out)}
        print(json.dumps(request), file=server.stdin, flush=True)
        done = Done(json.loads(server.stdout.readline())["rc"], out.read_text())
        assert done.rc == rc, done.stdout
        return done

    yield run
    server.stdin.close()
    server.wait(timeout=60)


@pytest.fixture(scope="session")
def toy() -> Path:
    """Snakefile of the toy pipeline."""
    return TOY / "pipelines" / "toy" / "Snakefile"


@pytest.fixture(scope="session")
def done(call: Run, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the toy ran once, alone, away from its Snakefile. Do not change it."""
    folder = tmp_path_factory.mktemp("alone")
    call("snakemake", "--cores", "1", "-s", toy, cwd=folder)
    return folder


def planned(output: str) -> dict[str, int]:
    """Jobs that a dry run names in its table: how many of each rule."""
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.S)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    rows: Iterable[list[str]] = (line.split() for line in table.group(1).splitlines())
    return {rule: int(count) for rule, count in rows}
