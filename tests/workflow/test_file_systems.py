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
from safetensors.numpy import load_file

from .conftest import Run, planned

SLURM = Path("workflows") / "profiles" / "slurm" / "config.yaml"


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_clocks_that_differ_run_nothing_again(
    snakemake: Run, toy: Path, prepared: Path, ahead: int
) -> None:
    """The training's node is an hour behind, or ahead, of the others."""
    command = ["-s", toy, "--config", f"train={{clock_s: {ahead}}}"]
    snakemake(*command, cwd=prepared)
    assert planned(snakemake(*command, "-n", cwd=prepared).stdout) == {}
    if ahead < 0:  # left as that clock has it, the weights would look older than the data
        weights = prepared / "results" / "toy" / "model.safetensors"
        os.utime(weights, (time.time() + ahead,) * 2)
        assert planned(snakemake(*command, "-n", cwd=prepared).stdout) != {}


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
    weights = Path("results") / "toy" / "model.safetensors"
    assert load_file(prepared / weights)["rate"] == load_file(done / weights)["rate"]


SETTINGS = [
    "simulate={n_samples: 60, shard_size: 30, n_qubits: [1]}",
    "preprocess={valid: 0.2, test: 0.2, batch: 20}",
]


def checksums(data: Path) -> dict[str, str]:
    """Of the content of each file, as its writer noted them."""
    found = {}
    for path in data.glob("*.h5"):
        with h5py.File(path) as file:
            found[path.name] = str(file.attrs["sha256"])
    return found


def flip(path: Path) -> None:
    """Flip one bit of the data of a shard."""
    with h5py.File(path) as file:
        chunk = file["state"].id.get_chunk_info(0)
        place = chunk.byte_offset + chunk.size // 4
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damaged", "reader"), [("raw/1.h5", "preprocess"), ("data/train.h5", "train")]
)
def test_a_damaged_file_is_named_and_made_anew(
    snakemake: Run, root: Path, tmp_path: Path, damaged: str, reader: str
) -> None:
    """The message holds the one command that mends it; the data are then the same."""
    command = ["-s", root / "pipelines" / "tomography" / "Snakefile", "--notemp"]
    settings = ["--config", *SETTINGS]
    results = tmp_path / "results" / "tomography"
    snakemake(*command, "--until", "preprocess", *settings, cwd=tmp_path)
    expected = checksums(results / "data")
    flip(results / damaged)
    if reader == "preprocess":
        shutil.rmtree(results / "data")
    snakemake(*command, "--until", reader, *settings, cwd=tmp_path, rc=1)
    log = (tmp_path / "logs" / "tomography" / f"{reader}.log").read_text()
    assert str(Path("results") / "tomography" / damaged) in log
    assert "SHA-256" in log or "damaged" in log
    (advice,) = re.findall(r"`--forcerun (\S+)`", log)
    anew = ["--forcerun", advice, "--until", "preprocess"]
    snakemake(*command, *anew, *settings, cwd=tmp_path)
    assert checksums(results / "data") == expected
