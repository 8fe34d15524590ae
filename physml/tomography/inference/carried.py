"""Errors of a posterior besides shot noise: uncertain readout, and states behind losses.

Calibrations of the readout are finite. The estimate is fitted again under draws of the confusion
from its posterior, and the samples are moved by the differences: the sum of both errors, which in
regular cases adds in quadrature. Fits are those of maximum likelihood, whatever the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from ..core.operators import project_to_states, to_coordinates
from ..core.readout import Readout
from ..data.records import Measurement
from .classical.likelihood import maximum_likelihood
from .posterior import Posterior

#: Draws of the readout.
DRAWS = 32
#: Log-likelihood that a fit may miss, most steps of it, and the white part at which it begins.
TOLERANCE, ITERATIONS, WHITE = 0.01, 1000, 1e-3


def readout_shifts(
    measurements: Sequence[Measurement], readout: Readout, rng: Generator, draws: int = DRAWS
) -> Tensor:
    """How the most likely state moves under draws of the readout.

    Parameters
    ----------
    measurements : sequence of Measurement
        With the effects of perfect detectors.
    readout : Readout
    rng : Generator
    draws : int

    Returns
    -------
    Tensor (draws, d, d)
        Differences to the state under the readout itself: Hermitian, of trace 0.
    """
    confusions = [readout, *(readout.draw(rng) for _ in range(draws))]
    matrices = torch.from_numpy(np.stack([c.matrix for c in confusions])).to(torch.complex128)
    ideal = torch.from_numpy(np.stack([m.setting.effects for m in measurements]))
    counts = torch.from_numpy(np.concatenate([m.counts for m in measurements]).astype(float))
    d = ideal.shape[-1]
    coordinates = to_coordinates(torch.einsum("bmt,stij->bsmij", matrices, ideal)).flatten(1, 2)
    white = torch.eye(d, dtype=torch.complex128)[None] / d
    first = maximum_likelihood(coordinates[:1], counts[None], white, TOLERANCE, ITERATIONS)[0]
    start = ((1 - WHITE) * first + WHITE * white).expand(draws, -1, -1)
    each = counts.expand(draws, -1)
    others = maximum_likelihood(coordinates[1:], each, start, TOLERANCE, ITERATIONS)[0]
    return others - first


def widened(posterior: Posterior, shifts: Tensor, rng: Generator) -> Posterior:
    """Posterior whose samples are moved by shifts (B, d, d), each by one of them.

    Where its radii are calibrated they grow as those of the samples do.
    """
    order = torch.from_numpy(rng.permutation(len(posterior.particles)))
    moved = project_to_states(posterior.particles + shifts[order % len(shifts)])
    learned = posterior.learned
    if learned is not None:
        # The unit of the errors grows by that of the readout.
        order = torch.from_numpy(rng.permutation(len(learned.draws)))
        drawn = project_to_states(learned.draws + shifts[order % len(shifts)])
        learned = replace(learned, draws=drawn)
    made = replace(posterior, particles=moved, calibrated=None, learned=learned)
    old = posterior.calibrated
    if old is None:
        return made
    bare = replace(posterior, calibrated=None)

    def calibrated(level: float) -> float:
        ratio = made.radius(level)[0] / max(bare.radius(level)[0], 1e-300)
        return min(1.0, old(level) * max(1.0, ratio))

    return replace(made, calibrated=calibrated)


def in_frame(states: Tensor, frame: Tensor) -> Tensor:
    """States K rho K / tr (K rho K) of a frame K, (..., d, d)."""
    made = frame @ states @ frame
    made = 0.5 * (made + made.mH)
    return made / made.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]


def carried_back(posterior: Posterior, frame: Tensor) -> Posterior:
    """Posterior of the states behind a frame; its radii are those of the samples."""
    learned = posterior.learned
    if learned is not None:
        learned = replace(learned, draws=in_frame(learned.draws, frame))
    return replace(
        posterior,
        learned=learned,
        particles=in_frame(posterior.particles, frame),
        estimate=in_frame(posterior.estimate, frame),
        calibrated=None,
    )
