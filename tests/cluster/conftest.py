"""A Slurm cluster for the tests, and how they run Snakemake on it.

Where `sinfo` finds a cluster, the tests use that. Else, as root on Debian or Ubuntu with Slurm's
packages (``cluster.sh install``), they bring one up on this machine and take it down at the end.
On a cluster of several machines pytest's folder must be shared: ``--basetemp ~/physml-tests``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from fakes.chain import BIN, ROOT, SNAKEFILE, called, until, user_environment

HERE = Path(__file__).resolve().parent
PROFILE = ROOT / "workflows" / "profiles" / "slurm"
SCRIPT = HERE / "cluster.sh"
#: One for each fault that happens at the same time, and one to go on at.
NODES = 8
STATE = Path(os.environ.get("PHYSML_CLUSTER_STATE", "/tmp/physml-cluster"))

# A real cluster is asked rarely for the state of its jobs; a test does not want to wait.
IMPATIENT = (
    *("--seconds-between-status-checks", "1"),
    *("--slurm-init-seconds-before-status-checks", "1"),
)


def slurm(*command: str) -> str:
    """Run one of Slurm's commands; what it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _answers() -> bool:
    """Whether there is a cluster with nodes that work."""
    if shutil.which("sinfo") is None:
        return False
    state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
    return state.returncode == 0 and bool(re.search("idle|mixed|allocated", state.stdout))


def _why_not() -> str | None:
    """Why no cluster can be brought up here, if so."""
    missing = [p for p in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(p) is None]
    if missing:
        return f"no Slurm on this machine ({', '.join(missing)} missing; see {SCRIPT.name})"
    if os.geteuid() != 0:
        return "no Slurm cluster answers, and bringing one up needs root"
    return None


@dataclass
class Cluster:
    """The cluster that the tests run on.

    Attributes
    ----------
    ours
        It was made by cluster.sh: its nodes are on this machine and may be killed.
    """

    ours: bool

    def processes(self, job: str, node: str) -> list[int]:
        """Processes of a running job on a node."""
        rows = slurm("scontrol", "listpids", job, node).splitlines()[1:]
        return [int(row.split()[0]) for row in rows if row.split()[0] != "-1"]

    def steps(self, job: str) -> list[int]:
        """Daemons of Slurm that watch over the parts of a running job."""
        done = subprocess.run(["pgrep", "-x", "slurmstepd"], capture_output=True, text=True)
        pids = [int(pid) for pid in done.stdout.split()]
        mark = f"[{job}.".encode()
        return [pid for pid in pids if mark in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def daemons(self) -> dict[str, int]:
        """Process of each daemon, the last that was started under a name."""
        lines = (STATE / "pids").read_text().splitlines()
        return {name: int(pid) for name, pid in (line.split() for line in lines)}

    def daemon(self, name: str) -> int:
        """Process of one daemon: that of a node, munged or slurmctld."""
        return self.daemons()[name]

    def repair(self) -> None:
        """Start the daemons of those nodes again that lost theirs."""
        for name, pid in self.daemons().items():
            if not Path(f"/proc/{pid}").exists():
                subprocess.run([SCRIPT, "node", name], check=True)
                until(partial(self._works, name), f"{name} is back")

    def _works(self, name: str) -> bool:
        state = slurm("sinfo", "-h", "-n", name, "-o", "%T")
        return bool(re.search(r"^(idle|mixed|allocated)$", state, re.M))


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[Cluster]:
    """The cluster; tests are skipped where there is none and none can be made."""
    # One at a time on a machine: a second run of the tests waits here.
    with open(Path(tempfile.gettempdir()) / "physml-cluster.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers():
            yield Cluster(ours=(STATE / "pids").exists())
            return
        if reason := _why_not():
            pytest.skip(reason)
        # Daemons must not inherit the lock.
        subprocess.run([SCRIPT, "up", str(NODES)], check=True, close_fds=True)
        try:
            yield Cluster(ours=True)
        finally:
            subprocess.run([SCRIPT, "down"], check=True)


@pytest.fixture(scope="session")
def our_cluster(cluster: Cluster) -> Cluster:
    """A cluster whose nodes a test may kill."""
    if not cluster.ours:
        pytest.skip("the cluster that answers is not one of cluster.sh")
    return cluster


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a user: the package of this checkout, the toy pipeline, no own profiles."""
    return user_environment(tmp_path_factory.mktemp("home"))


class Running:
    """A Snakemake at work, its output in a file."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / "snakemake.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [BIN / "snakemake", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def job(self, rule: str) -> str:
        """Number in Slurm of a rule's last job; waits for the first to be submitted."""
        found: list[str] = []

        def submitted() -> bool:
            ended = self.process.poll() is not None
            found[:] = re.findall(rf"SLURM jobid (\d+) \(log: .*rule_{rule}/", self.output)
            assert found or not ended, self.output
            return bool(found)

        until(submitted, f"a job of {rule}")
        return found[-1]

    def finish(self, rc: int = 0) -> str:
        """Wait for the end and check the exit code; the output."""
        assert self.process.wait(timeout=1700) == rc, self.output
        return self.output


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def on_slurm(environment: dict[str, str]) -> Iterator[Start]:
    """Start Snakemake with the profile for Slurm, in a folder."""
    started: list[Running] = []

    def start(*arguments: str | Path, cwd: Path) -> Running:
        options = ["--workflow-profile", PROFILE, *IMPATIENT]
        started.append(Running([str(a) for a in (*options, *arguments)], cwd, environment))
        return started[-1]

    yield start
    for run in started:  # one that is still at work belongs to a test that failed
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGINT)  # it cancels its jobs
            run.process.wait(timeout=300)


@pytest.fixture(scope="session")
def here(environment: dict[str, str]) -> Callable[..., str]:
    """Run Snakemake without a cluster; its output."""

    return partial(called, "snakemake", "--cores", "1", env=environment)


@pytest.fixture(scope="session")
def toy() -> Path:
    """Snakefile of the toy pipeline."""
    return SNAKEFILE
