"""Several processes: what they exchange, and who waits for whom how long."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from fakes.training_together import work

from physml.exceptions import PhysmlError
from physml.training import distributed


def together(what: str, out: Path) -> list[dict]:
    """Run something in two processes; what each found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["physml.training.loop", "torch._dynamo", "pytest"])
    processes = [
        context.Process(
            target=work, args=(what, out, common | {"RANK": str(r), "LOCAL_RANK": str(r)})
        )
        for r in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return [json.loads((out / f"0{rank}.json").read_text()) for rank in range(2)]


def test_all_processes_have_the_same_rows(tmp_path: Path) -> None:
    first, second = together("gathered", tmp_path)
    assert first["rows"] == second["rows"] == [[k + 1 / 3 for k in range(3)]]
    assert first["least"] == second["least"] == [0.0, -1.0, 1e300]
    assert sorted(first["share"] + second["share"]) == [0, 1, 2, 3, 4]
    assert first["backend"] == second["backend"] == "gloo"
    assert first["gpus"] == ""


def test_others_wait_for_the_first_as_long_as_it_shows_life(tmp_path: Path) -> None:
    first, second = together("main_alone", tmp_path)
    assert (first["alone"], second["alone"]) == (True, False)
    assert min(first["waited"], second["waited"]) >= 1.9
    works, done = distributed._WORKS, distributed._DONE
    assert second["heard"][-1] == done
    assert second["heard"][:-1] == [works] * (len(second["heard"]) - 1)
    assert len(second["heard"]) >= 4
    assert first["together"] == second["together"] == [0, 1]


def test_others_stop_with_the_first(tmp_path: Path) -> None:
    first, second = together("main_stopped", tmp_path)
    assert first["stopped"].startswith("stopped here")
    assert second["stopped"].startswith("stopped with the first process. Run the same command")


def test_a_process_that_hangs_is_given_up_in_minutes() -> None:
    assert timedelta(minutes=5) <= distributed.TIMEOUT <= timedelta(minutes=30)
    assert distributed.TIMEOUT.total_seconds() > 10 * distributed.BEAT_S


def test_without_gpus_of_their_own_processes_do_not_see_any(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    seen = lambda: bool(os.environ["CUDA_VISIBLE_DEVICES"])  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_available", seen)
    assert distributed._backend(gpu=True) == "nccl"
    assert distributed._backend(gpu=False) == "gloo"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # in use already
    with pytest.raises(PhysmlError, match="CUDA_VISIBLE_DEVICES"):
        distributed._backend(gpu=False)
