r"""Negative binomial likelihood: Poisson noise and a relative misfit of the model.

With the size phi = pixels / misfit^2 the variance is mu + mu^2 / phi:

.. math:: \ln L = n \ln \mu - (n + \phi) \ln(\mu + \phi) + \mathrm{const}(n, \phi)

Its derivative by mu is phi (n - mu) / (mu (mu + phi)), its Fisher information
phi / (mu (mu + phi)). Counts need not be whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Relative misfit of a pixel: no model of a cluster is better than that.
MISFIT = 0.05


def size(pixels: Array) -> Array:
    """Size phi of cells of so many pixels."""
    return pixels / MISFIT**2


def log_likelihood(counts: Array, mu: Array, phi: Array) -> Any:
    """Ln L of cells without what depends on the counts alone, summed over the last axis."""
    return (counts * np.log(mu) - (counts + phi) * np.log(mu + phi)).sum(-1)


def score(counts: Array, mu: Array, phi: Array) -> Array:
    """Derivative of ln L by the expected counts of each cell."""
    return phi * (counts - mu) / (mu * (mu + phi))


def information(mu: Array, phi: Array) -> Array:
    """Fisher information of the expected counts of each cell."""
    return phi / (mu * (mu + phi))
