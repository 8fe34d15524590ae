"""What Snakemake and Slurm add to a job, on the toy chain of the tests, whose jobs do nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .cluster import Cluster
from .measure import PHYSML, ROOT, environment, run
from .rows import Row, Rows, key
from .workers import SLURM, SNAKEMAKE

Say = Callable[[str], None]

TOY = ROOT / "tests" / "workflow" / "toy"
#: Numbers of jobs: the line through them has Snakemake's own start in it, and a job's slope.
JOBS = (4, 24)
ALONE = 5  # times that the command of a job is run without Snakemake

#: Imported by every Python of the chain: notes at its end how much processor time it has used, and
#: whether it is the Snakemake that gives out the jobs. Those of Slurm are nobody's children, and
#: only accounting, which may be absent, adds them up.
NOTE = """
import atexit, os, resource, sys, uuid
from pathlib import Path

def note():
    used = resource.getrusage(resource.RUSAGE_SELF)
    first = "snakemake" in sys.orig_argv and "--target-jobs" not in sys.orig_argv
    folder = Path(os.environ["PHYSML_SCALING_NOTES"])
    name = ("first-" if first else "other-") + uuid.uuid4().hex
    (folder / name).write_text(str(used.ru_utime + used.ru_stime))

atexit.register(note)
"""


def measure(rows: Rows, folder: Path, cluster: Cluster | str, say: Say = print) -> None:
    """Run the toy chain with few and with many jobs, here and on the cluster."""
    place = folder / "jobs"
    notes = place / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)
    (notes / "sitecustomize.py").write_text(NOTE)
    rows.get(key("alone", "toy", "simulate", {}), lambda: _alone(place, say))
    for where in ("here", "slurm"):
        for jobs in JOBS:
            name = key("jobs", "toy", "simulate", {"where": where, "jobs": jobs})
            head: Row = {"kind": "jobs", "pipeline": "toy", "where": where, "jobs": jobs}
            no_cluster = cluster if where == "slurm" and isinstance(cluster, str) else None
            if where == "here":
                head["slots"] = 1
            elif isinstance(cluster, Cluster):
                head["slots"] = cluster.cpus
            chain = partial(_chain, place, notes, where, jobs, say)
            rows.attempt(name, head, chain, no_cluster, may_fail=where == "slurm")


def _environment(notes: Path) -> dict[str, str]:
    return environment(
        PYTHONPATH=f"{notes}:{TOY / 'package'}", PHYSML_SCALING_NOTES=str(notes / "found")
    )


def _alone(place: Path, say: Say) -> Row:
    say("Snakemake: the command of a job alone")
    env = environment(PYTHONPATH=str(TOY / "package"))
    out = place / "alone.h5"
    command = [*PHYSML, "toy", "simulate", "--overwrite", "-o", str(out)]
    costs = [run(command, env=env).row() for _ in range(ALONE)]
    mean = {name: sum(c[name] for c in costs) / ALONE for name in ("wall_s", "cpu_s")}
    return {"kind": "alone", "pipeline": "toy", **mean}


def _chain(place: Path, notes: Path, where: str, jobs: int, say: Say) -> Row:
    say(f"Snakemake: a chain of {jobs} jobs{'' if where == 'here' else ', Slurm'}")
    folder = place / f"{where}-{jobs}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = notes / "found"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir()
    how = SLURM if where == "slurm" else ("--cores", "1")
    # More memory than the toy asks for: under Slurm Snakemake itself is in the job.
    simulate = f"simulate={{n_samples: {jobs}, shard_size: 1, resources: {{mem_mb: 800}}}}"
    snakefile = TOY / "pipelines" / "toy" / "Snakefile"
    command = [*SNAKEMAKE, *how, "--snakefile", str(snakefile), "--notemp", "--until", "simulate"]
    cost = run([*command, "--config", simulate], env=_environment(notes), cwd=folder)
    return {
        "wall_s": round(cost.wall_s, 3),
        # Of the Snakemake that gives out the jobs; of all processes.
        "main_s": round(_noted(found, "first-*"), 3),
        "cpu_s": round(_noted(found, "*"), 3),
    }


def _noted(found: Path, names: str) -> float:
    return sum(float(path.read_text()) for path in found.glob(names))


def overhead(rows: Rows, where: str) -> Row | None:
    """What is added to a job: processor seconds, seconds of Snakemake itself, wall seconds.

    None where it was not measured.
    """
    found = sorted(rows.of("jobs", where=where), key=lambda row: row["jobs"])
    alone = rows.of("alone")
    if len(found) < 2 or not alone:
        return None
    few, many = found[0], found[-1]

    def slope(name: str) -> float:
        return (many[name] - few[name]) / (many["jobs"] - few["jobs"])

    # Here a job is its command and nothing else; under Slurm it starts Snakemake as well.
    own = slope("main_s")
    waited = alone[0]["wall_s"] if where == "here" else 0.0
    return {
        "cpu_s": own if where == "here" else max(own, slope("cpu_s") - alone[0]["cpu_s"]),
        "main_s": own,
        # What is added may be less than the scatter of what it is added to.
        "wall_s": max(0.0, slope("wall_s") - waited),
        "start_s": few["wall_s"] - few["jobs"] * slope("wall_s"),
        "slots": many["slots"],
    }
