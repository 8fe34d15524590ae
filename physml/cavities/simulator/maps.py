"""Exposure and background maps as an observer has them, who does not know the true ones."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..settings import MapsPrior
from .structure import smooth_error


def round_field(prior: MapsPrior, rng: Generator, size: int) -> NDArray[np.bool_]:
    """Pixels inside of the field of view: all, or a disc that ends inside of the image.

    Parameters
    ----------
    prior : MapsPrior
    rng : Generator
    size : int
        Side of the image [pixel].
    """
    if rng.random() >= prior.round:
        return np.ones((size, size), np.bool_)
    radius = rng.uniform(0.3, 0.6) * size
    x0, y0 = 0.5 * size + rng.uniform(-0.15, 0.15, 2) * size
    y, x = np.mgrid[:size, :size]
    return (x - x0) ** 2 + (y - y0) ** 2 < radius**2


def observer_maps(
    prior: MapsPrior, rng: Generator, exposure: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Maps that the observer works with.

    Parameters
    ----------
    prior : MapsPrior
    rng : Generator
    exposure : ndarray, shape (H, W)
        The true one.

    Returns
    -------
    exposure : ndarray, shape (H, W)
        Relative, largest value 1; 0 where nothing was observed.
    factor : float
        By which the background map is wrong.
    """
    missing, wrong = rng.random(2) < (prior.missing, prior.wrong)
    factor = float(np.exp(rng.normal(0, prior.background_error))) if wrong else 1.0
    if missing:
        exposure = (exposure > 0).astype(np.float32)
    elif wrong:
        exposure = exposure * smooth_error(rng, prior.exposure_error, len(exposure))
        exposure = exposure / exposure.max()
    return exposure, factor
