"""Posterior of one state as weighted samples, and the regions and intervals it gives.

For the neural estimator the samples are those of `regions`, proposed by the network and its filter,
and radii are scaled as its weights were calibrated. For all others they are those of the Bayesian
particle filter with the exact likelihood and the rank-adaptive prior: an estimate says where a
state is, the posterior how well that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from ..core.estimator import Estimator
from ..core.operators import fidelity
from .answers import ANY, Functional
from .classical.particle_filter import ParticleFilter
from .neural.estimator import NeuralEstimator
from .posterior_particles import sample

#: Samples: a 90 % quantile is then known to about one percent in probability.
PARTICLES = 600


#: Least distance of the estimate from the ends of an interval, in its length.
MARGIN = 0.1


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

    def radius(self, level: float) -> tuple[float, float | None]:
        """Radius of the ball about the estimate that holds the true state with that probability.

        Parameters
        ----------
        level : float

        Returns
        -------
        infidelity : float
        size : float or None
            Effective number of samples that it rests on; None where it is calibrated.
        """
        if self.calibrated is not None:
            return self.calibrated(level), None
        return self._share(level), self.ess

    def _share(self, level: float) -> float:
        """Infidelity to the estimate within which that share of the samples lies."""
        far = 1 - fidelity(self.particles, self.estimate.expand_as(self.particles))
        return quantile(far, self.weights, level)

    def interval(
        self, function: Functional, level: float, bounds: tuple[float, float] = ANY
    ) -> tuple[float, float]:
        """Shortest interval of a functional with that share of the samples.

        A pure state has the purity 1, which no sample reaches: an interval that begins or ends at
        the outermost sample goes on to the bound, if that is no further than the interval is long.
        It also reaches what the function is at states on the border that lie in the region: the
        pure state next to the estimate and, where the function names it as its ``attained``, the
        state at which it has its bound. Where regions are calibrated to be larger than those of
        the samples, both sides of the median are stretched as the radius is, which as a distance
        is the root of the infidelity. The estimate lies inside, no nearer to an end than
        `MARGIN` of the length, but for the bounds.

        Parameters
        ----------
        function : callable
            From density matrices (M, d, d) to numbers (M,).
        level : float
        bounds : tuple of float
            Least and largest value of the function.
        """
        values = function(self.particles)
        low, high = shortest(values, self.weights, level, bounds)
        if self.calibrated is not None:
            radius = self.calibrated(level)
            stretch = np.sqrt(radius / max(self._share(level), 1e-300))
            middle = quantile(values, self.weights, 0.5)
            if stretch > 1:
                low = middle - stretch * (middle - low)
                high = middle + stretch * (high - middle)
            for state in self._border(function):
                if 1 - float(fidelity(state[None], self.estimate[None])[0]) <= radius:
                    value = float(function(state[None])[0])
                    low, high = min(low, value), max(high, value)
        own = float(function(self.estimate[None])[0])
        margin = MARGIN * (max(high, own) - min(low, own))
        low, high = min(low, own - margin), max(high, own + margin)
        return max(float(low), bounds[0]), min(float(high), bounds[1])

    def _border(self, function: Functional) -> list[Tensor]:
        """States (d, d) on the border at which a function may have its bound."""
        ket = torch.linalg.eigh(self.estimate)[1][:, -1]
        attained = getattr(function, "attained", None)
        return [torch.outer(ket, ket.conj()), *([] if attained is None else [attained])]


def shortest(
    values: Tensor, weights: Tensor, level: float, bounds: tuple[float, float] = ANY
) -> tuple[float, float]:
    """Shortest interval that holds a share of weighted values (M,); see `Posterior.interval`."""
    order = torch.argsort(values)
    x = values[order].detach().numpy()
    total = np.concatenate([[0.0], np.cumsum(weights[order].numpy())])
    # For each beginning the first end that holds enough; rounding must not lose the last.
    end = np.searchsorted(total[1:], np.minimum(total[:-1] + level, total[-1] * (1 - 1e-12)))
    width = np.where(total[end + 1] - total[:-1] >= level - 1e-9, x[end] - x, np.inf)
    first = int(np.argmin(width))
    last = int(end[first])
    low, high = float(x[first]), float(x[last])
    length = high - low
    if first == 0 and low - bounds[0] <= length:
        low = bounds[0]
    if last == len(x) - 1 and bounds[1] - high <= length:
        high = bounds[1]
    return low, high


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
    if isinstance(estimator, NeuralEstimator) and len(counts):
        found = sample(estimator, rng)
        return Posterior(found.states[0], found.weights[0], estimate, calibrated_radius(estimator))
    if isinstance(estimator, ParticleFilter):
        sampler = estimator
    else:
        sampler = ParticleFilter(particles)
        sampler.start(1, estimate.shape[-1], rng)
        if len(counts):
            # All at once: the filter takes it in by parts that its particles can bear.
            sampler.update(effects, counts[None])
    return Posterior(sampler.particles()[0], sampler.weights()[0], estimate)


def calibrated_radius(estimator: Estimator) -> Callable[[float], float] | None:
    """Infidelity of the region of a level as the weights of a neural estimator were calibrated.

    It takes no samples. None for other estimators, and for weights without calibration.
    """
    if not isinstance(estimator, NeuralEstimator) or estimator.d not in estimator.regions:
        return None
    return lambda level: float(estimator.radius(level)[0])
