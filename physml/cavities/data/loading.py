"""From whatever a user has to one checked `Observation`.

A FITS path, an open file, a `CCDData`, a `Quantity` or a bare array; counts or a flux; with maps or
without. What is wrong with the data is told here, before any time is spent on them.
"""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.random import stream

from ..core.halo import fill_sources
from .events.as_image import as_image
from .events.selection import select_events
from .field_of_view import describe_unobserved
from .inputs import check_arguments
from .maps import read_map, use_background, use_exposure
from .masks import read_mask
from .noise import Scatter, scatter
from .observation import Observation
from .pixel_values import turn_into_counts
from .reading import read_source
from .sky import Sky
from .undefined import undefined_pixels
from .unobserved import find_unobserved

log = logging.getLogger(__name__)

#: Smallest side of an image: the network's field [pixel].
FIELD_SIDE = 128
#: Scatter of pixels over that of counts within which the measured false alarms hold.
SCATTER = (0.75, 1.25)


def load_observation(
    image: Any,
    *,
    exposure: Any = None,
    background: Any = None,
    mask: Any = None,
    units: str = "auto",
    hdu: int | str | None = None,
    band: Any = None,
    bin: Any = None,
    chips: Any = None,
    seed: int = 0,
    name: str | None = None,
) -> Observation:
    """Read and check an image with its maps; fill masked sources.

    Parameters
    ----------
    image : path, HDUList, CCDData, Quantity or ndarray of shape (H, W)
        Counts per pixel, or a rate or flux. A path may name an extension: ``file.fits[2]``. A path
        or HDUList may also be an event list, which is binned.
    exposure : same kinds, optional
        Exposure map (s, cm^2 s), on the same pixels or with celestial coordinates.
    background : same kinds, optional
        Expected background counts per pixel.
    mask : path or ndarray of bool, optional
        Sources to fill: a DS9 region file, a text table of ``x y radius`` (1-based pixels, as
        FITS counts them), or an array that is True at the pixels to fill.
    units : {"auto", "counts", "flux"} or a unit
        What the pixels hold: by their unit and their sum; counts; a flux, multiplied by the
        exposure map; or a unit such as ``count/s/deg2``.
    hdu : int or str, optional
        Extension of the image; by default the first that says nothing else.
    band, bin, chips : optional
        Of an event list: energies (``500:7000``, in eV), size of a pixel, numbers of the chips; see
        `events.selection.select_events`.
    seed : int
        Seed of the Poisson draws that fill masked sources.
    name : str, optional
        Name for messages where the image has no file.

    Raises
    ------
    InputError
        For everything that is not a 2-D image of positive sum with maps that can be laid on it.
    """
    check_arguments(units=units)
    label = str(image) if isinstance(image, str | PathLike) else (name or "image")
    selection = select_events(band, bin, chips)
    image, hdu, exposure, binned = as_image(image, hdu, exposure, selection, label)
    source = read_source(image, "image", hdu)
    if binned is not None:
        source.path = binned.path
    label = str(source.path) if source.path else (name or "image")
    undefined, words = undefined_pixels(source.data, source.header.get("BLANK"))
    undefined |= source.flagged
    # In place: what was read is a copy already, and that of a large image takes half a gigabyte.
    counts = source.data
    counts[undefined] = 0.0
    _check(counts, undefined, label)
    observation = Observation(
        counts=counts,
        relative_exposure=np.ones_like(counts),
        background=None,
        filled=np.zeros(counts.shape, dtype=bool),
        sky=Sky(source.wcs, source.header),
        name=source.path.name if source.path else (name or "image"),
        path=source.path,
        files={"image": source.path} if source.path else {},
    )
    for of_many, text in (binned.remarks if binned else {}).items():
        observation.remark(of_many, text)
    if source.wcs is None:
        observation.remark(
            "without celestial WCS: catalogues in pixels",
            "no celestial WCS: the catalogue is in pixels",
        )
    exposure_map = read_map(exposure, observation, "exposure")
    unit = turn_into_counts(observation, source, exposure_map, units)
    if exposure_map is not None:
        use_exposure(observation, exposure_map.data)
    observation.relative_exposure[undefined] = 0.0
    # A few counts may sit where the map says 0 (rounding of its pixels): they mean nothing.
    observation.counts[~observation.exposed] = 0.0
    noise = scatter(observation.counts, observation.exposed)
    zeros = find_unobserved(observation.counts, observation.relative_exposure, noise)
    observation.relative_exposure[zeros] = 0.0
    if undefined.any() or zeros.any():
        observation.remark(
            "of which a part was not observed",
            describe_unobserved(undefined, zeros, words or "undefined"),
        )
    if background is not None:
        map_ = read_map(background, observation, "background")
        assert map_ is not None
        use_background(observation, map_, exposure_map, unit)
    if mask is not None:
        _fill(observation, mask, source.header, seed)
    _check_noise(observation, noise)
    return observation


def _check(counts: NDArray[Any], undefined: NDArray[np.bool_], label: str) -> None:
    """Refuse an image that cannot be searched."""
    if min(counts.shape) < FIELD_SIDE:
        raise InputError.expected(
            label,
            f"an image of at least {FIELD_SIDE} x {FIELD_SIDE} pixels, the network's field",
            " x ".join(map(str, counts.shape[::-1])),
            hint="Cut out a larger part, or bin the events into smaller pixels.",
        )
    if undefined.all():
        raise InputError.expected(label, "an image with counts", "undefined pixels only")
    if not counts.any():
        raise InputError.expected(label, "an image with counts", "zeros only")
    if counts.sum() <= 0:
        found = f"a sum of {counts.sum():.4g} (minimum {counts.min()})"
        raise InputError.expected(label, "an image of positive sum", found)


def _check_noise(observation: Observation, ratio: Scatter) -> None:
    """Tell where pixels scatter more or less than counts: the false alarms are other ones."""
    negative = int((observation.counts < 0).sum())
    if negative:
        observation.remark(
            "with negative pixels: taken as images with the background subtracted",
            f"{negative} negative pixels: taken as an image with the background subtracted, whose "
            "noise is larger than its counts say",
        )
    if ratio.above(SCATTER[1]):
        observation.doubt(
            "whose pixels scatter more than counts",
            f"neighbouring pixels scatter with {ratio.ratio:.3g} times the variance of counts: "
            "scaled, or with a background subtracted",
        )
    elif ratio.below(SCATTER[0]):
        observation.doubt(
            "whose pixels scatter less than counts",
            f"neighbouring pixels scatter with {ratio.ratio:.3g} times the variance of counts: "
            "smoothed, or resampled by interpolation",
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
