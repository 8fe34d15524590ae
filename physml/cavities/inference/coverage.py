"""Parts of an image that were searched, and at which binnings: said with every result.

All fields lie about one centre. A second cluster in the image is seen by those binnings alone
whose fields reach it; its small cavities are found when it is made the centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .field import Field

#: Share of the exposed pixels that may lie in no field without a remark.
LEFT_OUT = 0.005


def describe_search(
    fields: Sequence[Field], shape: tuple[int, int], centre: tuple[float, float]
) -> str:
    """Text of which part of an image each binning searched.

    Parameters
    ----------
    fields : sequence of Field
    shape : tuple of int
        Shape of the image.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    """
    parts = []
    for field in sorted(fields, key=lambda f: f.scale):
        height, width = _size(field, shape)
        if (height, width) == shape:
            parts.append(f"the whole image at binning {field.scale}")
        else:
            parts.append(f"{width} x {height} pixels at binning {field.scale}")
    return f"about ({centre[0]:.1f}, {centre[1]:.1f}): " + ", ".join(parts)


def share_left_out(fields: Sequence[Field], exposed: NDArray[np.bool_]) -> float:
    """Share of the exposed pixels that lie in no field.

    Parameters
    ----------
    fields : sequence of Field
    exposed : ndarray of bool, shape (H, W)
    """
    if any(exposed.shape == _size(f, exposed.shape) for f in fields):
        return 0.0
    # Distinct borders cut the image into few blocks; each lies in a field or does not.
    windows = [f.window(exposed.shape) for f in fields]
    left = int(np.count_nonzero(exposed))
    total = max(left, 1)
    rows = sorted({0, exposed.shape[0], *(e for w in windows for e in (w[0].start, w[0].stop))})
    columns = sorted({0, exposed.shape[1], *(e for w in windows for e in (w[1].start, w[1].stop))})
    for low, high in pairwise(rows):
        for first, last in pairwise(columns):
            if any(
                r.start <= low and high <= r.stop and c.start <= first and last <= c.stop
                for r, c in windows
            ):
                left -= int(np.count_nonzero(exposed[low:high, first:last]))
    return left / total


def remark_on_search(share: float) -> tuple[str, str] | None:
    """Remark, for many images and for one, on what lies in no field; None where next to nothing.

    Parameters
    ----------
    share : float
        From `share_left_out`.
    """
    if share <= LEFT_OUT:
        return None
    return (
        "of which a part was not searched at the chosen binnings",
        f"{share:.0%} of the observed image lies outside of all fields at these binnings and was "
        "not searched; scales='auto' covers all of it",
    )


def _size(field: Field, shape: tuple[int, int]) -> tuple[int, int]:
    rows, columns = field.window(shape)
    return rows.stop - rows.start, columns.stop - columns.start
