"""From whatever a user has to one checked `Observation`.

A FITS path, an open file, a `CCDData` or a bare array; counts or flux; with maps or without. What
is wrong with the data is told here, before any time is spent on them.
"""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.fits import open_image
from physml.random import stream

from ..core.halo import fill_sources
from .inputs import check_arguments
from .masks import read_mask
from .observation import Observation
from .reprojection import lay_on_image
from .sky import Sky

log = logging.getLogger(__name__)

#: Largest share of undefined pixels that is masked rather than refused.
MAX_NAN = 0.20
#: Smallest side of an image: the network's field [pixel].
FIELD_SIDE = 128


def load_observation(
    image: Any,
    *,
    exposure: Any = None,
    background: Any = None,
    mask: Any = None,
    units: str = "auto",
    seed: int = 0,
    name: str | None = None,
) -> Observation:
    """Read and check an image with its maps; fill masked sources.

    Parameters
    ----------
    image : path, HDUList, CCDData or ndarray of shape (H, W)
        Counts per pixel, or a flux together with `exposure`.
    exposure : same kinds, optional
        Exposure map on the same pixels, in any unit (s, cm^2 s).
    background : same kinds, optional
        Expected background counts per pixel.
    mask : path or ndarray of bool, optional
        Sources to fill: a DS9 region file, a text table of ``x y radius`` (1-based pixels, as
        FITS counts them), or an array that is True at the pixels to fill.
    units : {"auto", "counts", "flux"}
        What the pixels hold; flux is multiplied by the exposure map.
    seed : int
        Seed of the Poisson draws that fill masked sources.
    name : str, optional
        Name for messages where the image has no file.

    Raises
    ------
    InputError
        For everything that is not a 2-D image of positive sum with maps of its own shape.
    """
    data, wcs, header, path, flagged = _open(image)
    undefined = ~np.isfinite(data)
    counts = np.where(undefined, 0.0, data)
    _check(data, counts, undefined & ~flagged, str(path) if path else (name or "image"))
    observation = Observation(
        counts=counts,
        relative_exposure=np.ones_like(counts),
        background=None,
        filled=np.zeros(counts.shape, dtype=bool),
        sky=Sky(wcs, header),
        name=path.name if path else (name or "image"),
        path=path,
        files={"image": path} if path else {},
    )
    if undefined.any():
        observation.remark(
            "with undefined pixels, which are masked",
            f"{undefined.sum()} undefined pixels ({undefined.mean():.1%}) are masked",
        )
    if wcs is None:
        observation.remark(
            "without celestial WCS: catalogues in pixels",
            "no celestial WCS: the catalogue is in pixels",
        )
    exposure_map = _read_map(exposure, observation, "exposure")
    _to_counts(observation, exposure_map, units)
    if exposure_map is not None:
        observation.relative_exposure = exposure_map / exposure_map.max()
    observation.relative_exposure = np.where(undefined, 0.0, observation.relative_exposure)
    # A few counts may sit where the map says 0 (rounding of its pixels): they mean nothing.
    observation.counts = np.where(observation.exposed, observation.counts, 0.0)
    observation.background = _read_map(background, observation, "background")
    if observation.background is not None:
        _check_background(observation, float(observation.background[observation.exposed].sum()))
    if mask is not None:
        _fill(observation, mask, header, seed)
    if np.any(observation.counts < 0):
        observation.remark(
            "with negative pixels: taken as images with the background subtracted",
            f"{int((observation.counts < 0).sum())} negative pixels: taken as an image with the "
            "background subtracted, whose noise is larger than its counts say",
        )
    return observation


def _open(image: Any) -> tuple[NDArray[Any], WCS | None, Any, Path | None, NDArray[Any]]:
    """Take data, celestial WCS, header, file and flagged pixels of whatever was given."""
    opened = open_image(image)
    path = Path(image) if isinstance(image, str | PathLike) else None
    flagged = np.zeros(opened.data.shape, dtype=bool)
    # Whoever masked pixels by hand meant it; only undefined ones count as damage.
    if not isinstance(image, np.ndarray | str | PathLike) or np.ma.isMaskedArray(image):
        given = getattr(image, "mask", None)
        if given is not None and np.shape(given) == opened.data.shape:
            flagged = np.asarray(given, dtype=bool)
    return opened.data, opened.wcs, opened.header, path, flagged


def _check(
    data: NDArray[Any], counts: NDArray[Any], undefined: NDArray[np.bool_], label: str
) -> None:
    """Refuse an image that cannot be searched."""
    if min(data.shape) < FIELD_SIDE:
        raise InputError.expected(
            label,
            f"an image of at least {FIELD_SIDE} x {FIELD_SIDE} pixels, the network's field",
            _size(data),
            hint="Cut out a larger part, or bin the events into smaller pixels.",
        )
    if undefined.mean() > MAX_NAN:
        raise InputError.expected(
            label,
            f"undefined pixels (NaN or infinite) in at most {MAX_NAN:.0%} of the image",
            f"{undefined.mean():.1%}",
            hint="Crop the image to its observed part, or set unobserved pixels to 0 and give "
            "an exposure map.",
        )
    if not counts.any():
        raise InputError.expected(label, "an image with counts", "zeros only")
    if counts.sum() <= 0:
        raise InputError.expected(
            label, "an image of positive sum", f"a sum of {counts.sum():.4g} (minimum {data.min()})"
        )


def _read_map(
    given: Any, observation: Observation, role: Literal["exposure", "background"]
) -> NDArray[Any] | None:
    """Exposure or background map on the pixels of the image, checked; None where not given."""
    if given is None:
        return None
    opened = open_image(given)
    path = Path(given) if isinstance(given, str | PathLike) else None
    label = str(path) if path else f"{role} map"
    bad = ~np.isfinite(opened.data) | (opened.data < 0)
    if bad.any():
        observation.remark(
            f"with undefined or negative pixels in their {role} maps, set to 0",
            f"{role} map: {bad.sum()} undefined or negative pixels are set to 0",
        )
        opened.data[bad] = 0.0
    laid = lay_on_image(opened, label, role, observation.counts, observation.sky.wcs)
    if laid.remark:
        observation.remark(f"whose {role} maps were reprojected", laid.remark)
    data = np.nan_to_num(laid.data)
    if data.max() <= 0:
        raise InputError.expected(label, f"a positive {role} somewhere", "zeros only")
    if path:
        observation.files[role] = path
    return data


def _size(data: NDArray[Any]) -> str:
    return " x ".join(map(str, data.shape[::-1]))


def _to_counts(observation: Observation, exposure: NDArray[Any] | None, units: str) -> None:
    """Turn a flux image back into counts: the noise, and with it the search, lives in counts."""
    check_arguments(units=units)
    if not (units == "flux" or (units == "auto" and observation.total < 50)):
        return
    if exposure is None:
        raise InputError.expected(
            observation.name,
            "counts, or a flux image together with its exposure map",
            f"pixels that sum to {observation.total:.4g} and no exposure map",
            hint="Give exposure=; units='counts' forces them to be taken as counts.",
        )
    observation.counts = observation.counts * exposure
    observation.remark(
        "taken as fluxes and multiplied by their exposure maps",
        f"taken as a flux and multiplied by the exposure map: {observation.total:.0f} counts",
    )


def _check_background(observation: Observation, background: float) -> None:
    if background > 2 * observation.total:
        raise InputError.expected(
            observation.files.get("background", "background map"),
            "expected background counts per pixel",
            f"a sum of {background:.4g} where the image has {observation.total:.4g} counts",
        )


def _fill(observation: Observation, mask: Any, header: Any, seed: int) -> None:
    """Replace masked sources by Poisson draws from around them."""
    shape = observation.counts.shape
    if isinstance(mask, str | PathLike):
        observation.files["mask"] = Path(mask)
        pixels, remarks = read_mask(mask, observation.counts, observation.sky.wcs, header)
        for text in remarks:
            observation.remark(f"of which is said: {text}", text)
    else:
        pixels = np.asarray(mask)
        if pixels.shape != shape or pixels.dtype.kind not in "bui":
            raise InputError.expected(
                "mask",
                f"an array of bool of shape {shape}, or the path of a region file",
                f"{pixels.dtype} of shape {pixels.shape}",
            )
        pixels = pixels.astype(bool)
    pixels = pixels & observation.exposed
    share = pixels.sum() / observation.exposed.sum()
    if share > 0.5:
        raise InputError.expected(
            observation.files.get("mask", "mask"),
            "sources to fill, less than half of the observed image",
            f"{share:.0%} of it",
        )
    if not pixels.any():
        observation.remark(
            "of which no pixel lies in the mask", "mask: no pixel of the image lies in it"
        )
        return
    counts = np.asarray(
        fill_sources(observation.counts, pixels, stream(seed, "predict", 0)), dtype=float
    )
    observation.counts = np.where(observation.exposed, counts, 0.0)
    observation.filled = pixels
    log.info("%s: %d pixels of masked sources filled", observation.name, pixels.sum())
