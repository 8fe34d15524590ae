"""Words for the part of an image that was not observed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

#: Share of an image from which its unobserved part is told as an area, not as a number of pixels.
AREA = 0.01
#: Side on which shapes are looked at [cell].
COARSE = 200
#: Share of the area by which a field may differ from a disc, or from its hull.
LIKE = 0.03


def describe_unobserved(undefined: NDArray[np.bool_], zeros: NDArray[np.bool_], words: str) -> str:
    """One line on what was not observed, such as ``21 % of the image was not observed: ...``.

    Parameters
    ----------
    undefined, zeros : ndarray of bool, shape (H, W)
        Pixels without a value, and zeros that are no counts.
    words : str
        What stands in the undefined pixels.
    """
    both = undefined | zeros
    what = "undefined pixels" if words == "undefined" else f"pixels that are {words}"
    if both.mean() < AREA and not zeros.any():
        return f"{both.sum()} {what} are masked"
    kinds = [name for name, part in ((what, undefined), ("zeros", zeros)) if part.any()]
    place = _place(both)
    return f"{100 * both.mean():.3g} % of the image was not observed: {' and '.join(kinds)} {place}"


def _place(missing: NDArray[np.bool_]) -> str:
    """Where the missing pixels lie: outside of a field of some shape, in gaps, here and there."""
    size = -(-max(missing.shape) // COARSE)
    missing = missing[::size, ::size]
    groups, _ = ndimage.label(missing)
    edge = np.concatenate([groups[0], groups[-1], groups[:, 0], groups[:, -1]])
    outside = np.isin(groups, np.unique(edge[edge > 0]))
    inside = missing & ~outside
    if outside.sum() < 0.5 * missing.sum():
        return "in gaps or holes inside the field" if missing.mean() > AREA else "here and there"
    also = " and in gaps" if inside.sum() > 0.02 * missing.sum() else ""
    field = ~outside
    hull = convex_hull_image(field)
    if (hull & outside).sum() > LIKE * field.sum():
        return f"beyond the edges of the field{also}"
    if _is_round(field):
        return f"outside a round field{also}"
    return f"outside a field with straight edges{also}"


def _is_round(field: NDArray[np.bool_]) -> bool:
    """Whether a field is the part of a disc that lies in the image."""
    # Its edge away from the image's border is where the disc can be seen.
    inner = ndimage.binary_erosion(field, border_value=1)
    y, x = np.nonzero(field & ~inner)
    if len(x) < 8:
        return False
    # Circle by least squares: x^2 + y^2 = 2 a x + 2 b y + c.
    columns = np.column_stack([2.0 * x, 2.0 * y, np.ones(len(x))])
    (a, b, c), *_ = np.linalg.lstsq(columns, (x**2 + y**2).astype(float), rcond=None)
    rows, cols = np.indices(field.shape)
    disc = (cols - a) ** 2 + (rows - b) ** 2 <= max(c + a * a + b * b, 0.0)
    return bool((disc ^ field).sum() < LIKE * field.sum())
