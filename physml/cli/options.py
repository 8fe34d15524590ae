"""Options that commands share, and checks of arguments that are made before any work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from physml.exceptions import InputError
from physml.io.files import require_file

Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="More messages; -vv: tracebacks."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Place of the result.")]
SettingsJson = Annotated[
    str | None,
    typer.Option("--settings", metavar="JSON", help="Settings as JSON; wins over files."),
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="YAML or JSON file of settings; repeat: later ones win."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; by default the settings'.")
]
Memory = Annotated[
    int | None, typer.Option("--mem-mb", min=1, help="Memory, MB; by default the settings'.")
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="WHERE",
        help="local, slurm, or preprocess.dask as JSON; by default the settings'.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]
Shard = Annotated[int, typer.Option("--shard", min=0, help="Number of the shard.")]
Raw = Annotated[list[Path], typer.Argument(help="Shards that simulate made.")]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="MINUTES",
        help="Stop in time, with exit code 75; also '2 h'. Run again to carry on.",
    ),
]
Evaluation = Annotated[Path, typer.Option("--evaluation", help="Folder that evaluate made.")]
Data = Annotated[Path, typer.Option("--data", help="Folder that preprocess made.")]
Weights = Annotated[Path, typer.Option("--weights", help="Weights (safetensors).")]


def need(path: Path, folder: bool | None, what: str) -> None:
    """Refuse a path that is not there, before anything heavy is imported.

    Parameters
    ----------
    path : Path
    folder : bool or None
        Whether it has to be a folder or a file; None where either will do.
    what : str
        What is expected, for the message.

    Raises
    ------
    InputError
    """
    if folder and not path.is_dir():
        raise InputError.expected(path, what, "a file" if path.exists() else "no such folder")
    if not folder and not (folder is None and path.is_dir()):
        require_file(path, what)


def need_place(output: Path, overwrite: bool) -> None:
    """Refuse an output that may not be written, before any work.

    Raises
    ------
    OutputError
        It exists and is not to be replaced, or is no folder that physml made.
    """
    from physml.io.atomic import refuse_existing, refuse_foreign

    (refuse_foreign if overwrite else refuse_existing)(output)


def limit_threads(threads: int) -> None:
    """Set the threads of the numerical libraries, loaded already or later."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
