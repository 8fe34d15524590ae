"""Maps of exposure and background, and masks, brought onto the pixels of an image.

Two files of one observation need not share their pixels: one was binned otherwise, cut, turned or
mirrored. Where both have celestial coordinates these say which pixel lies where. Without them
nothing but an equal shape does.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.fits import ImageData

Role = Literal["exposure", "background", "mask"]

#: Largest distance at which two grids are the same one [pixel of the image].
SAME_GRID = 0.1
#: Smallest share of the counts that lies on a map which is meant for the image.
MIN_COVERED = 0.2
#: Points at which two grids are compared, on each axis.
_POINTS = 5


class Laid(NamedTuple):
    """A map on the pixels of the image.

    Attributes
    ----------
    data : ndarray, shape (H, W)
        NaN outside of the map.
    remark : str or None
        What was done to it, where anything was.
    """

    data: NDArray[np.float64]
    remark: str | None


def lay_on_image(
    opened: ImageData, label: Path | str, role: Role, counts: NDArray[Any], wcs: WCS | None
) -> Laid:
    """Map on the pixels of the image, by the celestial coordinates of both.

    Parameters
    ----------
    opened : ImageData
        The map as it is in its file.
    label : path or str
        Its name for messages.
    role : {"exposure", "background", "mask"}
        An exposure keeps its value: that of a pixel of the image is the mean over it. Background
        counts keep their sum: the density is taken over, times the area of a pixel. A mask takes
        the value of the nearest pixel.
    counts : ndarray, shape (H, W)
        The image.
    wcs : WCS or None
        Its celestial coordinates.

    Raises
    ------
    InputError
        Another shape without celestial coordinates on both sides, or a map of another place.
    """
    same_shape = opened.data.shape == counts.shape
    if opened.wcs is None or wcs is None:
        if same_shape:
            return Laid(opened.data, None)
        without = "the map" if opened.wcs is None else "the image"
        raise InputError.expected(
            label,
            f"{'an' if role == 'exposure' else 'a'} {role}{'' if role == 'mask' else ' map'} of "
            f"the image's shape, {_size(counts)} pixels, as {without} has no celestial WCS",
            _size(opened.data),
            hint="Reproject it onto the image's pixels, or give both files their WCS.",
        )
    if same_shape and _distance(wcs, opened.wcs, counts.shape) < SAME_GRID:
        return Laid(opened.data, None)
    laid = _reproject(opened, role, counts.shape, wcs)
    if role == "exposure":
        # The mean over a pixel beside a gap is not 0; whether it was observed is a question of 0.
        dark = opened._replace(data=(opened.data == 0).astype(float))
        laid[_reproject(dark, "mask", counts.shape, wcs) == 1] = 0.0
    return Laid(laid, _told(laid, opened, label, role, counts, wcs))


def _distance(image: WCS, other: WCS, shape: tuple[int, ...]) -> float:
    """Largest distance of pixels with the same number on two grids [pixel]; inf off the sky."""
    x, y = np.meshgrid(*(np.linspace(0, n - 1, _POINTS) for n in shape[::-1]))
    try:
        there = pixel_to_pixel(image, other, x, y)
    except Exception:  # wcslib and astropy raise errors of many kinds behind a projection's sky
        return np.inf
    distance = np.hypot(there[0] - x, there[1] - y)
    return float(distance.max()) if np.isfinite(distance).all() else np.inf


def _reproject(
    opened: ImageData, role: Role, shape: tuple[int, ...], wcs: WCS
) -> NDArray[np.float64]:
    from reproject import reproject_adaptive, reproject_interp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # divisions at the edge of the sky
        if role == "mask":
            laid, _ = reproject_interp(
                (opened.data, opened.wcs), wcs, shape_out=shape, order="nearest-neighbor"
            )
        else:
            laid, _ = reproject_adaptive(
                (np.nan_to_num(opened.data, nan=0.0, posinf=0.0, neginf=0.0), opened.wcs),
                wcs,
                shape_out=shape,
                kernel="hann",
                conserve_flux=role == "background",
                boundary_mode="ignore_threshold",
                boundary_ignore_threshold=0.5,
            )
    return np.asarray(laid, dtype=np.float64)


def _told(
    laid: NDArray[np.float64],
    opened: ImageData,
    label: Path | str,
    role: Role,
    counts: NDArray[Any],
    wcs: WCS,
) -> str:
    """Sentence on what was done; `InputError` for a map that is not of this place."""
    covered = np.isfinite(laid)
    total = float(np.abs(counts).sum())
    share = float(np.abs(counts[covered]).sum()) / total if total > 0 else float(covered.mean())
    if share < MIN_COVERED:
        raise InputError.expected(
            label,
            f"a {role} that covers the image",
            f"one that covers {covered.mean():.0%} of its pixels and {share:.0%} of its counts",
            hint="Are they of the same observation?",
        )
    text = f"{role}{'' if role == 'mask' else ' map'}: {_size(opened.data)} pixels, "
    text += "reprojected onto the image by its celestial coordinates"
    if not covered.all():
        meaning = {
            "exposure": "what it does not cover is not observed",
            "background": "where it does not reach the background is taken as 0",
            "mask": "nothing is masked where it does not reach",
        }[role]
        text += f"; it covers {covered.mean():.1%} of the pixels and {share:.1%} of the counts: "
        text += meaning
    return text


def _size(data: NDArray[Any]) -> str:
    return " x ".join(map(str, data.shape[::-1]))
