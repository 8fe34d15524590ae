"""Radii of regions: conditional quantiles of how wrong an estimate is.

How far truth is from an estimate, in units of what the corrector expects, has a distribution that
depends on the number of copies, on the spectrum and on what was measured. `Regions` learns its
quantiles over the continuous family of states that the chain simulates. `Stops` is the same for
the moments at which an experiment would stop: that a radius has just become smaller than ever
before is news about its luck, so that at these moments truth is farther away than at others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .quantiles import Quantiles, numbers

#: A radius is at least this, and at most 1.
SMALLEST = 1e-16


class Regions(Quantiles):
    """Radii of balls about estimates, in infidelity; see `Quantiles`.

    Quantities are logarithms of the infidelity over its expectation, inputs those of
    `moments.inputs_of`.
    """

    part = "regions."

    def radius(self, level: float, inputs: Tensor, log_expected: Tensor) -> NDArray[np.float64]:
        """Infidelity (S,) from the estimate that is not exceeded with this probability.

        Parameters
        ----------
        level : float
            In (0, 1).
        inputs : Tensor (S, f)
        log_expected : Tensor (S,)
            Logarithm of the infidelity that the corrector expects.
        """
        log = self.at(level, inputs) + numbers(log_expected)
        return np.clip(np.exp(log), SMALLEST, 1.0)


#: Part of what is beyond a level that a stop is on the safe side by. On fresh states of the
#: training's families each class of spectra, design and infidelity asked for (60 classes) then
#: keeps a promise of 90 % in at least 88 %; without, in 80 % in the worst. The larger of this
#: radius and the region's is what an experiment stops by (`NeuralEstimator.radius`).
SAFE = 0.4


class Stops(Regions):
    """Radii at the moments at which they are smaller than ever before; see `Regions`."""

    part = "stops."

    def radius(self, level: float, inputs: Tensor, log_expected: Tensor) -> NDArray[np.float64]:
        """Infidelity (S,) that truth exceeds more seldom than the level says; see `SAFE`."""
        return super().radius(level + SAFE * (1 - level), inputs, log_expected)
