"""`physml cavities predict`: from an image to its catalogue, regions, maps and picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physml.cli.messages import adjust_logging
from physml.cli.options import Overwrite, Quiet, Threads, Verbose, limit_threads, need, need_place
from physml.exceptions import InputError

from .cli_survey import SURVEY_EPILOG, survey

if TYPE_CHECKING:
    from .results.result import CavityResult

app = typer.Typer(no_args_is_help=True)

EPILOG = """
Examples: an image; an extension of a file; with maps and point sources; a rate,
by the time in its header or by an exposure map; a surface brightness whose
header lacks the unit; an event list, binned; energies; the completeness of this
very image; a folder of images, or of a telescope's products (image, exposure and
background maps):

  physml cavities predict ngc5813.fits -o out

  physml cavities predict "a.fits\\[SCI]" -o out      (or a.fits --hdu SCI)

  physml cavities predict a.fits --exposure exp.fits --mask src.reg -o out

  physml cavities predict rate.fits --exposure exp.fits -o out

  physml cavities predict sb.fits --units count/s/arcmin2 --exposure exp.fits -o out

  physml cavities predict evt2.fits --band 500:7000 --bin 2 --mask src.reg -o out

  physml cavities predict a.fits --redshift 0.0065 --pressure p.ecsv -o out

  physml cavities predict a.fits --recovery -o out

  physml cavities predict images/ -o out

Two bands, with the gas at 4 keV:

  physml cavities predict soft.fits --hard hard.fits --temperature 4 -o out
"""


@app.callback()
def _commands() -> None:
    """Find X-ray cavities in images."""


@app.command(epilog=EPILOG)
def predict(
    ctx: typer.Context,
    image: Annotated[
        Path,
        typer.Argument(
            help="FITS image of counts, a rate or a flux (file.fits, or file.fits\\[EXTENSION]), "
            "an event list, or a folder of images and their maps."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the result, written as a whole.")
    ],
    exposure: Annotated[
        Path | None,
        typer.Option(help="Exposure map, on the image's pixels or with coordinates; in any unit."),
    ] = None,
    background: Annotated[
        Path | None, typer.Option(help="Map of the expected background counts per pixel.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Point sources to fill: regions of DS9 or CIAO, FITS regions, a FITS mask of 0 "
            "and 1, or text with 'x y radius' (1-based)."
        ),
    ] = None,
    units: Annotated[
        str,
        typer.Option(
            help="Meaning of the pixels: auto (by BUNIT and sum), counts, flux (times --exposure), "
            "or a unit such as count/s/deg2."
        ),
    ] = "auto",
    hdu: Annotated[
        str | None,
        typer.Option(help="Number or name of the image's extension; by default the first image."),
    ] = None,
    band: Annotated[
        str | None,
        typer.Option(help="Energies of an event list: 500:7000 (eV, the default) or 0.5:7keV."),
    ] = None,
    bin: Annotated[
        str | None,
        typer.Option(
            help="Side of a pixel in those of the event list; by default what suits the telescope."
        ),
    ] = None,
    chips: Annotated[
        str | None, typer.Option(help="Chips of an event list, such as 7 or 0:3; all by default.")
    ] = None,
    ra: Annotated[
        str | None,
        typer.Option(help="Right ascension of the cluster: degrees, or 14:01:02.1 (hours)."),
    ] = None,
    dec: Annotated[
        str | None, typer.Option(help="Declination of the cluster: degrees, or +02:52:43.")
    ] = None,
    redshift: Annotated[
        float | None, typer.Option(help="Redshift of the cluster; adds sizes in kpc (Planck 2018).")
    ] = None,
    pressure: Annotated[
        Path | None,
        typer.Option(
            help="ECSV profile with units: radius, and pressure or n_e and kT (errors as "
            "<column>_err). Adds 4pV, ages and powers; needs --redshift."
        ),
    ] = None,
    scales: Annotated[
        str, typer.Option(help="Binnings to search: auto, or numbers such as 1,2,4.")
    ] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            "--probability",
            help="Smallest probability of a listed cavity; by default 0.6 (0.5 beside a sure one), "
            "with the flag 'candidate' below the shipped threshold, which keeps the false-alarm "
            "rate.",
        ),
    ] = None,
    recovery: Annotated[
        bool,
        typer.Option(
            "--recovery",
            help="Measure completeness and false alarms on draws of this image's smooth model.",
        ),
    ] = False,
    recovery_draws: Annotated[
        int, typer.Option(help="Number of such draws, with and without cavities each.", min=1)
    ] = 40,
    refine: Annotated[
        bool,
        typer.Option(
            help="Measure the listed cavities by their likelihood as well: radius, ellipse, "
            "evidence against a lopsided halo."
        ),
    ] = True,
    hard: Annotated[
        Path | None,
        typer.Option(
            help="Image in a harder band on the same pixels: adds whether both agree with a "
            "cavity, an isobaric structure or a shock. Needs --temperature or --band-response."
        ),
    ] = None,
    hard_exposure: Annotated[Path | None, typer.Option(help="Exposure map of --hard.")] = None,
    hard_background: Annotated[Path | None, typer.Option(help="Background map of --hard.")] = None,
    hard_bands: Annotated[
        str | None,
        typer.Option(help="Limits of both bands in keV; by default 0.5-2,2-7."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="kT of the gas in keV, for the responses of both bands.")
    ] = None,
    band_response: Annotated[
        str | None,
        typer.Option(help="Responses d ln(emissivity) / d ln(kT) instead, such as 0.1,0.8."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights (safetensors); the shipped ones by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of filled pixels and of the draws.", min=0)] = 0,
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Find the cavities of an image, or of all images in a folder.

    Writes probability.fits, cavities.reg (DS9), cavities.ecsv, cavities.fits and overview.png.
    """
    from .data.events.selection import select_events
    from .data.inputs import check_arguments, is_several, list_images, split_extension

    adjust_logging(ctx, verbose, quiet)
    arguments: dict[str, Any] = {
        "exposure": exposure,
        "background": background,
        "mask": mask,
        "units": units,
        "hdu": hdu,
        "band": band,
        "bin": bin,
        "chips": chips,
        "ra": ra,
        "dec": dec,
        "redshift": redshift,
        "pressure": pressure,
        "scales": scales,
        "threshold": threshold,
        "seed": seed,
        "recovery": recovery_draws if recovery else 0,
        "refine": refine,
    }
    if hard is not None:
        arguments |= {
            "hard": hard,
            "hard_exposure": hard_exposure,
            "hard_background": hard_background,
            "hard_bands": hard_bands,
            "temperature": temperature,
            "band_response": band_response,
        }
    # All that can be refused without torch and astropy, which take seconds to import.
    need_place(output, overwrite)
    check_arguments(**arguments)
    select_events(band, bin, chips)
    need(split_extension(image)[0], None, "a FITS image, or a folder of images")
    for path, what in (
        (exposure, "an exposure map (FITS)"),
        (background, "a background map (FITS)"),
        (mask, "a region file"),
        (pressure, "a table of the pressure profile"),
        (hard, "a hard image (FITS)"),
        (weights, "weights in safetensors format"),
    ):
        if path is not None:
            need(split_extension(path)[0], False, what)
    several = is_several(image) and bool(list_images(image))  # refuses a folder without files
    if threads is not None:
        limit_threads(threads)

    from physml import provenance
    from physml.io.atomic import atomic_directory

    from .predict import CavityPredictor

    with provenance.run():
        predictor = CavityPredictor.load(weights)
        skipped: list[str] = []
        if several:
            arguments["on_skip"] = lambda _, why: skipped.append(why)
        found = predictor.predict(image, **arguments)
        arguments.pop("on_skip", None)
        settings = {**arguments, "image": image, "weights": weights}
        names = output_names([r.observation.path for r in found]) if several else []
        if several:
            with atomic_directory(output, overwrite=overwrite) as temporary:
                for name, result in zip(names, found, strict=True):
                    (temporary / name).mkdir()
                    result.write_into(temporary / name, settings)
        else:
            found.write(output, overwrite=overwrite, settings=settings)
    for name, result in zip(names, found, strict=True) if several else [("", found)]:
        show(result, output / name)
    if skipped:
        raise InputError(
            f"{len(found)} images were searched, {len(skipped)} files were skipped: "
            + "; ".join(skipped)
        )


def output_names(files: list[Path]) -> list[str]:
    """Folder of each image: its file name without endings, made unique."""
    names: list[str] = []
    for file in files:
        stem = file.name.split(".")[0] or "image"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names


def show(result: CavityResult, folder: Path) -> None:
    """Print the catalogue in short."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from .results.catalogue import short_table

    # In a pipe there is no terminal whose width would have to be kept.
    console = Console(width=None if sys.stdout.isatty() else 200)
    place = ("x", "y") if result.observation.sky.wcs is None else ("RA", "Dec")
    names = ["no.", *place, "distance", "azimuth", "radius", "S/N", "probability", "4pV [erg]"]
    names += ["completeness", "false alarms", "bands", "flags"]
    columns = short_table(result.catalogue, names)
    title = escape(f"{result.name}: {result.summary()}")
    view = Table(title=title, title_justify="left", box=None)
    for name in columns:
        text = name == "flags"
        view.add_column(escape(name), justify="left" if text else "right", no_wrap=not text)
    for cells in zip(*columns.values(), strict=True):
        view.add_row(*cells)
    console.print(view)
    if result.recovery is not None:
        low, high = result.recovery.false_alarm_interval
        console.print(
            f"False alarms: {result.recovery.false_alarm_rate:.0%} of images like this "
            f"({low:.0%} - {high:.0%})"
        )
    console.print(f"Written to {folder}", highlight=False, soft_wrap=True)


@app.command(
    epilog="""
Examples: weights that were trained by hand, with their calibration made anew; how
radii of network and likelihood are joined, for weights that stay as they are:

  physml cavities recalibrate weights.safetensors -o recalibrated.safetensors

  physml cavities recalibrate weights.safetensors --beside
"""
)
def recalibrate(
    ctx: typer.Context,
    weights: Annotated[Path, typer.Argument(help="Trained weights (safetensors).")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Weights to be written, with their card beside."),
    ] = None,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="Fit the refinement by likelihood alone and write it beside the weights, which "
            "stay as they are (weights.refine.json).",
        ),
    ] = False,
    images: Annotated[
        int,
        typer.Option(
            help="Number of simulated images wider than a field; a quarter as many fit the "
            "refinement.",
            min=1,
        ),
    ] = 1200,
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Fit anew how several binnings are merged and radii are joined, for trained weights.

    The last steps of a training, on their own: the networks stay as they are.
    """
    adjust_logging(ctx, verbose, quiet)
    need(weights, False, "weights in safetensors format")
    if beside == (output is not None):
        raise InputError("--output, --beside: expected one of the two")
    if output is not None:
        need_place(output, overwrite)
    if threads is not None:
        limit_threads(threads)

    from physml import provenance

    from .learning.recalibrate import recalibrate_weights, refine_beside

    with provenance.run():
        if output is None:
            output = refine_beside(weights, max(1, images // 4), overwrite=overwrite)
        else:
            recalibrate_weights(weights, output, images=images, overwrite=overwrite)
    typer.echo(f"Written to {output}")


app.command(epilog=SURVEY_EPILOG)(survey)
