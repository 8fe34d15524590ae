"""Dask workers: sized as asked, reachable by nobody else, the same results."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, get_client
from distributed.security import Security

from physml.exceptions import PhysmlError, SettingsError
from physml.parallel.settings import DaskSettings
from physml.parallel.slurm import slurm_client
from physml.parallel.tasks import AHEAD, MIN_WORKER_MB, client, in_order
from physml.random import stream


@pytest.fixture(autouse=True, scope="module")
def _forked() -> Iterator[None]:
    """Worker processes forked from a server, which saves the import of Dask at each start."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield
    # There is one for the whole process, and others want it with other modules loaded.
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def draw(index: int) -> float:
    return float(stream(5, "simulate", index).normal())


def who(_: int) -> int:
    return os.getpid()


def die_once(index: int, folder: Path) -> float:
    """Kill the worker that does this task first; the next one finds the mark and lives."""
    mark = folder / str(index)
    if index % 3 == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(index)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mark(index: int, folder: Path) -> int:
    (folder / str(index)).touch()
    return index


def listening() -> list[str]:
    """Addresses on which this process and its children listen, from the kernel's table."""
    inodes = set()
    for process in [os.getpid(), *children(os.getpid())]:
        folder = Path(f"/proc/{process}/fd")
        for link in folder.iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1].split(":")[0])
    return found


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    own = [int(n) for n in text.split()]
    return own + [grandchild for child in own for grandchild in children(child)]


def test_threads_work_in_a_process_that_is_larger_than_their_memory() -> None:
    ballast = np.ones(50_000_000)  # 400 MB
    with client(2, MIN_WORKER_MB) as started:
        assert ballast.nbytes > 1e6 * MIN_WORKER_MB
        time.sleep(0.5)  # the worker looks at its memory five times a second
        assert started.gather(started.map(draw, range(6))) == [draw(i) for i in range(6)]


def test_threads(caplog) -> None:
    caplog.set_level("INFO")
    with client(2, 500) as started:
        info = started.scheduler_info()["workers"]
        assert [w["nthreads"] for w in info.values()] == [2]
        assert [w["memory_limit"] for w in info.values()] == [500_000_000]
        assert set(started.gather(started.map(who, range(4)))) == {os.getpid()}
        assert started.gather(started.map(draw, range(6))) == [draw(i) for i in range(6)]
        array = np.arange(5)
        assert started.submit(np.sum, array).result() == 10
    assert caplog.text == ""  # no account of connections in the log of a stage
    # The client is closed, and none is left as the default for the code that follows.
    with pytest.raises(ValueError, match="No global client"):
        get_client()


needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")


@needs_proc
def test_threads_listen_on_the_loopback_interface_only() -> None:
    with client(1, 500):
        assert set(listening()) <= {"0100007F"}  # 127.0.0.1


@needs_proc
def test_processes_and_nothing_listens_beyond_the_machine() -> None:
    with client(2, 1000, "processes") as started:
        info = started.scheduler_info()["workers"]
        assert [w["nthreads"] for w in info.values()] == [1, 1]
        assert [w["memory_limit"] for w in info.values()] == [500_000_000] * 2
        assert os.getpid() not in started.gather(started.map(who, range(4), pure=False))
        assert started.gather(started.map(draw, range(6))) == [draw(i) for i in range(6)]
        addresses = listening()
        assert addresses
        assert set(addresses) == {"0100007F"}  # 127.0.0.1


def test_processes_refuse_who_has_no_key() -> None:
    """Another user of the machine reaches the loopback interface too, and may not run code here."""
    with client(2, 1000, "processes") as started:
        address = started.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert all(w.startswith("tls://127.0.0.1:") for w in started.scheduler_info()["workers"])
        for stranger in (
            {"address": address.replace("tls:", "tcp:")},
            {"address": address, "security": Security.temporary()},
        ):
            with pytest.raises((OSError, TimeoutError)):
                Client(**stranger, timeout="2s", set_as_default=False).close()
        assert started.submit(draw, 1).result() == draw(1)


def test_scratch_is_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with client(1, 500) as started:
        assert started.submit(draw, 1).result() == draw(1)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_task_is_the_callers() -> None:
    with client(1, 500) as started, pytest.raises(ZeroDivisionError):
        started.submit(lambda: 1 / 0).result()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 1000), "threads: expected at least 1"),
        ((1, 10), "mem_mb: expected at least 200"),
        ((4, 700, "processes"), "mem_mb: expected at least 800 for 4"),
        ((1, 1000, "fibres"), "expected 'threads' or 'processes'"),
    ],
)
def test_refusals(arguments, match: str) -> None:
    with pytest.raises(SettingsError, match=match), client(*arguments):
        pytest.fail("must not start")


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order_whatever_the_number_of_workers(threads: int) -> None:
    tasks = [(k,) for k in range(3 * AHEAD * threads + 1)]
    found = list(in_order(draw, tasks, threads=threads, mem_mb=2000, kind="threads"))
    assert found == [draw(k) for (k,) in tasks]


def test_no_tasks_are_no_results() -> None:
    assert list(in_order(draw, [], threads=2, mem_mb=500, kind="threads")) == []


def test_tasks_run_no_further_ahead_than_workers_need(tmp_path: Path) -> None:
    """What is done and not yet fetched lies in memory: it must not be the whole data set."""
    tasks = [(k, tmp_path) for k in range(40)]
    results = in_order(mark, tasks, threads=2, mem_mb=500, kind="threads")
    assert next(results) == 0
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 2 * AHEAD + 1
    assert list(results) == list(range(1, 40))


def test_tasks_of_workers_that_die_are_done_again(tmp_path: Path) -> None:
    tasks = [(k, tmp_path) for k in range(7)]
    found = list(in_order(die_once, tasks, threads=2, mem_mb=1000))
    assert found == [draw(k) for k in range(7)]
    assert {path.name for path in tmp_path.iterdir()} == {"1", "4"}, "no worker died"


def test_a_task_that_kills_every_worker_is_an_error_with_a_way_out() -> None:
    with pytest.raises(PhysmlError, match=r"died with its worker 3 times.*resources.mem_mb"):
        list(in_order(die, [(0,)], threads=2, mem_mb=1000))


def test_slurm_workers_where_there_is_no_slurm(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(SettingsError, match="no sbatch on PATH"),
        slurm_client(DaskSettings(cluster="slurm"), tmp_path),
    ):
        pytest.fail("must not start")


def test_slurm_workers_want_a_path_that_a_job_script_can_hold(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "sbatch").write_text("")
    (tmp_path / "sbatch").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("two words", "a;b", "$(c)"):
        with (
            pytest.raises(SettingsError, match="an output path of letters"),
            slurm_client(DaskSettings(cluster="slurm"), tmp_path / name),
        ):
            pytest.fail("must not start")
