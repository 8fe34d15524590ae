"""Messages of the command line: the log, and errors as one line each with their exit code.

The library's errors speak Python: an argument is called ``pressure=``. Here it becomes the option
that the user gave, ``--pressure``.
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
import sys
import traceback
from typing import Any

import typer

from physml.exceptions import PhysmlError

log = logging.getLogger(__name__)

#: Command that runs, once its arguments are read; errors are told in terms of its options.
_command: contextvars.ContextVar[Any] = contextvars.ContextVar("command", default=None)


def setup_logging(verbose: int = 0, quiet: bool = False) -> None:
    """Send messages to stderr: a line with time and level each, coloured on a terminal.

    Parameters
    ----------
    verbose : int
        0: progress; 1: details of physml; 2: details of everything.
    quiet : bool
        Errors only; wins over `verbose`.
    """
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    if rank() and not verbose:  # the first process of a shared training speaks for all
        level = logging.WARNING
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=verbose > 1)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="%X"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
        )
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.name == "physml"]:
        root.removeHandler(old)
    handler.name = "physml"
    root.addHandler(handler)
    others = logging.DEBUG if verbose > 1 and not quiet else logging.WARNING
    root.setLevel(logging.ERROR if quiet else others)
    logging.getLogger("physml").setLevel(level)
    logging.captureWarnings(True)


def rank() -> int:
    """Number of this process where torchrun or srun started several; 0 otherwise."""
    if int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1) == 1:
        return 0
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def adjust_logging(ctx: typer.Context, verbose: int, quiet: bool) -> None:
    """Let ``-v`` and ``-q`` behind a command add to those before it, and note which one runs."""
    note_command(ctx.command)
    before = ctx.find_root().obj or {}
    total = verbose + int(before.get("verbose", 0))
    ctx.find_root().obj = {"verbose": total, "quiet": quiet or before.get("quiet", False)}
    if verbose or quiet:
        setup_logging(**ctx.find_root().obj)


def note_command(command: Any) -> None:
    """Remember which command runs; None before its arguments are read."""
    _command.set(command)


def in_options(text: str, command: Any) -> str:
    """Text in which a library's arguments are the options of a command.

    Parameters
    ----------
    text : str
        With arguments as ``name=`` or ``name='value'``.
    command : click command or None
    """
    names = {}
    for parameter in getattr(command, "params", []):
        long = [option for option in parameter.opts if option.startswith("--")]
        is_argument = parameter.param_type_name == "argument"
        names[parameter.name] = parameter.name.upper() if is_argument else (long or [""])[0]

    def option(found: re.Match[str]) -> str:
        name = names.get(found["name"])
        if not name:
            return found[0]
        return f"{name} {found['value']}" if found["value"] else name

    return re.sub(r"(?<![\w.$-])(?P<name>[a-z]\w*)=(?:'(?P<value>[^']*)'|(?![\w=]))", option, text)


def message(text: str) -> None:
    """One message on stderr; rich colours the first word on a terminal."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text("Error: ", style="bold red") + Text(text))
    else:
        sys.stderr.write(f"Error: {text}\n")


def report_error(error: BaseException, tracebacks: bool) -> int:
    """Print an error as one message and return the exit code it stands for."""
    if tracebacks:
        traceback.print_exception(error)
    if isinstance(error, PhysmlError):
        if error.exit_code == 75:
            log.warning("%s", error)
        else:
            message(in_options(str(error), _command.get()))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        message("interrupted")
        return 130
    if isinstance(error, MemoryError):
        message("out of memory; ask for more, or for smaller shards or batches")
        return 1
    if isinstance(error, OSError) and error.filename:
        message(f"{error.filename}: {(error.strerror or str(error)).lower()}")
        return 1
    detail = " ".join(str(error).split())
    hint = "" if tracebacks else " (-vv shows the traceback)"
    message(f"{type(error).__name__}: {detail}{hint}")
    return 1
