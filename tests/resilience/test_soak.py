"""All pipelines on their smoke settings while things are killed at random, fifty times.

The profile is that of `make run`. Each time, either Snakemake or one of the processes under it dies
of SIGKILL, and where Snakemake has ended the same command is given again. At the end the data, the
weights and the metrics are those of a run that nothing happened to.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from regression.fingerprint import describe, differences, fingerprint
from safetensors.torch import load_file

from physml.io.integrity import verify

KILLS = int(os.environ.get("PHYSML_SOAK_KILLS", "50"))
SEED = int(os.environ.get("PHYSML_SOAK_SEED", "4"))
#: Mean seconds between two kills; a start of Snakemake takes three, a stage ten to hundred.
MEAN = 8.0


class Chain:
    """Snakemake on the smoke settings of all pipelines, in a folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.runs = folder, 0
        self.command = [
            Path(sys.executable).parent / "snakemake",
            *("-s", root / "Snakefile", "--profile", root / "workflows" / "profiles" / "local"),
            *("--cores", "2", "--config", "preset=smoke"),
        ]

    def start(self) -> psutil.Popen:
        self.runs += 1
        with open(self.folder / f"run_{self.runs}.log", "w") as log:
            return psutil.Popen(self.command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return (self.folder / f"run_{self.runs}.log").read_text()

    def finish(self) -> None:
        assert self.start().wait() == 0, self.said()[-4000:]


def suffer(chain: Chain, kills: int, rng: np.random.Generator) -> dict[str, int]:
    """Kill at random until it has been done so many times; how often what died."""
    died: dict[str, int] = {}
    snakemake = chain.start()
    while sum(died.values()) < kills:
        deadline = time.monotonic() + rng.exponential(MEAN)
        while time.monotonic() < deadline and snakemake.poll() is None:
            time.sleep(0.05)
        if snakemake.poll() is not None:
            # One job was killed more often than the profile retries; or all is done, too early.
            assert snakemake.returncode != 0, f"done after {sum(died.values())} kills"
            snakemake = chain.start()
            continue
        victims = [snakemake]
        with contextlib.suppress(psutil.NoSuchProcess):
            victims += snakemake.children(recursive=True)
        victim = victims[0] if rng.random() < 1 / 3 else victims[rng.integers(len(victims))]
        with contextlib.suppress(psutil.NoSuchProcess):
            words = [Path(w).name for w in victim.cmdline()[:4]]
            name = next((w for w in ("snakemake", "physml", "bash") if w in words), "other")
            victim.kill()
            died[name] = died.get(name, 0) + 1
    snakemake.wait()
    return died


def results(folder: Path) -> dict[str, Any]:
    """What must not depend on the kills: data, weights, metrics and products, but no times."""
    found = fingerprint(folder / "results")
    for path in (folder / "results").glob("*/model.safetensors"):
        for name, tensor in load_file(path).items():
            found[f"{path.parent.name} {name}"] = describe(tensor.numpy())
    return {name: value for name, value in found.items() if not name.endswith("_ms")}


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_fifty_kills_change_no_result(root: Path, tmp_path: Path) -> None:
    undisturbed = Chain(root, tmp_path / "undisturbed")
    undisturbed.finish()
    disturbed = Chain(root, tmp_path / "disturbed")
    died = suffer(disturbed, KILLS, np.random.default_rng(SEED))
    disturbed.finish()
    print(f"killed: {died}; {disturbed.runs} runs")
    assert sum(died.values()) == KILLS
    expected, found = results(undisturbed.folder), results(disturbed.folder)
    assert len(expected) > 500
    assert differences(expected, found, relative=0) == []
    for path in disturbed.folder.glob("results/*/data/*.h5"):
        verify(path)
    left = [str(p) for p in (disturbed.folder / "results").rglob(".*.partial*")]
    assert left == [], "something half-written is left"
