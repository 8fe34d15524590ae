"""How the tests run programs: as a user does, with the toy pipeline installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "workflow" / "toy"
#: Snakefile of the toy pipeline.
SNAKEFILE = TOY / "pipelines" / "toy" / "Snakefile"
BIN = Path(sys.executable).parent


def user_environment(home: Path) -> dict[str, str]:
    """Environment of a user whose own profiles and source cache lie in a folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "SLURM", "XDG"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(TOY / "package"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
    }


def called(
    program: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str], rc: int = 0
) -> str:
    """Run a program and check its exit code; its output and errors together."""
    done = subprocess.run(
        [BIN / program, *map(str, arguments)],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == rc, done.stdout
    return done.stdout


def until(happened: Callable[[], object], what: str, seconds: float = 1500) -> None:
    """Wait for something that must happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)
