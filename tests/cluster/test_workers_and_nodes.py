"""Dask's workers and the processes of a training as Slurm jobs, on the cluster of this folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
import torch

from physml.parallel.settings import DaskSettings
from physml.parallel.tasks import in_order
from physml.random import stream
from physml.tomography import preprocess, simulate
from physml.tomography.learning.prepared import file_names
from physml.tomography.settings import TomographySettings

pytestmark = pytest.mark.cluster

TESTS = Path(__file__).resolve().parents[1]
SETTINGS = TomographySettings.model_validate(
    {
        "simulate": {
            **{"n_samples": 60, "shard_size": 20, "batch": 20, "n_qubits": [1]},
            **{"copies": 300, "designer": "none"},
        },
        "preprocess": {"valid": 0.2, "test": 0.2, "batch": 10},
    }
)


@pytest.fixture(autouse=True)
def one_machine() -> Iterator[None]:
    """Where all nodes are this machine, they meet on its loopback interface."""
    import dask
    import dask_jobqueue  # noqa: F401  (brings the defaults that are overridden)

    hosts = subprocess.run(["sinfo", "-h", "-o", "%o"], capture_output=True, text=True).stdout
    alone = set(hosts.split()) == {"127.0.0.1"}
    with dask.config.set({"jobqueue.slurm.interface": "lo"} if alone else {}):
        yield


def workers() -> list[str]:
    """Slurm's numbers of the worker jobs that are there."""
    asked = ["squeue", "-h", "-n", "physml-worker", "-t", "PD,R", "-o", "%i"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def checksums(folder: Path) -> dict[str, str]:
    """Of the content of each file, as its writer noted them."""
    found = {}
    for path in folder.glob("*.h5"):
        with h5py.File(path) as file:
            found[path.name] = str(file.attrs["sha256"])
    return found


def placed(where: DaskSettings) -> TomographySettings:
    choice = SETTINGS.preprocess.model_copy(update={"dask": where})
    return SETTINGS.model_copy(update={"preprocess": choice})


def test_the_data_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    raw = [tmp_path / f"{k}.h5" for k in range(3)]
    for shard, path in enumerate(raw):
        simulate.run(settings=SETTINGS, shard=shard, out=path)
    here = tmp_path / "here"
    preprocess.run(settings=SETTINGS, raw=raw, out=here, threads=1)
    assert set(checksums(here)) == {f"{name}.h5" for name in file_names(SETTINGS)}
    for number in (1, 2, 4):
        where = DaskSettings(cluster="slurm", workers=number, mem_mb=700, runtime_min=5)
        out = tmp_path / f"slurm_{number}"
        preprocess.run(settings=placed(where), raw=raw, out=out, threads=1)
        assert checksums(out) == checksums(here), f"{number} workers"
    assert workers() == [], "worker jobs outlive the stage"
    assert not list(tmp_path.glob(".workers-*")), "keys are left behind"


def test_cancelled_workers_are_replaced_and_their_tasks_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    monkeypatch.syspath_prepend(TESTS)
    prologue = [f"export PYTHONPATH={TESTS}:$PYTHONPATH"]  # the task is one of the fakes
    with dask.config.set({"jobqueue.slurm.job-script-prologue": prologue}):
        cancel_workers(tmp_path)


def cancel_workers(tmp_path: Path) -> None:
    from fakes.slow_task import slowly

    where = DaskSettings(cluster="slurm", workers=2, mem_mb=1200, runtime_min=5)
    tasks = [(k,) for k in range(40)]
    results = in_order(slowly, tasks, threads=1, mem_mb=1, dask=where, folder=tmp_path)
    found = [next(results)]
    cancelled = workers()
    assert cancelled
    subprocess.run(["scancel", *cancelled], check=True)
    seen: set[str] = set()
    watch = threading.Event()

    def look() -> None:
        while not watch.wait(1.0):
            seen.update(workers())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        found += results
    finally:
        watch.set()
        thread.join()
    assert found == [float(stream(5, "simulate", k).normal()) for k in range(40)]
    assert seen - set(cancelled), "no other worker took over"


def test_two_nodes_take_the_same_steps_as_one_process(tmp_path: Path) -> None:
    """The unit test's training, one process on each of two nodes, under srun."""
    nodes = subprocess.run(["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True)
    if len(set(nodes.stdout.split())) < 2:
        pytest.skip("the cluster has one node")
    from fakes.training_worker import train_together

    one = train_together(tmp_path / "one")
    out = tmp_path / "two"
    out.mkdir()
    program = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); from pathlib import Path; "
        f"from fakes.training_worker import work; work(Path({str(out)!r}), {{}})"
    )
    launch = "export MASTER_ADDR=$(hostname) OMP_NUM_THREADS=1; exec srun --nodes=2 --ntasks=2 "
    options = "--kill-on-bad-exit=1 --time=5 --mem=1000 "
    subprocess.run(
        ["bash", "-c", f'{launch} {options} "$0" -c "$1"', sys.executable, program], check=True
    )
    two = torch.load(out / "result.pt", weights_only=True)
    assert two["is_main"] == [True, False]
    for a, b in zip(one.history, two["history"], strict=True):
        for key in ("train_loss", "valid_loss", "gradient_norm", "lr", "iteration"):
            assert b[key] == pytest.approx(a[key], rel=1e-5), key
