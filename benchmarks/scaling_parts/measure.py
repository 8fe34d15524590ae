"""What a command costs: time, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
PHYSML = (sys.executable, "-c", "from physml.cli.main import main; raise SystemExit(main())")
WATCH_S = 0.1  # between two looks at the memory
PATIENCE_S = 30.0  # for a command to end when the benchmark is interrupted


class CommandFailed(RuntimeError):
    """A measured command did not end well; the message holds the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """What a command and all processes that it started have used.

    Attributes
    ----------
    wall_s
        From the start to the end.
    cpu_s
        Processor time, of the user and of the system.
    peak_mb
        Largest memory of all processes together (resident; shared pages count once for each).
    """

    wall_s: float
    cpu_s: float
    peak_mb: float

    def row(self) -> dict[str, float]:
        """Rounded, for a file."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def environment(**more: str) -> dict[str, str]:
    """Environment in which commands are measured: this checkout, one thread unless told so."""
    # A benchmark that is itself a job must not look like one to what it submits.
    kept = {
        k: v
        for k, v in os.environ.items()
        if k == "SLURM_CONF" or not k.startswith(("SNAKEMAKE", "SLURM_"))
    }
    path = [more.pop("PYTHONPATH", ""), str(ROOT), kept.get("PYTHONPATH", "")]
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        # Commands of the same environment are found where it is not activated.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
        "OMP_NUM_THREADS": "1",
        **more,
    }


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> Cost:
    """Run a command and measure it.

    Parameters
    ----------
    command
    env : mapping
        The whole environment; see `environment`.
    cwd : Path, optional

    Raises
    ------
    CommandFailed
        Its exit code is not 0.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        began = time.monotonic()
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=said, stderr=said)
        ended = threading.Event()
        peak = [0.0]
        watch = threading.Thread(target=_watch, args=(process.pid, ended, peak), daemon=True)
        watch.start()
        # Unlike `getrusage` of all children, this is of the one command and of what it waited for.
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            # As Ctrl-C on a terminal does: Snakemake then cancels its jobs, where SIGTERM would
            # have it wait for them.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            process.kill()
            raise
        finally:
            ended.set()
            watch.join()
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            tail = said.read()[-3000:]
            raise CommandFailed(f"exit code {process.returncode}: {' '.join(command)}\n{tail}")
    return Cost(wall, used.ru_utime + used.ru_stime, peak[0])


def _watch(pid: int, ended: threading.Event, peak: list[float]) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while not ended.wait(WATCH_S):
            peak[0] = max(peak[0], _memory(process) / 1e6)


def _memory(process: psutil.Process) -> int:
    """Bytes of a process and of those that it started: now, or the most that one of them had."""
    now, most = 0, 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error, OSError):  # ended meanwhile
            now += one.memory_info().rss
            most = max(most, _high_water(one.pid))
    return max(now, most)


def _high_water(pid: int) -> int:
    """Largest memory that a process has had, on Linux; 0 elsewhere.

    What `wait4` tells is no use: it counts the memory of whoever started the process, too.
    """
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found.group(1)) if found else 0


def size(*paths: Path) -> int:
    """Bytes of files, and of all files in folders."""
    found = [path.rglob("*") if path.is_dir() else [path] for path in paths]
    return sum(file.stat().st_size for files in found for file in files if file.is_file())
