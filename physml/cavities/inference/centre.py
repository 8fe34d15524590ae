"""Centre of the cluster in an image: given in pixels or on the sky, or the brightest place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.halo import find_centre
from ..data.observation import Observation


def choose_centre(
    observation: Observation,
    centre: tuple[float, float] | None = None,
    position: tuple[Any, Any] | None = None,
) -> tuple[float, float]:
    """Cluster centre (x, y) [pixel].

    Parameters
    ----------
    observation : Observation
        The image.
    centre : tuple of float, optional
        (x, y) [pixel].
    position : tuple, optional
        RA and Dec instead, see `Observation.position`. Without both it is the brightest place.

    Raises
    ------
    InputError
        It lies outside of the image, or cannot be read.
    """
    if position is not None:
        return observation.position(*position)
    if centre is not None:
        x, y = centre
        return observation.inside(float(x), float(y), "a centre")
    counts, depth = _at_the_clusters_exposure(observation)
    unseen = ~observation.exposed
    # Most often nothing stands there; a large image is not copied to clear nothing.
    cleared = not (np.any(counts, where=unseen) or np.any(depth, where=unseen))
    invalid = None if cleared else unseen[None]
    x, y = find_centre(counts[None], depth[None], invalid)[0]
    return float(x), float(y)


def _at_the_clusters_exposure(observation: Observation) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts and exposure, where parts that were exposed longer than the cluster have its exposure.

    Without such parts both are the observation's own arrays: of a large image each copy counts.
    """
    exposure, counts = observation.relative_exposure, observation.counts
    if exposure.max() <= 1:
        return counts, exposure
    depth = np.minimum(exposure, 1.0)
    return counts * depth / np.where(exposure > 0, exposure, 1.0), depth
