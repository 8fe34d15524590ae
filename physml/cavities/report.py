"""The shipped weights on a real image, and one page that shows all results.

The example is NGC 5813 (637 ks of Chandra) where its file is at hand or can be downloaded. With
neither, a simulated observation is written as FITS and searched in its place; page and summary
say so.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physml.evaluation.page import embedded, whole_page
from physml.exceptions import InputError, PhysmlError

if TYPE_CHECKING:
    from .results.result import CavityResult
    from .settings import CavitiesSettings

log = logging.getLogger(__name__)

SIMULATED = "example.fits"
SHOWN = ("completeness", "alarms", "reliability", "sizes", "pulls", "examples")
SUMMARY_COLUMNS = (
    *("id", "ra", "dec", "x", "y", "distance", "azimuth", "radius", "radius_err"),
    *("decrement", "snr", "probability", "distance_kpc", "radius_kpc", "flags"),
)
PAGE_COLUMNS = (
    *("id", "ra", "dec", "distance", "azimuth", "radius"),
    *("decrement", "snr", "probability", "flags"),
)
REDSHIFT: Mapping[str, float] = {"ngc5813": 0.0065, "ngc4649": 0.0037, "abell1835": 0.2532}


@dataclass(frozen=True)
class Example:
    """The observation that is searched.

    Attributes
    ----------
    path : Path
        FITS image.
    name : str
    simulated : bool
        True when no real image could be had.
    note : str
        Where it comes from, for the page.
    redshift : float or None
    """

    path: Path
    name: str
    simulated: bool
    note: str
    redshift: float | None = None


def find_example(name: str, folder: Path, seed: int) -> Example:
    """Look for the example on this machine, then download it, then simulate one.

    Parameters
    ----------
    name : str
        Name in ``data/manifest.csv``.
    folder : Path
        Where a simulated observation is written.
    seed : int
        For that simulation.

    Raises
    ------
    InputError
        No such name in the manifest.
    """
    from physml.datasets import entry, fetch_data, find_data

    about = entry(name)
    try:
        path = find_data(name) or fetch_data(name)
    except InputError:
        raise
    except PhysmlError as error:
        log.warning("no real example: %s; a simulated observation takes its place", error)
        return Example(
            simulate_example(folder, seed),
            "simulated cluster",
            True,
            f"Simulated: the real image ({name}) is neither on this machine nor could it be "
            "downloaded.",
        )
    note = f"{about.file}, {about.citation} ({about.licence})"
    return Example(path, name, False, note, REDSHIFT.get(name))


def simulate_example(folder: Path, seed: int) -> Path:
    """Write a simulated observation with two clear cavities as a FITS image of counts."""
    from astropy.wcs import WCS

    from physml.io.fits import write_image

    from .settings import SimulateSettings
    from .simulator.batch import simulate_batch

    settings = SimulateSettings.model_validate(
        {
            "cavities": {"none": 0.0, "number": {2: 1.0}, "full": 1.0},
            "instrument": {"counts": (3e5, 3e5), "exposure": 0.0, "offset": 0.0},
        }
    )
    # The first of a few clusters whose cavities both stand out: an example has to show something.
    for index in range(50):
        batch = simulate_batch(settings, seed, [index])
        truth = batch.cavities[0]
        if (truth["snr"][truth["present"]] > 20).all():
            break
    size = settings.image_size
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [210.0, 3.0]
    wcs.wcs.crpix = [(size + 1) / 2] * 2
    wcs.wcs.cdelt = [-0.492 / 3600, 0.492 / 3600]
    path = folder / SIMULATED
    write_image(
        path, batch.counts[0].astype(np.float32), wcs=wcs, header={"OBJECT": "simulated cluster"}
    )
    return path


def run(
    *, settings: CavitiesSettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Search the example and write its products, summary.json and index.html.

    Parameters
    ----------
    settings : CavitiesSettings
    evaluation : Path
        Folder of `evaluate.run`, shown beside the example.
    weights : Path
        Weights of this run; used only where none are shipped.
    out : Path
        Folder to write: probability.fits, cavities.reg, cavities.ecsv, cavities.fits,
        overview.png, summary.json, index.html.
    threads : int
        Threads of the network.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import atomic_directory, read_json, write_json, write_text
    from physml.models import load_for_report

    torch.set_num_threads(threads)
    measured = read_json(Path(evaluation) / "metrics.json")
    predictor, whose = load_for_report("cavities", Path(weights))
    with atomic_directory(out) as folder:
        example = find_example(settings.report.example, folder, settings.seed)
        result = predictor.predict(
            example.path, redshift=example.redshift, seed=settings.seed, progress=False
        )
        record = provenance.record(
            "report",
            upstream(settings, "report"),
            {"evaluation": evaluation, "image": example.path},
            {"weights": whose, "simulated": example.simulated},
        )
        result.write_into(folder, {"image": example.name, "redshift": example.redshift})
        summary = summarise(example, result, whose, measured)
        write_json(folder / "summary.json", provenance.jsonable(summary | {"provenance": record}))
        pictures = {
            name: Path(evaluation) / "figures" / f"{name}.png"
            for name in SHOWN
            if (Path(evaluation) / "figures" / f"{name}.png").is_file()
        }
        write_text(
            folder / "index.html", page(summary, measured, folder / "overview.png", pictures)
        )
    log.info("%s: %d cavities", example.name, len(result.catalogue))


def summarise(
    example: Example, result: CavityResult, whose: str, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect the essentials of the example and of the evaluation.

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``cavities`` (rows of the catalogue) and
        ``evaluation`` (a few numbers of each set).
    """
    table = result.catalogue
    wanted = SUMMARY_COLUMNS
    rows = []
    for row in table:
        cells = {name: row[name] for name in wanted if name in table.colnames}
        rows.append({k: v.value if hasattr(v, "unit") else v for k, v in cells.items()})
    units = {
        name: str(table[name].unit)
        for name in wanted
        if name in table.colnames and table[name].unit is not None
    }
    numbers = {
        name: {
            "images": part["images"],
            "f1": _value(part, "strict", "f1"),
            "alarmed": _value(part, "strict", "alarmed"),
            "completeness_at_5_percent_alarmed": _value(part, "strict", "at_alarm", "binned"),
            "pixel_ap": _value(part, "pixels", "ap"),
        }
        for name, part in measured.get("sets", {}).items()
    }
    return {
        "example": example.name,
        "simulated": example.simulated,
        "note": example.note,
        "weights": whose,
        "redshift": example.redshift,
        "units": units,
        "cavities": rows,
        "evaluation": numbers,
    }


def _value(tree: Any, *keys: str) -> float | None:
    for key in (*keys, "value"):
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


# ----------------------------------------------------------------- page

WIDE = ("completeness", "examples")
CAPTIONS = {
    "completeness": "Completeness at 5 % of cavity-less images alarmed, beside the ideal observer.",
    "alarms": "Completeness against the share of cavity-less images that alarm.",
    "reliability": "Do the probabilities of the candidates mean what they say?",
    "sizes": "Radii of the found cavities.",
    "pulls": "Radius errors in units of their stated error; the curve is a unit normal.",
    "examples": "The worst errors, then images across the range of counts.",
}


def page(
    summary: Mapping[str, Any],
    measured: Mapping[str, Any],
    overview: Path,
    pictures: Mapping[str, Path],
) -> str:
    """One self-contained page of HTML: no file or address outside it is needed."""
    cavities = summary["cavities"]
    number = f"{len(cavities)} {'cavity' if len(cavities) == 1 else 'cavities'}"
    name = html.escape(str(summary["example"]))
    weights_note = html.escape(f"Weights: {summary['weights']}. {summary['note']}")
    parts = [f"<h1>{name}: {number}</h1>", f'<p class="note">{weights_note}</p>']
    if summary["simulated"]:
        parts.append('<p class="warning">This is a simulated observation, not a real one.</p>')
    parts += [
        embedded(overview, "Counts, residual and probability with the cavities drawn in"),
        "<h2>Catalogue</h2>",
        _catalogue(summary) if cavities else "<p>No candidate reaches the threshold.</p>",
        '<p class="note">All columns: cavities.ecsv, cavities.fits. Regions for DS9: '
        "cavities.reg. Map: probability.fits.</p>",
        "<h2>On simulated images, with the weights trained in this run</h2>",
        _sets(summary["evaluation"]),
        '<div class="figures">',
    ]
    for key, path in pictures.items():
        wide = ' class="wide"' if key in WIDE else ""
        caption = html.escape(CAPTIONS[key])
        parts.append(f'<div{wide}>{embedded(path, caption)}<p class="note">{caption}</p></div>')
    parts.append("</div>")
    seconds = measured.get("cpu_seconds_per_image")
    if seconds is not None:
        parts.append(f'<p class="note">{seconds:.2f} s of CPU for an image.</p>')
    body = "\n".join(parts)
    return whole_page(f"{summary['example']}: X-ray cavities", body)


def _catalogue(summary: Mapping[str, Any]) -> str:
    units = summary["units"]
    names = [name for name in PAGE_COLUMNS if name in summary["cavities"][0]]
    head = "".join(
        f"<th>{html.escape(name)}{f' [{html.escape(units[name])}]' if name in units else ''}</th>"
        for name in names
    )
    rows = []
    for row in summary["cavities"]:
        cells = "".join(f"<td>{html.escape(_cell(name, row))}</td>" for name in names)
        rows.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if isinstance(value, str):
        return value
    if name == "id":
        return str(int(value))
    if name in ("ra", "dec"):
        return f"{float(value):.5f}"
    if name == "radius" and "radius_err" in row:
        return f"{float(value):.2f} ± {float(row['radius_err']):.2f}"
    return f"{float(value):.2f}"


def _sets(numbers: Mapping[str, Mapping[str, Any]]) -> str:
    titles = {
        "images": "images",
        "f1": "cavity F1",
        "alarmed": "images with a detection",
        "completeness_at_5_percent_alarmed": "completeness at 5 % alarmed",
        "pixel_ap": "pixel AP",
    }
    empty = ("none", "none_nuisance")
    rows = []
    for name, row in numbers.items():
        cells = [html.escape(name)]
        for key in titles:
            value = row[key]
            useless = (name in empty) != (key == "alarmed") and key not in ("images",)
            if key == "images":
                cells.append(str(value))
            elif value is None or useless:
                cells.append("&ndash;")
            else:
                cells.append(f"{value:.1%}" if key == "alarmed" else f"{value:.3f}")
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    head = "<th>set</th>" + "".join(f"<th>{t}</th>" for t in titles.values())
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
