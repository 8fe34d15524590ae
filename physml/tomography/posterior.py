"""Posterior of one state as weighted samples, and the regions and intervals it gives.

For the neural estimator the samples are those of `regions`, proposed by the network and its filter,
and radii are scaled as its weights were calibrated. For all others they are those of the Bayesian
particle filter with the exact likelihood and the rank-adaptive prior: an estimate says where a
state is, the posterior how well that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from .operators import fidelity
from .particle_filter import ParticleFilter

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from .answers import Functional
    from .estimator import Estimator
    from .neural import NeuralEstimator

PARTICLES = 600
"""Samples: a 90 % quantile is then known to about one percent in probability."""


@dataclass(frozen=True)
class Ball:
    """Radius of a region about the estimate, as infidelity and as Bures distance."""

    infidelity: float
    bures: float
    ess: float


@dataclass(frozen=True)
class Posterior:
    """Weighted samples about an estimate.

    Attributes
    ----------
    particles : Tensor (M, d, d)
    weights : Tensor (M,)
        They sum to 1.
    estimate : Tensor (d, d)
        Centre of the regions.
    calibrated : callable, optional
        Infidelity of the region of a level, as it was measured on simulated experiments; without,
        that of the samples.
    """

    particles: Tensor
    weights: Tensor
    estimate: Tensor
    calibrated: Callable[[float], float] | None = None

    @property
    def ess(self) -> float:
        """Effective number of samples."""
        return float(1 / self.weights.square().sum())

    def region(self, level: float) -> Ball:
        """Ball about the estimate in which the true state lies with that probability."""
        radius = self._share(level) if self.calibrated is None else self.calibrated(level)
        # Both distances grow with each other: the ball is the same.
        return Ball(radius, float(np.sqrt(2 * (1 - np.sqrt(max(0.0, 1 - radius))))), self.ess)

    def _share(self, level: float) -> float:
        """Infidelity to the estimate within which that share of the samples lies."""
        far = 1 - fidelity(self.particles, self.estimate.expand_as(self.particles))
        return quantile(far, self.weights, level)

    def interval(self, function: Functional, level: float) -> tuple[float, float]:
        """Interval of a functional, from the samples.

        Where regions are calibrated, both sides of the median are stretched as the radius is, which
        as a distance is the root of the infidelity.
        """
        values = function(self.particles)
        low, middle, high = (
            quantile(values, self.weights, q) for q in ((1 - level) / 2, 0.5, (1 + level) / 2)
        )
        stretch = 1.0
        if self.calibrated is not None:
            stretch = float(np.sqrt(self.calibrated(level) / max(self._share(level), 1e-300)))
        return middle - stretch * (middle - low), middle + stretch * (high - middle)


def quantile(values: Tensor, weights: Tensor, level: float) -> float:
    """Quantile of weighted values (M,), linear between the middles of their weights."""
    order = torch.argsort(values)
    x = values[order].detach().numpy()
    w = weights[order].numpy()
    return float(np.interp(level, np.cumsum(w) - w / 2, x))


def posterior(
    effects: Tensor,
    counts: Tensor,
    estimate: Tensor,
    rng: Generator,
    estimator: Estimator | None = None,
    particles: int = PARTICLES,
) -> Posterior:
    """Posterior of data.

    Parameters
    ----------
    effects : Tensor (M, d, d)
        Of all outcomes of all measurements.
    counts : Tensor (M,)
    estimate : Tensor (d, d)
    rng : Generator
    estimator : Estimator, optional
        Of a particle filter, its own particles are taken; of the neural estimator, its network
        and filter propose them.
    particles : int
    """
    if estimator is not None and estimator.name == "neural" and len(counts):
        return _of_network(cast("NeuralEstimator", estimator), estimate, rng)
    if isinstance(estimator, ParticleFilter):
        sampler = estimator
    else:
        sampler = ParticleFilter(particles)
        sampler.start(1, estimate.shape[-1], rng)
        if len(counts):
            # All at once: the filter takes it in by parts that its particles can bear.
            sampler.update(effects, counts[None])
    return Posterior(sampler.particles()[0], sampler.weights()[0], estimate)


def _of_network(estimator: NeuralEstimator, estimate: Tensor, rng: Generator) -> Posterior:
    """Samples and calibration of a neural estimator with data of one experiment."""
    from .calibrate import Regions
    from .regions import sample

    found = sample(estimator, rng)
    calibration = estimator.card.get("regions", {}).get(str(estimate.shape[-1].bit_length() - 1))
    calibrated = None
    if calibration is not None:
        regions = Regions.from_dict(calibration)
        spread = estimator.spread().numpy()
        copies = estimator.filter.copies.numpy()
        values = torch.linalg.eigvalsh(estimate)[None].numpy()

        def calibrated(level: float) -> float:
            return float(regions.radius(level, spread, copies, values)[0])

    return Posterior(found.states[0], found.weights[0], estimate, calibrated)
