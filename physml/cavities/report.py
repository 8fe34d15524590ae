"""Stage of the chain: the shipped weights on a real image, and one page that shows all results.

The example is NGC 5813 (637 ks of Chandra) where its file is at hand or can be downloaded. With
neither, a simulated observation is written as FITS and searched in its place; page and summary
say so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from physml import datasets
from physml.evaluation.sealed import remark
from physml.exceptions import InputError, PhysmlError
from physml.io.atomic import atomic_directory
from physml.io.fits import write_image
from physml.stages.report import Measured, report_record, write_report

from .evaluation.sets import NAMES
from .results.result import CavityResult
from .settings import CavitiesSettings, SimulateSettings
from .simulator.batch import simulate_batch

log = logging.getLogger(__name__)

#: Name of the image where it is simulated.
SIMULATED = "example.fits"
#: Pictures of the evaluation on the page.
SHOWN = ("completeness", "alarms", "reliability", "sizes", "pulls", "examples")
#: Columns of the catalogue that the summary holds.
COLUMNS = (
    *("id", "ra", "dec", "x", "y", "distance", "azimuth", "radius", "radius_err"),
    *("decrement", "snr", "probability", "distance_kpc", "radius_kpc", "flags"),
)
#: Redshifts of the examples.
REDSHIFT: Mapping[str, float] = {"ngc5813": 0.0065, "ngc4649": 0.0037, "abell1835": 0.2532}


@dataclass(frozen=True)
class Example:
    """Observation that is searched.

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
    about = datasets.entry(name)
    try:
        path = datasets.find_data(name) or datasets.fetch_data(name)
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
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [210.0, 3.0]
    wcs.wcs.crpix = [(settings.image_size + 1) / 2] * 2
    wcs.wcs.cdelt = [-0.492 / 3600, 0.492 / 3600]
    path = folder / SIMULATED
    write_image(
        path, batch.counts[0].astype(np.float32), wcs=wcs, header={"OBJECT": "simulated cluster"}
    )
    return path


def run(
    *, settings: CavitiesSettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Search the example and write what `predict` writes, summary.json and index.html.

    A stage: arguments as in `physml.pipeline`.
    """
    measured = Measured.read("cavities", evaluation, weights, threads)
    with atomic_directory(out) as folder:
        example = find_example(settings.report.example, folder, settings.seed)
        result = measured.predictor.predict(
            example.path, redshift=example.redshift, seed=settings.seed, progress=False
        )
        inputs = {"evaluation": evaluation, "image": example.path}
        record = report_record(settings, inputs, measured.whose, example.simulated)
        result.write_into(folder, {"image": example.name, "redshift": example.redshift})
        write_report(
            folder,
            summarise(example, result, measured),
            record,
            "cavities/evaluation/page.html.jinja",
            seconds=measured.metrics.get("cpu_seconds_per_image"),
            pictures=measured.pictures(SHOWN),
        )
    log.info("%s: %d cavities", example.name, len(result.catalogue))


def summarise(example: Example, result: CavityResult, measured: Measured) -> dict[str, Any]:
    """Essentials of the example and of the evaluation.

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``cavities`` (rows of the catalogue) and
        ``evaluation`` (a few numbers of each set, and what was decided from it).
    """
    table = result.catalogue[[name for name in COLUMNS if name in result.catalogue.colnames]]
    paths = {
        "f1": ("strict", "f1"),
        "alarmed": ("strict", "alarmed"),
        "completeness_at_5_percent_alarmed": ("strict", "at_alarm", "binned"),
        "pixel_ap": ("pixels", "ap"),
    }
    numbers = {
        name: {"images": part["images"], **{key: _value(part, path) for key, path in paths.items()}}
        for name, part in measured.metrics.get("sets", {}).items()
    }
    for name in numbers:
        # The test split is the run's own; whether a frozen set was used stands in its ledger.
        numbers[name]["ledger"] = remark("cavities", name) if name in NAMES else ""
    return {
        "example": example.name,
        "simulated": example.simulated,
        "note": example.note,
        "weights": measured.whose,
        "redshift": example.redshift,
        "units": {c.info.name: str(c.unit) for c in table.itercols() if c.unit is not None},
        "cavities": [
            {name: getattr(row[name], "value", row[name]) for name in table.colnames}
            for row in table
        ],
        "evaluation": numbers,
    }


def _value(tree: Any, path: Sequence[str]) -> float | None:
    for key in (*path, "value"):
        tree = tree.get(key, {})
    return None if tree == {} else tree
