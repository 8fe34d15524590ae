"""`physml background predict`: from frames to an event list, spectra, correction and picture."""

from __future__ import annotations

import sys
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physml.cli.messages import adjust_logging
from physml.cli.options import Overwrite, Quiet, Threads, Verbose, limit_threads, need, need_place

if TYPE_CHECKING:
    from rich.table import Table

    from .results.result import BackgroundResult

app = typer.Typer(no_args_is_help=True)

EPILOG = """
Examples: frames; raw ADU; another camera; an existing list of events, by
energy and grade alone:

  physml background predict frames.h5 -o out --retention 0.98

  physml background predict cube.fits --gain 0.0037 --offset dark.fits -o out

  physml background predict frames.h5 --detector camera.yaml -o out

  physml background predict "run_*.fits.gz" -o out

  physml background predict acis_evt2.fits -o out
"""


@app.callback()
def _commands() -> None:
    """Tell X-rays from charged particles in detector frames."""


@app.command(epilog=EPILOG)
def predict(
    ctx: typer.Context,
    frames: Annotated[
        list[Path],
        typer.Argument(
            help="Frames in keV: HDF5 ('frames' of axes (frame, y, x), or the table 'pixels' with "
            "frame, y, x, energy), FITS (a cube, a frame in each extension, a table of pixels) or "
            "texts of a Timepix; several files, or a pattern in quotes, are one exposure. Or a "
            "FITS event list."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output folder, written as a whole.")
    ],
    retention: Annotated[
        float, typer.Option(help="Share of X-rays that is to stay, at each energy.")
    ] = 0.98,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Detector: wfi (default), wfi_fast, axis, acis, acis_front, timepix, or a YAML "
            "file of one."
        ),
    ] = None,
    gain: Annotated[
        str | None, typer.Option(help="Gain in keV per raw unit: a number, or an image of gains.")
    ] = None,
    offset: Annotated[
        str | None, typer.Option(help="Raw value of no signal: a number, or an image of offsets.")
    ] = None,
    bad: Annotated[
        Path | None, typer.Option(help="Image that is not 0 at pixels to ignore.")
    ] = None,
    frame_time: Annotated[
        float | None, typer.Option(help="Time of a frame, s; by default the file's or detector's.")
    ] = None,
    standoff: Annotated[
        float | None,
        typer.Option(
            help="Distance from the silicon to the camera's housing, mm; by default measured on "
            "the events."
        ),
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(help="Split threshold, keV; by default the file's or detector's."),
    ] = None,
    event: Annotated[
        float | None, typer.Option(help="Event threshold, keV; by default the detector's.")
    ] = None,
    channel: Annotated[
        float | None,
        typer.Option(help="Width of a PI channel of an event list without energies, keV."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set of an HDF5 file with the frames, such as entry/data/data."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of a table of pixels: frame=F,x=X,y=Y,signal=S, or some of them."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Date of TIME 0 (UTC), such as 2031-03-01T12:00:00.")
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            help="Cut of an event list: vfaint (charge in the outer pixels of 5 x 5 islands of "
            "ACIS) or grades (1, 5, 7); may be given twice."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights (safetensors); the shipped ones by default.")
    ] = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Find the events of frames, and the probability that a particle left each of them.

    Writes events.fits (all events, the rejected ones flagged, with WEIGHT 0), spectrum_kept.pha,
    spectrum_rejected.pha, effective_area_correction.fits (what the cut leaves of the X-rays),
    background.fits, overview.png and summary.json. A file of any size is read block by block.
    """
    adjust_logging(ctx, verbose, quiet)
    # All that can be refused without torch and astropy, which take seconds to import.
    need_place(output, overwrite)
    for path, what in (
        *(
            (f, "a file of frames or events (HDF5 or FITS)")
            for f in frames
            if not has_magic(str(f))
        ),
        (bad, "an image of bad pixels (FITS)"),
        (weights, "weights in safetensors format"),
    ):
        if path is not None:
            need(path, False, what)
    from physml import provenance
    from physml.io.atomic import atomic_directory

    arguments: dict[str, Any] = {
        "retention": retention,
        "detector": detector,
        "gain": gain,
        "offset": offset,
        "bad": bad,
        "frame_time": frame_time,
        "standoff": standoff,
        "split": split,
        "event": event,
        "channel": channel,
        "start": start,
        "dataset": dataset,
        "columns": columns,
        "cut": tuple(cut or ()),
    }
    with provenance.run():
        from .predict import BackgroundPredictor

        if threads is not None:
            limit_threads(threads)
        predictor = BackgroundPredictor.load(weights)
        given = frames[0] if len(frames) == 1 else frames
        settings = {**_names(arguments), "frames": given, "weights": weights}
        # Inside: very many events go to a nameless file beside the result, not to a small /tmp.
        with atomic_directory(output, overwrite=overwrite) as temporary:
            result = predictor.predict(given, **arguments, scratch=temporary)
            result.write_into(temporary, settings)
    show(result, output)


def _names(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments for the record: of paths given as text only the name is kept."""
    return {
        k: Path(v).name if isinstance(v, str) and Path(v).is_file() else v
        for k, v in arguments.items()
    }


def account_table(result: BackgroundResult) -> Table:
    """Table for people: what was read, what was assumed, what was left out."""
    from rich.table import Table
    from rich.text import Text

    from .results.summary import account_of

    view = Table(box=None)
    for name in ("input", "", ""):
        view.add_column(name, no_wrap=name != "", overflow="fold")
    last = ""
    for part, what, text in account_of(result).table():
        view.add_row(part if part != last else "", Text(what), Text(text))
        last = part
    return view


def show(result: BackgroundResult, folder: Path) -> None:
    """Print the result in short."""
    from rich.console import Console
    from rich.table import Table

    from .results.summary import summarise

    # In a pipe there is no terminal whose width would have to be kept.
    console = Console(width=None if sys.stdout.isatty() else 200)
    summary = summarise(result)
    console.print(f"{result.name}: {result.summary()}", highlight=False, soft_wrap=True)
    console.print(account_table(result))
    view = Table(box=None)
    names = ["band [keV]", "kept", "rejected", "mean P(background)"]
    # Only where the promise holds does the share that was measured mean anything.
    for name in [*names, "X-rays kept"] if result.promised else names:
        view.add_column(name, justify="right", no_wrap=True)
    measured = {(b["low_keV"], b["high_keV"]): b for b in summary["promise"]["bands"]}
    for band in summary["bands"]:
        key = band["low_keV"], band["high_keV"]
        p = band["mean_p_bkg"]
        kept = measured.get(key)
        cells = [
            f"{key[0]:g} - {key[1]:g}",
            str(band["kept"]),
            str(band["rejected"]),
            "" if p is None else f"{p:.3f}",
        ]
        if result.promised:
            cells.append("" if kept is None else f"{kept['measured']:.2%} +- {kept['error']:.2%}")
        view.add_row(*cells)
    console.print(view)
    if not result.promised and result.with_frames:
        console.print("X-rays kept: not promised for these data", highlight=False, soft_wrap=True)
    for text in result.untrained:
        console.print(f"Not trained on: {text}", highlight=False, soft_wrap=True)
    console.print(f"Written to {folder}", highlight=False, soft_wrap=True)
