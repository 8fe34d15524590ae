"""How the tests run Snakemake: as a user does, in a folder of its own, with the toy installed."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fakes.chain import SNAKEFILE, called, user_environment
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
WEIGHTS = Path("results") / "toy" / "model.safetensors"


@dataclass
class Done:
    """What a program left: exit code, output and errors together."""

    rc: int
    stdout: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the toy pipeline is installed, by its folder on PYTHONPATH."""
    return user_environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def call(environment: dict[str, str]) -> Run:
    """Run a program of this environment and check its exit code."""

    def run(program: str, *args: str | Path, cwd: Path, rc: int = 0, **env: str) -> Done:
        return Done(rc, called(program, *args, cwd=cwd, env=environment | env, rc=rc))

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
    return SNAKEFILE


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Make a folder once for all workers of this test run; the others wait for it."""
    folder.mkdir(exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(folder.iterdir()):
            make(folder)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Folder of this test run that all workers see."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def done(call: Run, toy: Path, shared: Path) -> Path:
    """Folder in which the toy ran once, alone, away from its Snakefile. Do not change it."""

    return once(
        shared / "alone", lambda folder: call("snakemake", "--cores", "1", "-s", toy, cwd=folder)
    )


@pytest.fixture
def prepared(snakemake: Run, toy: Path, shared: Path, tmp_path: Path) -> Path:
    """Folder of the test's own in which the toy ran up to the training; raw shards kept."""

    def make(folder: Path) -> None:
        snakemake("-s", toy, "--notemp", "--until", "preprocess", cwd=folder)

    # Times of files are copied, too: nothing looks newer than it is.
    return shutil.copytree(once(shared / "prepared", make), tmp_path / "prepared")


def weight(folder: Path) -> np.ndarray:
    """What the toy's training found."""
    return load_file(folder / WEIGHTS)["rate"]


def train_log(folder: Path) -> str:
    return (folder / "logs" / "toy" / "train.log").read_text()


@pytest.fixture(scope="session")
def plan(snakemake: Run) -> Callable[..., dict[str, int]]:
    """Plan a run: how many jobs of each rule."""
    return lambda *args, cwd, **env: planned(snakemake(*args, "-n", cwd=cwd, **env).stdout)


def planned(output: str) -> dict[str, int]:
    """Jobs that a dry run names in its table: how many of each rule."""
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.S)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    rows = map(str.split, table[1].splitlines())
    return {rule: int(count) for rule, count in rows}
