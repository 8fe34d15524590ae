"""A data set larger than the memory of its workers: what is held does not grow with the data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORKER_MB = 300
TASK_MB = 8

# A process of its own: the peak of a process never falls.
PROGRAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from physml.io.shards import ShardWriter
from physml.parallel.tasks import in_order

def make(k, mb):
    return {"x": np.full((mb, 1 << 18), k, np.float32), "k": np.full(mb, k)}

def main(out, tasks, mb, workers, worker_mb):
    parts = in_order(make, [(k, mb) for k in range(tasks)], threads=workers,
                     mem_mb=workers * worker_mb)
    with ShardWriter(Path(out), provenance={}) as file:
        for part in parts:
            file.append(part)
    own, children = (resource.getrusage(who).ru_maxrss / 1024
                     for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"own": own, "worker": children, "rows": len(file)}))

if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
"""


def peak(folder: Path, tasks: int) -> dict[str, float]:
    """Largest memory of the stage and of a worker, MB, for so many tasks."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    out = folder / f"{tasks}.h5"
    arguments = [str(out), *map(str, (tasks, TASK_MB, 2, WORKER_MB))]
    done = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == tasks * TASK_MB
    return found


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    small, large = peak(tmp_path, 12), peak(tmp_path, 120)
    data_mb = 120 * TASK_MB
    assert data_mb > 3 * WORKER_MB
    # Ten times the data: less than a fifteenth of them more in memory.
    assert large["own"] - small["own"] < data_mb / 15
    assert large["worker"] < WORKER_MB * 1.1
