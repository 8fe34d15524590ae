"""Meaning of the pixels of an image, by their unit, their sum and their noise; counts of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .maps import Map
from .noise import scatter
from .observation import Observation
from .reading import Source
from .units import PixelUnit, exposure_time, parse_unit, to_counts

#: Sum below which pixels without a unit are no counts.
FEWEST_COUNTS = 50
#: Range of the scatter of a rate times its exposure, in that of counts.
OF_COUNTS = (0.6, 1.6)


def turn_into_counts(
    observation: Observation, source: Source, exposure: Map | None, units: str
) -> PixelUnit | None:
    """Turn a rate or a flux back into counts: the noise, and with it the search, lives in counts.

    Without a unit the pixels are a rate where they sum to hardly anything, or where their scatter
    is that of counts only after they were multiplied by the exposure.

    Parameters
    ----------
    observation : Observation
        Its `counts` are set.
    source : Source
        The image as it was given.
    exposure : Map or None
    units : str
        See `loading.load_observation`.

    Returns
    -------
    PixelUnit or None
        The unit that the pixels had; None for counts and where it is not known.

    Raises
    ------
    InputError
        They are no counts, and what makes counts of them is missing.
    """
    label = str(observation.files.get("image", observation.name))
    unit = source.unit
    if units not in ("auto", "counts", "flux"):
        unit = parse_unit(units)
        if unit is None:
            raise InputError(f"units=: expected auto, counts, flux or a unit, found {units!r}")
    elif units == "counts":
        return None
    if unit is not None and units != "flux":
        if unit.is_rate:
            _multiply(observation, unit, source, exposure, label)
            return unit
        if not unit.is_counts:
            raise InputError.expected(
                label,
                "counts, or a rate or flux of counts",
                f"pixels in {unit.text}",
                hint="Make the image of the counts themselves; units='counts' (--units counts) "
                "takes the pixels for counts.",
            )
    if units == "flux" or (
        exposure is not None
        and unit is None
        and _is_rate(observation.counts, _typical(exposure.data, observation.counts))
    ):
        _by_map(observation, exposure, label)
        return None
    if observation.total >= FEWEST_COUNTS and (unit is not None or exposure is not None):
        return None
    _, seconds = exposure_time(source.header)
    rate = parse_unit("count/s")
    if unit is None and exposure is None and seconds and _is_rate(observation.counts, seconds):
        assert rate is not None
        _multiply(observation, rate, source, exposure, label)
        return rate
    if observation.total < FEWEST_COUNTS:
        _by_map(observation, exposure, label)
    return None


def _multiply(
    observation: Observation, unit: PixelUnit, source: Source, exposure: Map | None, label: str
) -> None:
    made, by = to_counts(
        observation.counts,
        unit,
        exposure.data if exposure else None,
        exposure.unit if exposure else None,
        source.header,
        observation.solid_angle if unit.angle else None,
        label,
    )
    observation.counts = made
    observation.remark(
        f"taken as {unit.text} and multiplied by the exposure",
        f"taken as {unit.text} and multiplied by {by}: {observation.total:.0f} counts",
    )


def _by_map(observation: Observation, exposure: Map | None, label: str) -> None:
    if exposure is None:
        raise InputError.expected(
            label,
            "counts, or a flux image together with its exposure map",
            f"pixels that sum to {observation.total:.4g} and no exposure map",
            hint="Give exposure=; units='counts' forces them to be taken as counts.",
        )
    observation.counts = observation.counts * exposure.data
    observation.remark(
        "taken as fluxes and multiplied by their exposure maps",
        f"taken as a flux and multiplied by the exposure map: {observation.total:.0f} counts",
    )


def _is_rate(image: NDArray[np.float64], exposure: float) -> bool:
    """Whether pixels scatter as counts over an exposure do."""
    if exposure < 2 or not (image % 1).any():
        return False
    found = scatter(image, np.ones(image.shape, bool))
    return bool(OF_COUNTS[0] < found.ratio * exposure < OF_COUNTS[1])


def _typical(exposure: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """Mean exposure of the light of an image."""
    light = np.maximum(image, 0.0)
    return float((exposure * light).sum() / max(light.sum(), 1e-30))
