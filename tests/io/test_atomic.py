"""Atomic writing: the whole file or none, whatever happens."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import QTable

from physml.exceptions import InputError, OutputError
from physml.io.atomic import (
    MARKER,
    atomic_directory,
    atomic_path,
    read_json,
    refuse_existing,
    set_aside,
    write_json,
    write_text,
)
from physml.io.catalogues import write_catalogue
from physml.io.fits import write_image
from physml.io.shards import Spec, read_shard, write_shard
from physml.io.weights import save_weights


def left_behind(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def fail_inside(manager, error: type[BaseException] = RuntimeError) -> None:
    """Write half of it, then raise."""
    with manager as temporary:
        (temporary / "a" if temporary.is_dir() else temporary).write_text("half")
        raise error


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.ecsv"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".ecsv"
        assert not temporary.exists()
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert left_behind(tmp_path) == ["new/a.ecsv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(error):
        fail_inside(atomic_path(target), error)
    assert left_behind(tmp_path) == []


def test_old_file_survives_a_failed_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError):
        fail_inside(atomic_path(target, overwrite=True))
    assert target.read_text() == "old"
    write_text(target, "new", overwrite=True)
    assert target.read_text() == "new"


def test_existing_file_is_refused_before_the_work(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError, match="--overwrite") as caught, atomic_path(target):
        pytest.fail("the block must not run")
    assert str(target) in str(caught.value)
    assert caught.value.exit_code == 2
    assert target.read_text() == "old"


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"

    def race() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("mine")
            target.write_text("theirs")

    with pytest.raises(OutputError):
        race()
    assert target.read_text() == "theirs"
    assert left_behind(tmp_path) == ["a.txt"]


def test_dangling_link_and_folder_are_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="a link"), atomic_path(link):
        pass
    with pytest.raises(OutputError, match="found a folder"), atomic_path(tmp_path, overwrite=True):
        pass


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="made no file"), atomic_path(tmp_path / "a"):
        pass


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    """Not 0600, as temporary files have: colleagues read results."""
    write_text(tmp_path / "a", "x")
    plain = tmp_path / "b"
    plain.write_text("x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


def test_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a))[1])
    write_text(tmp_path / "a", "x")
    assert calls == ["fsync", "replace", "fsync"]  # file, name, folder


def test_folder_appears_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_directory(target) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.png").write_bytes(b"x")
        assert not target.exists()
    assert left_behind(tmp_path) == [f"out/{MARKER}", "out/figures/a.png"]


def test_failed_folder_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for overwrite in (False, True):
        with pytest.raises(RuntimeError):
            fail_inside(atomic_directory(target, overwrite))
        assert left_behind(tmp_path) == ([] if not overwrite else ["out/.physml-output", "out/a"])
        if not overwrite:
            with atomic_directory(target) as folder:
                (folder / "a").write_text("whole")
    assert (target / "a").read_text() == "whole"


def test_overwrite_replaces_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("old", "new"):
        with atomic_directory(target, overwrite=True) as folder:
            (folder / name).write_text(name)
    assert left_behind(tmp_path) == ["out/.physml-output", "out/new"]


def test_folder_with_files_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="--overwrite"), atomic_directory(tmp_path / "out"):
        pass


def test_somebody_elses_folder_is_never_removed(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(OutputError, match="which --overwrite would delete"),
        atomic_directory(target, overwrite=True),
    ):
        pass
    assert (target / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    for other in (tmp_path / "file", tmp_path / "link"):
        if other.name == "link":
            other.symlink_to(target)
        with pytest.raises(OutputError), atomic_directory(other, overwrite=True):
            pass


def test_empty_folders_made_by_a_workflow_are_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "figures" / "deep").mkdir(parents=True)
    refuse_existing(target)
    with atomic_directory(target) as folder:
        (folder / "a").write_text("x")
    assert left_behind(tmp_path) == ["out/.physml-output", "out/a"]


def test_relative_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_directory("out") as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "out" / "a").is_file()


def test_set_aside(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with set_aside(target):
        target.write_text("first")

    def fail() -> None:
        with set_aside(target):
            assert not target.exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "first"
    with set_aside(target):
        target.write_text("second")
    assert target.read_text() == "second"
    assert left_behind(tmp_path) == ["a"]


def test_json_is_strict_and_guarded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert left_behind(tmp_path) == []
    write_json(path, {"x": [1, 2.5, None, "ä"]})
    assert read_json(path) == {"x": [1, 2.5, None, "ä"]}
    with pytest.raises(InputError, match="at most 10 bytes"):
        read_json(path, max_bytes=10)
    path.write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read_json(path)
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none")


@pytest.fixture
def small_files() -> Iterator[None]:
    """A file may not grow beyond a limit: what a full disk does, without one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def write_folder(path: Path) -> None:
    with atomic_directory(path) as folder:
        (folder / "small").write_text("fits")
        (folder / "large").write_bytes(bytes(100_000))


NOISE = np.random.default_rng(0).random((4, 100, 100))
WRITERS = {
    "text": lambda path, **o: write_text(path, "x" * 100_000, **o),
    "shard.h5": lambda path, **o: write_shard(path, {"x": NOISE}, provenance={}, **o),
    "image.fits": lambda path, **o: write_image(path, NOISE[0], provenance={"stage": "x"}, **o),
    "table.ecsv": lambda path, **o: write_catalogue(path, QTable({"x": NOISE.ravel()}), **o),
    "weights.safetensors": lambda path, **o: save_weights(path, {"x": torch.ones(9999)}, {}, **o),
    "folder": write_folder,
}


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "folder"])
def test_no_writer_overwrites_by_accident(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        WRITERS[name](path)
    assert path.read_text() == "old"
    WRITERS[name](path, overwrite=True)
    assert path.stat().st_size > 20_000


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError) as caught:
        WRITERS[name](tmp_path / name)
    wanted = f"{tmp_path / name}: expected room for the output, found file too large"
    assert wanted in str(caught.value)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_really_full_disk(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OutputError, match="no space left on device"):
            write_shard(tmp_path / "a.h5", {"x": NOISE}, provenance={})
        assert list(tmp_path.iterdir()) == []
        write_shard(tmp_path / "b.h5", {"x": NOISE[:, :20, :20]}, provenance={})
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_permission_errors_are_output_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can be written to"), atomic_path(tmp_path / "a"):
        raise PermissionError(13, "Permission denied")


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        open(tmp_path / "none")  # noqa: SIM115


def write_for_ever(path: Path, ready: Event) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (60, 64, 64), dtype=np.uint32)
    ready.set()
    for n in itertools.count():
        write_shard(path, {"x": noise + n}, provenance={"n": n}, overwrite=True)


def test_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    """SIGKILL at random moments: the name holds a complete shard, or nothing."""
    target = tmp_path / "a.h5"
    rng = np.random.default_rng(3)
    context = multiprocessing.get_context("fork")
    seen = 0
    for _ in range(4):
        ready = context.Event()
        process = context.Process(target=write_for_ever, args=(target, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(rng.uniform(0.0, 0.4))
        process.kill()
        process.join()
        if target.exists():
            seen += 1
            shard = read_shard(target, {"x": Spec("uint32", (60, 64, 64))})  # checks the hash
            assert shard["x"].min() >= shard.provenance["n"]
    assert seen > 0


def test_sigterm_through_the_command_line_cleans_up(tmp_path: Path) -> None:
    program = """
    import sys, time
    from pathlib import Path
    from physml.cli import main as cli
    from physml.io.atomic import atomic_path

    @cli.app.command()
    def wait(path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            print("ready", flush=True)
            time.sleep(60)

    sys.exit(cli.main(["wait", sys.argv[1]]))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "a")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 1
    process.terminate()
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 143
    assert messages == "Error: terminated\n"
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, time
from pathlib import Path
from physml.io.atomic import atomic_directory, atomic_path
with atomic_{kind}(Path(sys.argv[1])) as temporary:
    target = temporary if "{kind}" == "path" else temporary / "part"
    target.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["path", "directory"])
def test_leftovers_of_the_killed_go_and_those_at_work_stay(tmp_path: Path, kind: str) -> None:
    """A second kill does not find twice the disk in use; a writer at work is not disturbed."""
    target = tmp_path / "shard.h5"

    def writer() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER.replace("{kind}", kind), str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    killed = writer()
    killed.kill()
    killed.wait()
    (left,) = tmp_path.iterdir()
    other = tmp_path / left.name.replace(".shard.", ".shard2.")
    other.touch()  # of another file, and not for this writer to judge
    alive = writer()
    try:
        assert not left.exists()
        assert len(list(tmp_path.glob(".shard.*"))) == 1
        made = atomic_path(target) if kind == "path" else atomic_directory(target)
        with made as temporary:
            assert len(list(tmp_path.glob(".shard.*"))) == (2 if kind == "directory" else 1)
            (temporary if kind == "path" else temporary / "part").write_bytes(b"whole")
            assert len(list(tmp_path.glob(".shard.*"))) == 2
    finally:
        alive.kill()
        alive.wait()
    assert other.exists()
