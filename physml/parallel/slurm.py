"""Dask workers as Slurm jobs, through dask-jobqueue."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physml.exceptions import SettingsError
from physml.progress import quiet

if TYPE_CHECKING:
    from distributed import Client

    from physml.parallel.settings import DaskSettings

log = logging.getLogger(__name__)

#: A worker leaves this long before Slurm would kill it, and hands its results on first.
LEAVE_S = 90
#: A worker that has lost its scheduler for so long ends: the job that it worked for has died.
DEATH_TIMEOUT_S = 300
#: What Slurm's job of the scheduler knows, and its workers inherit unless Dask's configuration
#: (``jobqueue.slurm``) says otherwise: partition and account are the profile's business.
INHERITED = {"queue": "SLURM_JOB_PARTITION", "account": "SLURM_JOB_ACCOUNT"}
#: Nothing that a worker serves over HTTP is needed; its numerical libraries share the node.
PROLOGUE = (
    "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",
)


@contextlib.contextmanager
def slurm_client(settings: DaskSettings, folder: Path) -> Iterator[Client]:
    """Start a scheduler here and workers as Slurm jobs; stop all of them at the end of the block.

    There are as many workers as there is work for, up to a limit. One that dies is replaced, and
    its tasks are done again.

    Parameters
    ----------
    settings : DaskSettings
        How many workers at most, and what each asks for.
    folder : Path
        On a file system that all nodes share: keys and the workers' logs lie there meanwhile.

    Raises
    ------
    SettingsError
        There is no Slurm or no dask-jobqueue here, or the folder cannot be named in a job script.

    Notes
    -----
    Anybody who reaches a Dask scheduler can run code as its user, and this one listens on the
    cluster's network. It therefore speaks TLS only, with keys made for this run, which lie in a
    folder that only the user can read.
    """
    SLURMCluster, Security = _libraries()
    _refuse_path(folder)
    import dask
    from distributed import Client

    options = {
        # A task that has outlived so many workers is what kills them.
        "distributed.scheduler.allowed-failures": 3,
        "distributed.comm.timeouts.connect": "60s",
        "distributed.scheduler.http.routes": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".workers-", dir=folder) as shared,
        dask.config.set(options),
        quiet("distributed"),
        SLURMCluster(
            **_of_the_job(),
            cores=1,
            processes=1,
            memory=f"{settings.mem_mb}MB",
            walltime=f"{settings.runtime_min // 60:02d}:{settings.runtime_min % 60:02d}:00",
            job_name="physml-worker",
            job_script_prologue=[*PROLOGUE, *_configured("job-script-prologue", [])],
            worker_extra_args=_worker_arguments(settings.runtime_min),
            death_timeout=DEATH_TIMEOUT_S,
            log_directory=shared,
            security=_keys(Security, Path(shared)),
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,
        ) as cluster,
    ):
        # Two seconds of work for each worker: fewer would not be worth a job's start.
        cluster.adapt(minimum=1, maximum=settings.workers, interval="1s", target_duration="2s")
        log.info(
            "up to %d workers as Slurm jobs of %d MB; waiting for the first",
            *(settings.workers, settings.mem_mb),
        )
        with Client(cluster, set_as_default=False) as started:
            yield started


def _libraries() -> tuple[Any, Any]:
    try:
        from dask_jobqueue import SLURMCluster
        from distributed.security import Security
    except ImportError as error:
        raise SettingsError(
            f"preprocess.dask: slurm needs {error.name}: pip install 'physml[slurm]'"
        ) from error
    if shutil.which("sbatch") is None:
        raise SettingsError(
            "preprocess.dask: slurm needs a machine from which jobs can be submitted (no sbatch on "
            "PATH); expected local here"
        )
    return SLURMCluster, Security


def _keys(Security: Any, folder: Path) -> Any:
    """Make a key for this run and put it where the workers find it.

    dask-jobqueue would do so as well, but deletes its files only after their folder is gone.
    """
    made = Security.temporary().get_tls_config_for_role("worker")
    paths = {}
    for name in ("ca_file", "cert", "key"):
        paths[name] = str(folder / f"{name}.pem")
        with open(os.open(paths[name], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(made[name])
    roles = {
        f"tls_{role}_{name}": paths[name]
        for role in ("scheduler", "worker", "client")
        for name in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=paths["ca_file"], **roles)


def _refuse_path(folder: Path) -> None:
    """Refuse what dask-jobqueue would write unquoted into a shell script."""
    if not re.fullmatch(r"[\w@%+=:,./-]+", str(folder)):
        raise SettingsError(
            f"preprocess.dask: slurm needs an output path of letters, digits and ._/-+=@%:, only, "
            f"found {str(folder)!r}"
        )


def _configured(name: str, otherwise: Any = None) -> Any:
    import dask

    found = dask.config.get(f"jobqueue.slurm.{name}", None)
    return otherwise if found is None else found


def _of_the_job() -> dict[str, str]:
    """Partition and account of the job that this process runs in, where nothing else is said."""
    return {
        name: os.environ[variable]
        for name, variable in INHERITED.items()
        if _configured(name) is None and os.environ.get(variable)
    }


def _worker_arguments(runtime_min: int) -> list[str]:
    arguments = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    lifetime = 60 * runtime_min - LEAVE_S
    if lifetime > LEAVE_S:
        arguments += ["--lifetime", f"{lifetime}s"]
    return [*arguments, *_configured("worker-extra-args", [])]
