"""Masks that are FITS images: 1 at the sources, or 1 at what is good.

Both are in use, and no card tells them apart. Sources are the smaller part, and hold fewer of the
counts than the rest; where the pixels leave it open the mask is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.fits import ImageData

from .reprojection import lay_on_image

#: Share of the observed pixels up to which a part of a mask can be sources, and from which it can
#: only be the good part.
MAX_SOURCES, MIN_GOOD = 0.3, 0.6


def read_mask_image(
    file: Path, opened: ImageData, counts: NDArray[Any], wcs: WCS | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """Pixels of sources of a mask image, and remarks.

    Parameters
    ----------
    file : Path
        For messages.
    opened : ImageData
        The mask.
    counts : ndarray, shape (H, W)
        The image; pixels without counts say little.
    wcs : WCS or None
        Of the image.

    Raises
    ------
    InputError
        Values that are no mask, another place or shape, or a mask that may mean both.
    """
    data = opened.data
    values = np.unique(data[np.isfinite(data)])
    whole = len(values) > 0 and (values == np.round(values)).all() and values[0] >= 0
    if not whole or len(values) > 1 << 16:
        few = ", ".join(f"{v:g}" for v in values[:4])
        raise InputError.expected(
            file,
            "a mask of 0 and 1, or a map of numbered sources",
            f"pixels of {few}{', ...' if len(values) > 4 else ''}",
        )
    remarks = []
    undefined = ~np.isfinite(data)
    if undefined.any():
        remarks.append(f"mask: {undefined.sum()} undefined pixels are not masked")
    flags = ImageData(np.where(undefined, np.nan, data > 0), opened.header, opened.wcs)
    laid = lay_on_image(flags, file, "mask", counts, wcs)
    if laid.remark:
        remarks.append(laid.remark)
    marked, clear = laid.data == 1, laid.data == 0
    if len(values) > 2:
        share = marked.sum() / max((marked | clear).sum(), 1)
        if share > MAX_SOURCES:
            raise InputError.expected(
                file,
                f"numbered sources, each above 0, in at most {MAX_SOURCES:.0%} of the image",
                f"{len(values)} values, and {share:.0%} above 0",
            )
        return marked, [*remarks, f"mask: its {len(values) - 1} values above 0 are all masked"]
    inverted = _is_inverted(file, marked, clear, counts)
    if inverted:
        remarks.append("mask: 1 is taken for good pixels and 0 for sources, which are fewer")
    return clear if inverted else marked, remarks


def _is_inverted(
    file: Path, marked: NDArray[np.bool_], clear: NDArray[np.bool_], counts: NDArray[Any]
) -> bool:
    """Whether sources are 0; pixels beside the observed ones do not count."""
    observed = (marked | clear) & _observed(counts)
    total = observed.sum()
    ones, zeros = (marked & observed).sum() / total, (clear & observed).sum() / total
    weight = np.clip(counts, 0, None) * observed
    light = float(weight[marked].sum() / max(weight.sum(), 1e-30))
    if ones <= MAX_SOURCES and zeros >= MIN_GOOD and light < 0.5:
        return False
    if zeros <= MAX_SOURCES and ones >= MIN_GOOD and light > 0.5:
        return True
    raise InputError.expected(
        file,
        "a mask whose sources are the smaller part (1, or 0 where the rest is 1)",
        f"1 in {ones:.0%} of the observed pixels with {light:.0%} of the counts",
        hint="Give the sources as regions.",
    )


def _observed(counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Rectangle of the image that holds counts."""
    good = np.isfinite(counts) & (counts != 0)
    rows, columns = np.flatnonzero(good.any(axis=1)), np.flatnonzero(good.any(axis=0))
    inside = np.zeros(counts.shape, dtype=bool)
    if len(rows):
        inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    else:
        inside[:] = True
    return inside
