"""Where preprocessing and training run: what a choice asks for, and that it changes no result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .conftest import Run


def planned_job(snakemake: Run, root: Path, folder: Path, rule: str, settings: str) -> str:
    """What a dry run says of one job of the cavities pipeline."""
    options = ["--config", "preset=smoke", f"cavities={settings}", "--", rule]
    out = snakemake("-s", root / "Snakefile", "-n", "-p", *options, cwd=folder).stdout
    job = re.search(rf"^rule {rule}:\n(.*?)(?=^\[|^Job stats|\Z)", out, re.S | re.M)
    assert job is not None, out
    return job[1]


def asked(job: str) -> dict[str, str]:
    """Resources by name; the text of a launcher holds no comma."""
    line = re.search(r"^    resources: (.*)$", job, re.M)
    assert line is not None, job
    return dict(part.split("=", 1) for part in re.split(r", (?=\w+=)", line[1]))


@pytest.mark.parametrize(
    ("resources", "starts", "expected"),
    [
        ("{gpu: 0}", "physml cavities train", {"threads_each": "1", "mem_mb": "16000"}),
        (
            "{gpu: 0, processes: 2}",
            "torchrun --standalone --nproc-per-node=2 --no-python physml cavities train",
            {"mem_mb": "32000"},
        ),
        (
            "{gpu: 4, nodes: 2, threads: 3}",
            "srun --nodes=2 --ntasks=4 --cpus-per-task=3 --kill-on-bad-exit=1 --gpu-bind=none "
            "physml cavities train",
            # Slurm's plugin leaves starting the processes to the command where `mpi` is set.
            {"mpi": "srun", "nodes": "2", "tasks": "4", "tasks_per_gpu": "1", "gpu": "4"}
            | {"cpus_per_task": "3", "mem_mb": "32000"},
        ),
    ],
)
def test_how_a_training_is_started(
    snakemake: Run, root: Path, tmp_path: Path, resources: str, starts: str, expected: dict
) -> None:
    settings = f"{{train: {{resources: {resources}}}}}"
    job = planned_job(snakemake, root, tmp_path, "cavities_train", settings)
    assert re.search(rf"(Shell command: |\)\}} ){re.escape(starts)}", " ".join(job.split()))
    found = asked(job)
    assert {name: found.get(name) for name in expected} == expected
    assert ("mpi" in found) == ("nodes" in expected)


def test_workers_are_a_resource_that_runs_nothing_again(
    snakemake: Run, root: Path, tmp_path: Path
) -> None:
    """The settings of the stage, which are what makes it run again, stay as they are."""
    told = {}
    for choice in ("local", "slurm"):
        settings = f"{{preprocess: {{dask: {choice}}}}}"
        job = planned_job(snakemake, root, tmp_path, "cavities_preprocess", settings)
        where = re.search(r"--dask '(\{.*?\})'", job)
        assert where is not None, job
        assert json.loads(where[1])["cluster"] == choice
        given = re.search(r"--settings '(.*?)' --threads", job, re.S)
        assert given is not None
        told[choice] = given[1]
    assert told["local"] == told["slurm"]


@pytest.mark.slow
def test_two_processes_in_the_chain(call: Run, root: Path, tmp_path: Path) -> None:
    """Not only planned: torchrun in the job, and weights at the end."""
    settings = {
        "simulate": {"n_samples": 48, "shard_size": 48},
        "preprocess": {"valid": 0.3, "test": 0.1},
        "train": {
            "epochs": 1,
            "batch_size": 4,
            "network": {"widths": [8, 8, 16], "decoder_widths": [8, 8]},
            "decoder": {"share": 0.3, "epochs": 1, "batch_size": 8},
            "alarm_images": 8,
            "merging_images": 4,
            "resources": {"gpu": 0, "processes": 2},
        },
    }
    options = ["--config", f"cavities={json.dumps(settings)}", "--", "cavities_train"]
    call("snakemake", "--cores", "2", "-s", root / "Snakefile", *options, cwd=tmp_path)
    assert (tmp_path / "results" / "cavities" / "model.safetensors").is_file()
    log = (tmp_path / "logs" / "cavities" / "train.log").read_text()
    assert log.count("epoch 1/1") == 2, "one line for each of the two networks"


def test_workers_get_more_memory_at_the_second_attempt(
    snakemake: Run, root: Path, tmp_path: Path
) -> None:
    """As the job itself does. What fails here is the reading of a shard, before any worker."""
    command = ["-s", root / "pipelines" / "tomography" / "Snakefile", "--until"]
    settings = "preprocess={dask: {cluster: slurm, workers: 2, mem_mb: 700}}"
    only = ["--notemp", "--retries", "1", "--config", "simulate={n_samples: 4}", settings]
    shard = tmp_path / "results" / "tomography" / "raw" / "0.h5"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"no shard")
    out = snakemake(*command, "preprocess", *only, cwd=tmp_path, rc=1).stdout
    given = [json.loads(text) for text in re.findall(r"\bdask=(\{.*?\})", out)]
    assert [one["mem_mb"] for one in given] == [700, 1400]
    assert given[0] | {"mem_mb": 1400} == given[1]
