"""A Slurm cluster to measure on: the one that answers, or one on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .measure import ROOT

SCRIPT = ROOT / "tests" / "cluster" / "cluster.sh"
#: The lock of the tests: they may take nodes down.
LOCK = Path(tempfile.gettempdir()) / "physml-cluster.lock"


@dataclass(frozen=True)
class Cluster:
    """A cluster that takes jobs.

    Attributes
    ----------
    nodes, cpus
        Of the default partition.
    here
        All nodes are this machine, and share its cores.
    """

    nodes: int
    cpus: int
    here: bool

    @property
    def name(self) -> str:
        """For a table."""
        where = "all on this machine" if self.here else "a real cluster"
        return f"Slurm, {self.nodes} nodes, {where}"


def answering() -> Cluster | None:
    """The cluster that `sinfo` tells of."""
    if shutil.which("sinfo") is None:
        return None
    asked = ["sinfo", "-h", "-N", "-o", "%P %N %T %c %o"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    rows = [line.split() for line in done.stdout.splitlines()] if done.returncode == 0 else []
    rows = [row for row in rows if row[2] in ("idle", "mixed", "allocated")]
    usual = [row for row in rows if row[0].endswith("*")] or rows
    if not usual:
        return None
    here = {row[4] for row in usual} == {"127.0.0.1"}
    return Cluster(len(usual), sum(int(row[3].rstrip("+")) for row in usual), here)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster | str]:
    """A cluster for the block, or why there is none."""
    with open(LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield "the tests are using the cluster of this machine"
            return
        found = answering()
        if found is not None:
            yield found
            return
        needed = ("slurmctld", "slurmd", "munged", "sbatch")
        missing = [name for name in needed if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            yield (
                f"no Slurm here ({', '.join(missing)} missing)"
                if missing
                else "no cluster answers, and making one needs root"
            )
            return
        up = subprocess.run([SCRIPT, "up"], capture_output=True, text=True)
        if up.returncode:
            yield f"no cluster could be made: {up.stderr.strip()[-300:]}"
            return
        try:
            made = answering()
            yield made if made is not None else "the cluster that was made does not answer"
        finally:
            subprocess.run([SCRIPT, "down"], check=True, capture_output=True)
