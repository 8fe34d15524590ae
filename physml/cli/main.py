"""Command line ``physml``: data to stdout, messages to stderr, exit codes as in `exceptions`.

Nothing heavy is imported before a command needs it, so that ``--help`` is immediate.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from physml import __version__
from physml.exceptions import InputError, PhysmlError
from physml.pipeline import get_pipeline, pipeline_names
from physml.workflow.orphans import end_with_parent

from .messages import message, note_command, report_error, setup_logging
from .options import ConfigFiles, Quiet, SettingsJson, Verbose
from .stage_commands import pipeline_group, read_settings

log = logging.getLogger(__name__)

EXAMPLES = """
Examples:

  physml data fetch ngc5813                       get an example image

  physml cavities predict image.fits -o result    find cavities in an image

  physml cavities simulate --shard 0 -o 0.h5      simulate images

  physml config cavities > config.yaml            all settings, explained

  physml info result/probability.fits             what made this file

Exit codes: 0 done, 1 failed, 2 bad input or setting, 3 the data contradict the
model, 75 stopped early (run again), 130 interrupted.
"""


class RootGroup(typer.core.TyperGroup):
    """Our own commands and one group for each installed pipeline."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Pipelines first: they are what one comes for."""
        return [*pipeline_names(), *self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Command or pipeline by name."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in pipeline_names():
            return None
        try:
            return pipeline_group(cmd_name)
        except PhysmlError as error:
            # One broken package must not take the help of the others with it.
            return _broken(cmd_name, error)


def _broken(name: str, error: PhysmlError) -> Any:
    app = typer.Typer(add_completion=False)

    @app.command(
        name,
        help="(cannot be imported)",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def stub() -> None:
        raise error

    return typer.main.get_group(app).commands[name]


app = typer.Typer(
    cls=RootGroup,
    name="physml",
    help="Machine learning on physics data: simulate, train, measure, apply.",
    epilog=EXAMPLES,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    help="Example observations and other external files.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(data_app, name="data")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"physml {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None:
    """Machine learning on physics data: simulate, train, measure, apply."""
    ctx.obj = {"verbose": verbose, "quiet": quiet}
    setup_logging(verbose, quiet)


@app.command()
def info(
    files: Annotated[
        list[Path], typer.Argument(help="HDF5, FITS, safetensors, ECSV, JSON or PNG.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the content with the checksums in the file.")
    ] = False,
) -> None:
    """Print what is in a file, and the record of the run that made it."""
    from physml.io.describe import describe
    from physml.io.integrity import verify

    damaged = []
    for number, path in enumerate(files):
        if check:
            try:
                checked = "as it was written" if verify(path) else "no checksums in it"
            except InputError as error:  # the others are wanted as well
                damaged.append(str(error))
                continue
        described = describe(path)
        if check:
            described["checked"] = checked
        if as_json:
            typer.echo(json.dumps(described, indent=2))
            continue
        import yaml

        typer.echo("---" if number else "", nl=bool(number))
        typer.echo(
            yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=100), nl=False
        )
    if damaged:
        raise InputError("\n".join(damaged))


@app.command("config")
def show_config(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline.")],
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema instead.")] = False,
    settings: SettingsJson = None,
    config: ConfigFiles = None,
) -> None:
    """Print all settings of a pipeline as commented YAML; with --config, merged and checked."""
    from physml.config import dump_schema, dump_yaml

    chosen = get_pipeline(pipeline)
    if schema:
        typer.echo(dump_schema(chosen.settings_model()), nl=False)
    else:
        typer.echo(dump_yaml(read_settings(chosen, config, settings)), nl=False)


@data_app.command("list")
def list_data(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the external files and where they are on this machine."""
    from dataclasses import asdict

    from physml.datasets import find_data, manifest

    entries = manifest()
    paths = {name: find_data(name) for name in entries}
    if as_json:
        rows = [
            {**asdict(entry), "path": str(paths[name]) if paths[name] else None}
            for name, entry in entries.items()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "MB", "licence", "citation", "path", box=None)
    for name, entry in entries.items():
        table.add_row(
            name,
            f"{entry.bytes / 1e6:.1f}",
            entry.licence,
            entry.citation,
            str(paths[name] or "not here"),
        )
    # In a pipe nothing must be cut to the width of a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


@data_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `physml data list`.")],
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="A mirror that serves the files.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; by default the user's cache.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Download even if it is here.")] = False,
) -> None:
    """Download external files, check them, and print their paths."""
    from physml.datasets import entry, fetch_data

    for name in names:
        entry(name)  # a misspelt name stops everything before the first download
    for name in names:
        typer.echo(str(fetch_data(name, base_url=base_url, folder=output, force=force)))


class _Terminated(SystemExit):
    """SIGTERM as an exception, so that temporary files are removed on the way out."""


def _on_sigterm(*_: Any) -> None:
    raise _Terminated(128 + signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    tracebacks = _wants_tracebacks(given)
    note_command(None)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)
        end_with_parent()
    try:
        command = typer.main.get_command(app)
        code = command.main(given, prog_name="physml", standalone_mode=False)
        if code == 130:  # newer typer turns the interrupt into an exit code, without a word
            message("interrupted")
        return code if isinstance(code, int) else 0
    except _Terminated as error:
        message("terminated")
        return int(error.code or 1)
    except typer.Abort:
        return report_error(KeyboardInterrupt(), tracebacks)
    except (Exception, KeyboardInterrupt) as error:
        # Usage errors of typer (or click) know how to show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        return report_error(error, tracebacks)


def _wants_tracebacks(arguments: Sequence[str]) -> bool:
    """Whether -vv was given; looked up here since an error may come before it is parsed."""
    short = [a[1:] for a in arguments if a.startswith("-v") and set(a[1:]) == {"v"}]
    return len("".join(short)) + list(arguments).count("--verbose") >= 2


if __name__ == "__main__":
    sys.exit(main())
