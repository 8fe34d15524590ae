"""Dask workers: sized as asked, reachable by nobody else, the same results."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from physml.exceptions import SettingsError
from physml.parallel import MIN_WORKER_MB, client
from physml.random import stream


def draw(index: int) -> float:
    return float(stream(5, "simulate", index).normal())


def who(_: int) -> int:
    return os.getpid()


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
    with client(2, MIN_WORKER_MB) as dask:
        assert ballast.nbytes > 1e6 * MIN_WORKER_MB
        time.sleep(0.5)  # the worker looks at its memory five times a second
        assert dask.gather(dask.map(draw, range(6))) == [draw(i) for i in range(6)]


def test_threads(caplog) -> None:
    caplog.set_level("INFO")
    with client(2, 500) as dask:
        info = dask.scheduler_info()["workers"]
        assert [w["nthreads"] for w in info.values()] == [2]
        assert [w["memory_limit"] for w in info.values()] == [500_000_000]
        assert set(dask.gather(dask.map(who, range(4)))) == {os.getpid()}
        assert dask.gather(dask.map(draw, range(6))) == [draw(i) for i in range(6)]
        array = np.arange(5)
        assert dask.submit(np.sum, array).result() == 10
    assert caplog.text == ""  # no account of connections in the log of a stage
    # The client is closed, and none is left as the default for the code that follows.
    from distributed import get_client

    with pytest.raises(ValueError, match="No global client"):
        get_client()


needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")


@needs_proc
def test_threads_listen_on_the_loopback_interface_only() -> None:
    with client(1, 500):
        assert set(listening()) <= {"0100007F"}  # 127.0.0.1


@needs_proc
def test_processes_and_nothing_listens_beyond_the_machine() -> None:
    with client(2, 1000, "processes") as dask:
        info = dask.scheduler_info()["workers"]
        assert [w["nthreads"] for w in info.values()] == [1, 1]
        assert [w["memory_limit"] for w in info.values()] == [500_000_000] * 2
        assert os.getpid() not in dask.gather(dask.map(who, range(4), pure=False))
        assert dask.gather(dask.map(draw, range(6))) == [draw(i) for i in range(6)]
        addresses = listening()
        assert addresses
        assert set(addresses) == {"0100007F"}  # 127.0.0.1


def test_scratch_is_removed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with client(1, 500) as dask:
        assert dask.submit(draw, 1).result() == draw(1)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_task_is_the_callers() -> None:
    with client(1, 500) as dask, pytest.raises(ZeroDivisionError):
        dask.submit(lambda: 1 / 0).result()


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
