"""Files of a result: probability map, regions, tables, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import EllipsePixelRegion, EllipseSkyRegion, PixCoord

from physml.evaluation.figures import save_figure
from physml.io.catalogues import write_catalogue, write_regions
from physml.io.fits import write_image
from physml.progress import show_progress

from .overview import plot_overview
from .recovery_plot import plot_completeness
from .result import CavityResult

KEPT_CARDS = ("OBJECT", "TELESCOP", "INSTRUME", "OBS_ID", "DATE-OBS", "EXPOSURE")
#: Pixels of an image from which its products take so long that their progress is shown.
LARGE = 1 << 22
COLOUR, COLOUR_DOUBTFUL = "cyan", "yellow"


def write_products(result: CavityResult, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write everything that belongs to a result into an existing folder.

    `probability.fits`, `cavities.reg`, `cavities.ecsv`, `cavities.fits`, `overview.png`, and
    with a recovery `completeness.ecsv`, `injections.ecsv` and `completeness.png`.

    Parameters
    ----------
    result : CavityResult
        What to write.
    folder : Path
        Where to.
    provenance : mapping
        Run record that each file carries.
    """
    header = result.observation.sky.header
    kept = {k: header[k] for k in KEPT_CARDS if header is not None and k in header}
    large = result.observation.counts.size >= LARGE
    with show_progress("products", 3, large) as advance:
        write_image(
            folder / "probability.fits",
            result.probability,
            wcs=result.observation.sky.wcs,
            header=kept,
            provenance=provenance,
        )
        advance(1)
        write_regions(folder / "cavities.reg", regions(result))
        write_catalogue(folder / "cavities.ecsv", result.catalogue, provenance)
        write_catalogue(folder / "cavities.fits", result.catalogue, provenance)
        advance(1)
        save_figure(plot_overview(result), folder / "overview.png", provenance=provenance)
        advance(1)
    if result.recovery is not None:
        write_catalogue(folder / "completeness.ecsv", result.recovery.completeness, provenance)
        write_catalogue(folder / "injections.ecsv", result.recovery.injections, provenance)
        picture = plot_completeness(result.recovery)
        save_figure(picture, folder / "completeness.png", provenance=provenance)


def regions(result: CavityResult) -> list[Any]:
    """DS9 ellipses of the catalogue: on the sky, or on pixels where there is no WCS."""
    out: list[Any] = []
    for number, row in enumerate(result.catalogue):
        text = f"{row['id']} p={row['probability']:.2f}"
        colour = COLOUR_DOUBTFUL if result.is_candidate(number) else COLOUR
        style = {"meta": {"text": text}, "visual": {"color": colour, "linewidth": 2}}
        size = {"width": 2 * row["semi_major"], "height": 2 * row["semi_minor"]}
        if result.observation.sky.wcs is None:
            size = {k: v.to_value(u.pix) for k, v in size.items()}
            place = PixCoord(row["x"], row["y"])
            out.append(EllipsePixelRegion(place, **size, angle=row["theta"], **style))
            continue
        # DS9 turns the width from west towards north, we count from north towards east.
        angle = np.mod(row["position_angle"].to_value(u.deg) + 90, 180) * u.deg
        centre = SkyCoord(row["ra"], row["dec"], frame="icrs")
        out.append(EllipseSkyRegion(centre, **size, angle=angle, **style))
    return out
