# What every stage needs: the checked settings, and how a stage's share of them reaches the
# command line. Kept out of the rule files so that those read like recipes.
import json
import os
import sys

from physml.config import load_settings, upstream
from physml.exceptions import PhysmlError
from physml.pipeline import STAGES, get_pipeline
from physml.workflow import orphans, run_lock
from snakemake.exceptions import WorkflowError

# Jobs find the `physml` of the environment that Snakemake itself runs in, activated or not.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()])
)

# Jobs end with the Snakemake that started them.
orphans.adopt()

# A lock that a killed Snakemake left is taken away before this one looks for locks.
if workflow.is_main_process:
    run_lock.enter()


def checked(config):
    """Return pipeline and settings of this chain, or stop with one readable message."""
    # `pathvars` belongs to Snakemake and `protect` to the chain; all else is the pipeline's.
    given = {
        k: v for k, v in config["settings"].items() if k not in ("pathvars", "protect")
    }
    try:
        pipeline = get_pipeline(config["pipeline"])
        return pipeline, load_settings(pipeline.settings_model(), given)
    except PhysmlError as error:
        raise WorkflowError(f"pipeline {config['pipeline']}: {error}") from error


def settings_of(stage):
    """Settings of a stage and of all before it, as JSON.

    A function, because Snakemake would look for wildcards in a plain string of braces. Later
    stages are left out, so that changing one of them does not run this one again.
    """
    text = json.dumps(upstream(settings, stage), sort_keys=True)
    return lambda wildcards: text


def versions_of(stage):
    """Versions of the code of a stage and of all before it.

    Snakemake does not see that the program behind a command changed. A pipeline raises the
    version of a stage when its results change. The versions before it are needed as well: raw
    shards are temporary, and what is gone cannot look outdated.
    """
    until = STAGES[: STAGES.index(stage) + 1]
    text = " ".join(f"{name}={pipeline.versions.get(name, 1)}" for name in until)
    return lambda wildcards: text


def growing(amount):
    """Ask for more at each attempt: a job killed for want of it gets a second chance."""
    return lambda wildcards, attempt: attempt * amount


def workers_of(placed):
    """Where tasks are done; workers that died for want of memory get more, as jobs do."""
    return lambda wildcards, attempt: placed.model_copy(
        update={"mem_mb": attempt * placed.mem_mb}
    ).model_dump_json()


def launched(resources):
    """How the processes of a training are started, and what else the job then asks for.

    One process is a command as any other. In one node torchrun starts them, and ends all when one
    dies. On several nodes Slurm does: `mpi` tells its plugin to leave that to the command here.
    """
    processes, nodes = (getattr(resources, k, 1) for k in ("shared_by", "nodes"))
    if processes == 1:
        return {"launcher": ""}
    if nodes == 1:
        return {
            "launcher": f"torchrun --standalone --nproc-per-node={processes} --no-python"
        }
    # The first process runs where the job begins; its host name is its address.
    srun = (
        "env MASTER_ADDR=${MASTER_ADDR:-$(hostname)}"
        f" srun --nodes={nodes} --ntasks={processes} --cpus-per-task={resources.threads}"
        " --kill-on-bad-exit=1"
    )
    asked = {"mpi": "srun", "nodes": nodes, "tasks": processes}
    if resources.gpu:
        # Each process sees all GPUs of its node and takes the one of its number.
        srun += " --gpu-bind=none"
        asked["tasks_per_gpu"] = 1
    return {"launcher": srun, "cpus_per_task": resources.threads} | asked


pipeline, settings = checked(config)

# Trained weights are hours of work. `--config protect=true` writes them read-only; then changing
# a setting before them stops with an error instead of training again. Off by default, because
# re-running what follows a changed setting is what the chain is for.
guarded = protected if config["settings"].get("protect", False) else str
