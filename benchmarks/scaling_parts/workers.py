"""Throughput of the stages against workers: one, two, and jobs of a Slurm cluster."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .cluster import Cluster
from .measure import ROOT, Cost, environment, run
from .recipes import RECIPES, Point
from .rows import Row
from .stages import Bench, loop_rate

SHARDS = 4  # as many jobs or tasks in each measurement
#: Of Slurm, which is otherwise asked rarely for the state of short jobs.
IMPATIENT = (
    *("--seconds-between-status-checks", "1"),
    *("--slurm-init-seconds-before-status-checks", "1"),
)
SNAKEMAKE = (sys.executable, "-m", "snakemake")
SLURM = ("--workflow-profile", str(ROOT / "workflows" / "profiles" / "slurm"), *IMPATIENT)
TRAIN_MB, TRAIN_MIN = 4000, 30  # asked from Slurm for a training


class Workers:
    """Measurements of one pipeline by several workers.

    Parameters
    ----------
    bench : Bench
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.here = False  # all nodes of the cluster are this machine
        first = bench.recipe.trainings[0]
        self.point = Point(SHARDS * bench.recipe.shards, first.preprocess, first.train)
        self.settings = bench.settings(self.point, shard_size=bench.recipe.shards)

    def all(self, cluster: Cluster | str) -> None:
        """Measure all stages: 1 and 2 workers here, and on the cluster."""
        self.here = isinstance(cluster, Cluster) and cluster.here
        places: list[tuple[str, int]] = [("here", 1), ("here", 2), ("slurm", 2)]
        stages: dict[str, Callable[[str, int], Row]] = {
            "simulate": self.simulate,
            "preprocess": self.preprocess,
            "train": self.train,
        }
        for stage, measure in stages.items():
            for where, workers in places:
                self._one(stage, where, workers, measure, cluster)

    def _one(
        self,
        stage: str,
        where: str,
        workers: int,
        measure: Callable[[str, int], Row],
        cluster: Cluster | str,
    ) -> None:
        bench, nodes = self.bench, getattr(cluster, "name", "")
        key = bench.key("workers", stage, self.settings, where=where, workers=workers)
        head: Row = {
            "kind": "workers",
            "pipeline": bench.pipeline,
            "stage": stage,
            "where": where,
            "workers": workers,
            "place": nodes if where == "slurm" else "here",
            "n": self.settings.simulate.n_samples,
        }
        why = cluster if where == "slurm" and isinstance(cluster, str) else None
        if stage == "train" and workers > 1 and bench.rows.machine["gpu"]:
            why = "each process needs a GPU of its own"
        make = partial(measure, where, workers)
        bench.rows.attempt(key, head, make, why, may_fail=where == "slurm")

    def _say(self, stage: str, where: str, workers: int) -> None:
        n, place = self.settings.simulate.n_samples, "" if where == "here" else ", Slurm"
        self.bench.say(f"{self.bench.pipeline} {stage}: {n:,} by {workers} worker(s){place}")

    def _folder(self, where: str, workers: int) -> Path:
        name = self.bench.key("chain", "simulate", self.settings, where=where, workers=workers)
        return self.bench.folder / name.replace(" ", "-")

    def simulate(self, where: str, workers: int) -> Row:
        """Simulate four shards as jobs of the chain."""
        self._say("simulate", where, workers)
        return self._chain(where, workers).row()

    def _chain(self, where: str, workers: int) -> Cost:
        folder = self._folder(where, workers)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        given = folder / "settings.json"
        given.write_text(json.dumps(self.settings.model_dump(mode="json")))
        snakefile = ROOT / "pipelines" / self.bench.pipeline / "Snakefile"
        how = SLURM if where == "slurm" else ("--cores", str(workers))
        command = [*SNAKEMAKE, *how, "--snakefile", str(snakefile), "--configfile", str(given)]
        return run([*command, "--notemp", "--until", "simulate"], env=environment(), cwd=folder)

    def _shards(self) -> list[Path]:
        raw = self._folder("here", 1) / "results" / self.bench.pipeline / "raw"
        shards = [raw / f"{k}.h5" for k in range(SHARDS)]
        if not all(path.exists() for path in shards):  # measured in a run before this one
            self._chain("here", 1)
        return shards

    def preprocess(self, where: str, workers: int) -> Row:
        """Preprocess these shards with Dask, here or by worker jobs."""
        return self._preprocess(where, workers, self._folder(where, workers) / "data").row()

    def _preprocess(self, where: str, workers: int, out: Path) -> Cost:
        shards = self._shards()
        self._say("preprocess", where, workers)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        how = ["--threads", str(workers)]
        if where == "slurm":
            dask = {"cluster": "slurm", "workers": workers, "mem_mb": 2000, "runtime_min": 20}
            how = ["--threads", "1", "--dask", json.dumps(dask)]
        command = self.bench.command("preprocess", self.settings, *how, "-o", out, *shards)
        return run(command, env=self._meeting())

    def _data(self) -> Path:
        data = self._folder("here", 1) / "data"
        if not data.exists():
            self._preprocess("here", 1, data)
        return data

    def _meeting(self) -> dict[str, str]:
        """Environment in which workers meet: on one machine, on its own interface."""
        return environment(**({"DASK_JOBQUEUE__SLURM__INTERFACE": "lo"} if self.here else {}))

    def train(self, where: str, workers: int) -> Row:
        """Train on these data in several processes."""
        data = self._data()
        self._say("train", where, workers)
        out = self._folder(where, workers) / "model.safetensors"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        state = out.with_name(out.name + ".state")
        shutil.rmtree(state, ignore_errors=True)
        arguments = self.bench.command(
            "train", self.settings, "--threads", 1, "--data", data, "-o", out
        )
        env = environment()
        if where == "slurm":
            command = self._batch(arguments, workers, out.with_suffix(".log"))
        elif workers > 1:
            stem = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command = [*stem, f"--nproc-per-node={workers}", "--no-python", *arguments]
        else:
            command = arguments
        cost = run(command, env=env)
        return cost.row() | {"loop": loop_rate(state / self.bench.recipe.history)}

    def _batch(self, arguments: list[str], workers: int, log: Path) -> list[str]:
        """One process on each node, as the Slurm profile starts them."""
        srun = ["srun", f"--ntasks={workers}", "--kill-on-bad-exit=1", *arguments]
        script = f"export MASTER_ADDR=$(hostname); exec {shlex.join(srun)}"
        asked = [f"--nodes={workers}", f"--ntasks={workers}", f"--mem={TRAIN_MB}"]
        how = ["--wait", f"--time={TRAIN_MIN}", f"--output={log}", "--job-name=physml-scaling"]
        return ["sbatch", *how, *asked, "--wrap", script]


def throughput(row: Row) -> tuple[float, str]:
    """What was done in a second, and what that is: of a training, what its loop noted."""
    recipe = RECIPES[row["pipeline"]]
    if row["stage"] == "train" and recipe.learned:
        return float(row["loop"]), recipe.learned
    return row["n"] / float(row["wall_s"]), recipe.samples


def speed_up(one: Row, more: Row) -> float:
    """How much faster more workers were."""
    return throughput(more)[0] / throughput(one)[0]
