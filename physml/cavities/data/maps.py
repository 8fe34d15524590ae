"""Maps beside an image: read, laid on its pixels, checked against it, and put to use."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .background_map import fit_scale, judge_background
from .exposure_scale import exposure_scale, without_hot_pixels
from .observation import Observation
from .reading import read_source
from .reprojection import lay_on_image
from .units import PixelUnit, exposure_time, to_counts

#: Change of a background map's scale from which it is told.
TOLD = 0.05


class Map(NamedTuple):
    """A map on the pixels of the image.

    Attributes
    ----------
    data : ndarray, shape (H, W)
    unit : PixelUnit or None
    header : Header
    """

    data: NDArray[np.float64]
    unit: PixelUnit | None
    header: Any


def read_map(
    given: Any, observation: Observation, role: Literal["exposure", "background"]
) -> Map | None:
    """Exposure or background map on the pixels of the image, checked; None where not given.

    Raises
    ------
    InputError
        It cannot be read or laid on the image, is something else, or has no positive pixel.
    """
    if given is None:
        return None
    source = read_source(given, role)
    label = str(source.path) if source.path else f"{role} map"
    bad = ~np.isfinite(source.data) | (source.data < 0)
    if bad.any():
        observation.remark(
            f"with undefined or negative pixels in their {role} maps, set to 0",
            f"{role} map: {bad.sum()} undefined or negative pixels are set to 0",
        )
        source.data[bad] = 0.0
    laid = lay_on_image(source.as_image(), label, role, observation.counts, observation.sky.wcs)
    if laid.remark:
        observation.remark(f"whose {role} maps were reprojected", laid.remark)
    data = np.nan_to_num(laid.data)
    if data.max() <= 0:
        raise InputError.expected(label, f"a positive {role} somewhere", "zeros only")
    if source.path:
        observation.files[role] = source.path
    if role == "exposure":
        if np.array_equal(data, observation.counts):
            raise InputError.expected(label, "an exposure map", "the image itself")
        data, hot = without_hot_pixels(data)
        if hot:
            observation.remark(
                "with extreme pixels in their exposure maps, set to those around them",
                f"exposure map: {hot} extreme pixel{'s' * (hot > 1)} set to those around",
            )
    return Map(data, source.unit, source.header)


def use_exposure(observation: Observation, exposure: NDArray[np.float64]) -> None:
    """Set the relative exposure of an observation from its map."""
    scale = exposure_scale(exposure, observation.counts)
    if scale < exposure.max():
        observation.remark(
            "of which another part was exposed far longer than the cluster",
            f"the exposure at the cluster is {scale / exposure.max():.0%} of the largest in the "
            "image: the cluster's counts as full",
        )
    observation.relative_exposure = exposure / scale


def use_background(
    observation: Observation, background: Map, exposure: Map | None, image_unit: PixelUnit | None
) -> None:
    """Give a background map to an observation: in counts, with its scale fitted, and judged.

    Raises
    ------
    InputError
        It has far more counts than the image.
    """
    values = background.data
    rate = background.unit if background.unit and background.unit.is_rate else None
    if rate is None and image_unit is not None and background.unit is None:
        # Beside a rate it is one as well, unless it has as many counts as the image by now.
        same = values[observation.exposed].sum() < 1e-2 * observation.total
        rate = image_unit if same and image_unit.is_rate else None
    name = str(observation.files.get("background", "background map"))
    if rate is not None:
        # Counts expected in the image: the time is the image's, however long the map's was.
        headers = (observation.sky.header, background.header)
        timed = [h for h in headers if h and exposure_time(h)[1]]
        values, by = to_counts(
            values,
            rate,
            exposure.data if exposure else None,
            exposure.unit if exposure else None,
            timed[0] if timed else {},
            observation.solid_angle if rate.angle else None,
            name,
        )
        observation.remark(
            "whose background maps are rates, multiplied by the exposure",
            f"background map taken as {rate.text} and multiplied by {by}",
        )
    seen, depth = observation.exposed, observation.relative_exposure
    values = np.where(seen, values, 0.0)
    if values.sum() > 2 * observation.total:
        raise InputError.expected(
            name,
            "expected background counts per pixel",
            f"a sum of {values.sum():.4g} where the image has {observation.total:.4g} counts",
        )
    judged = judge_background(values, depth, observation.counts)
    if judged.follows:
        observation.doubt(
            "whose background maps follow the image pixel by pixel",
            "the background map follows the image pixel by pixel: it is made from the image itself",
        )
    elif judged.rises:
        observation.doubt(
            "whose background maps rise towards the cluster",
            f"the background map is {judged.rise:.1f} times as high at the cluster as the exposure "
            "and its outskirts say: it holds light of the cluster, and to subtract that makes "
            "deficits",
        )
    factor = fit_scale(values, depth, observation.counts)
    if abs(factor - 1) > TOLD:
        observation.remark(
            "whose background maps were scaled to the image",
            f"background map multiplied by {factor:.2f}, which suits the image better",
        )
    observation.background = values * factor
