"""Posterior of one state as weighted samples, and the regions and intervals it gives.

For the neural estimator samples, radii and intervals are as its weights were calibrated on
simulated experiments. For all others, and where the likelihood refutes what was learned, samples
are those of the Bayesian particle filter with the exact likelihood and the rank-adaptive prior: an
estimate says where a state is, the posterior how well that is known.
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
from .neural.draws import Draws
from .neural.estimator import NeuralEstimator
from .neural.intervals import Intervals, may_be_separable
from .neural.quantiles import numbers

#: Experiments of the calibration from which its quantiles are those of each kind of state.
ENOUGH = 5_000
#: Samples: a 90 % quantile is then known to about one percent in probability.
PARTICLES = 600
#: Least distance of the estimate from the ends of an interval, in its length.
MARGIN = 0.1


@dataclass(frozen=True)
class LearnedIntervals:
    """Intervals of functionals by the networks of the weights.

    Attributes
    ----------
    network : Intervals
    inputs : Tensor (1, f)
        Of the moment; see `moments.inputs_of`.
    draws : Tensor (M, d, d)
        Draws about the estimate, whose spread is the unit of the errors.
    """

    network: Intervals
    inputs: Tensor
    draws: Tensor

    def interval(
        self, function: Functional, estimate: Tensor, level: float, bounds: tuple[float, float]
    ) -> tuple[float, float]:
        """Interval of a functional; see `Posterior.interval`."""
        kind = getattr(function, "kind", "observable")
        drawn, value = function(self.draws)[None], function(estimate[None])
        low, high = self.network.ends(kind, level, self.inputs, drawn, value, bounds)
        return float(low[0]), float(high[0])


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
    learned : LearnedIntervals, optional
        Intervals as they were measured on simulated experiments; without, those of the samples.
    """

    particles: Tensor
    weights: Tensor
    estimate: Tensor
    calibrated: Callable[[float], float] | None = None
    learned: LearnedIntervals | None = None

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
        """Interval of a functional that holds the truth with that probability.

        Without `learned` it is the shortest with that share of the samples. A pure state has the
        purity 1, which no sample reaches: an interval that begins or ends at the outermost sample
        goes on to the bound, if that is no further than the interval is long. The estimate lies
        inside, no nearer to an end than `MARGIN` of the length, but for the bounds.

        Parameters
        ----------
        function : callable
            From density matrices (M, d, d) to numbers (M,); its ``kind``, if it has one, is one of
            `intervals.KINDS`.
        level : float
        bounds : tuple of float
            Least and largest value of the function.
        """
        if self.learned is not None:
            low, high = self.learned.interval(function, self.estimate, level, bounds)
            if getattr(function, "kind", "") == "concurrence":
                centre = np.array([float(function(self.estimate[None])[0])])
                if may_be_separable(centre, np.array([self.radius(level)[0]]))[0]:
                    low = 0.0
            return low, high
        low, high = shortest(function(self.particles), self.weights, level, bounds)
        own = float(function(self.estimate[None])[0])
        margin = MARGIN * (max(high, own) - min(low, own))
        low, high = min(low, own - margin), max(high, own + margin)
        return max(float(low), bounds[0]), min(float(high), bounds[1])


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
    if isinstance(estimator, NeuralEstimator) and len(counts) and is_calibrated(estimator):
        return learned_posterior(estimator, rng, particles)
    if isinstance(estimator, ParticleFilter):
        sampler = estimator
    else:
        sampler = ParticleFilter(particles)
        sampler.start(1, estimate.shape[-1], rng)
        if len(counts):
            # All at once: the filter takes it in by parts that its particles can bear.
            sampler.update(effects, counts[None])
    return Posterior(sampler.particles()[0], sampler.weights()[0], estimate)


def learned_posterior(
    estimator: NeuralEstimator, rng: Generator, particles: int = PARTICLES
) -> Posterior:
    """Posterior of a single experiment of a neural estimator with calibrated weights."""
    own = estimator.quantiles
    inputs, expected = estimator.inputs()
    draws = Draws(estimator.correction()[1], particles, rng)
    logs = own.regions.corrected(inputs) + expected.numpy()[:, None]
    vectors = estimator.filter.vectors[:, None]
    near, matched = (
        (vectors @ states @ vectors.mH)[0]
        for states in (draws.states(), draws.matched(numbers(own.regions.levels), logs))
    )
    weights = torch.full((particles,), 1 / particles, dtype=torch.float64)
    return Posterior(
        matched,
        weights,
        estimator.estimate()[0],
        calibrated_radius(estimator),
        LearnedIntervals(own.intervals, inputs, near),
    )


def is_calibrated(estimator: Estimator) -> bool:
    """Whether what weights were calibrated for holds for the data of an estimator."""
    if not isinstance(estimator, NeuralEstimator) or estimator.d not in estimator.calibrated:
        return False
    return not estimator.refuted


def thin_calibration(estimator: Estimator) -> str | None:
    """Remark on regions that were calibrated with few experiments; None where there were enough."""
    if not is_calibrated(estimator):
        return None
    assert isinstance(estimator, NeuralEstimator)
    card = estimator.card.get("regions", {}).get(str(estimator.d.bit_length() - 1), {})
    number = card.get("experiments", ENOUGH)
    if number >= ENOUGH:
        return None
    worst = card.get("regions", {}).get("coverage", {}).get("low", float("nan"))
    return (
        f"calibrated with {number:,} simulated experiments only: of the kinds of states that fare "
        f"worst, a region of 90 % held {100 * worst:.0f} % of those that it was tested on"
    )


def calibrated_radius(estimator: Estimator, stop: bool = False) -> Callable[[float], float] | None:
    """Infidelity of the region of a level as the weights of a neural estimator were calibrated.

    It takes no samples. None for other estimators, and where no calibration holds.

    Parameters
    ----------
    estimator : Estimator
    stop : bool
        See `NeuralEstimator.radius`.
    """
    if not is_calibrated(estimator):
        return None
    assert isinstance(estimator, NeuralEstimator)
    return lambda level: float(estimator.radius(level, stop)[0])
