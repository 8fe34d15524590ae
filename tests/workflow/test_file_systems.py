"""File systems of clusters: clocks that differ, files that show up late, bits that flip."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import h5py
import pytest
import yaml

from physml.provenance import sha256

from .conftest import WEIGHTS, Run, weight

SLURM = Path("workflows") / "profiles" / "slurm" / "config.yaml"


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_clocks_that_differ_run_nothing_again(
    snakemake: Run, plan, toy: Path, prepared: Path, ahead: int
) -> None:
    """The training's node is an hour behind, or ahead, of the others."""
    command = ["-s", toy, "--config", f"train={{clock_s: {ahead}}}"]
    snakemake(*command, cwd=prepared)
    assert plan(*command, cwd=prepared) == {}
    if ahead < 0:  # left as that clock has it, the weights would look older than the data
        os.utime(prepared / WEIGHTS, (time.time() + ahead,) * 2)
        assert plan(*command, cwd=prepared) != {}


def test_a_file_that_shows_up_late_is_waited_for(
    snakemake: Run, root: Path, toy: Path, done: Path, prepared: Path
) -> None:
    """No second job, no error; without patience it would be one."""
    wait = yaml.safe_load((root / SLURM).read_text())["latency-wait"]
    command = ["-s", toy, "--until", "train", "--retries", "0", "--config", "train={late_s: 3}"]
    hasty = shutil.copytree(prepared, prepared.with_name("hasty"))
    out = snakemake(*command, "--latency-wait", "0", cwd=hasty, rc=1).stdout
    assert "latency" in out
    snakemake(*command, "--latency-wait", f"{wait}", cwd=prepared)
    assert weight(prepared) == weight(done)


def flip(path: Path) -> None:
    """Flip one bit of the data of a shard."""
    with h5py.File(path) as file:
        chunk = file["counts"].id.get_chunk_info(0)
        place = chunk.byte_offset + chunk.size // 4
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damaged", "reader"), [("raw/1.h5", "preprocess"), ("data/train.h5", "train")]
)
def test_a_damaged_file_is_named_and_made_anew(
    snakemake: Run, toy: Path, prepared: Path, damaged: str, reader: str
) -> None:
    """The message holds the one command that mends it; the data are then the same."""
    command = ["-s", toy, "--notemp"]
    results = prepared / "results" / "toy"
    expected = {path.name: sha256(path) for path in (results / "data").glob("*.h5")}
    assert set(expected) == {"train.h5", "test.h5"}
    flip(results / damaged)
    if reader == "preprocess":
        shutil.rmtree(results / "data")
    snakemake(*command, "--until", reader, cwd=prepared, rc=1)
    log = (prepared / "logs" / "toy" / f"{reader}.log").read_text()
    assert str(Path("results") / "toy" / damaged) in log
    assert "SHA-256" in log or "damaged" in log
    (advice,) = re.findall(r"`--forcerun (\S+)`", log)
    snakemake(*command, "--forcerun", advice, "--until", "preprocess", cwd=prepared)
    assert {path.name: sha256(path) for path in (results / "data").glob("*.h5")} == expected
