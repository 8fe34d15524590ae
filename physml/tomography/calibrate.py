"""Conformal scales of regions: how far truth is from estimates, in units of what is expected.

The corrector says what infidelity it expects. Divided by it, true infidelities have nearly, but not
exactly, one distribution for all states and numbers of copies. Its quantiles are measured on
experiments that trained nothing, at several numbers of copies and in bins of purity; a region of
level q is the ball whose radius is the expectation times the quantile. See Vovk, Gammerman, Shafer,
Algorithmic Learning in a Random World (2005), for conformal prediction in groups.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.tomography.corrector import Corrector, Outlook, correct
from physml.tomography.sets import schedule
from physml.tomography.training_data import OUTLOOK, Moments, judge, simulate_histories

if TYPE_CHECKING:
    from physml.tomography.learning_settings import CalibrateSettings, TrainSettings

log = logging.getLogger(__name__)

#: Marks a decade of copies at which quantiles are measured.
PER_DECADE = 2
CHUNK = 20_000


@dataclass(frozen=True)
class Regions:
    """Radii of balls about estimates, in infidelity.

    Attributes
    ----------
    copies : ndarray (m,)
        Increasing.
    mixedness : ndarray (m, b)
        Middles of the bins at each number of copies; see `mixedness`.
    levels : ndarray (q,)
    quantiles : ndarray (m, b, q)
        Of the infidelity over its expectation.
    """

    copies: NDArray[np.float64]
    mixedness: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """What a card can hold."""
        return {k: np.asarray(v).tolist() for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Regions:
        """From what a card holds."""
        return cls(**{k: np.asarray(data[k], float) for k in cls.__dataclass_fields__})

    def radius(
        self, level: float, expected: NDArray, copies: NDArray, values: NDArray
    ) -> NDArray[np.float64]:
        """Infidelity from the estimate that is not exceeded with this probability.

        Parameters
        ----------
        level : float
            In (0, 1); between the calibrated levels the logarithm of the quantile is interpolated,
            beyond them it is that of the nearest.
        expected : ndarray (S,)
            Infidelity that the network expects.
        copies : ndarray (S,)
        values : ndarray (S, d)
            Eigenvalues of the estimates.
        """
        u = mixedness(values, copies)
        at = np.interp(np.log(np.maximum(copies, 1)), np.log(self.copies), range(len(self.copies)))
        low = np.clip(at.astype(int), 0, max(len(self.copies) - 2, 0))
        high = np.minimum(low + 1, len(self.copies) - 1)
        part = at - low
        ends = []
        for row in (low, high):
            scale = np.empty(len(u))
            for k in np.unique(row):
                of_bin = [
                    np.interp(_logit(level), _logit(self.levels), np.log(q))
                    for q in self.quantiles[k]
                ]
                scale[row == k] = np.interp(u[row == k], self.mixedness[k], of_bin)
            ends.append(scale)
        return np.minimum(expected * np.exp((1 - part) * ends[0] + part * ends[1]), 1.0)


def mixedness(values: NDArray, copies: NDArray) -> NDArray[np.float64]:
    """log10 of the copies that fell into other eigenvectors than the first, plus one, (S,)."""
    rest = np.clip(1 - values.max(-1), 0, 1)
    return np.asarray(np.log10(1 + rest * copies))


def calibrate(
    network: Corrector, states: Tensor, settings: TrainSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """Measure the quantiles.

    Parameters
    ----------
    network : Corrector
        Trained.
    states : Tensor (S, d, d)
        Neither trained on nor used to choose.
    settings : TrainSettings
    rng : Generator

    Returns
    -------
    dict
        `Regions`, for the card; ``coverage`` of 90 % regions made from every second experiment, on
        the others.
    """
    from physml.exceptions import InputError

    c = settings.calibrate
    rho = states[: c.histories]
    if len(rho) < 2 * c.bins:
        raise InputError.expected(
            "calibration", f"at least {2 * c.bins} validation states left", str(len(rho))
        )
    moments = simulate_histories(network, rho, settings.histories, rng, marks=marks(settings))
    infidelity, expected, values = judged(network, moments)
    copies = moments.arrays["copies"].astype(np.float64).round()
    # Each mark has the same experiments, in the same order.
    half = np.zeros(len(copies), bool)
    for n in np.unique(copies):
        half[np.flatnonzero(copies == n)[::2]] = True
    trial = fit_regions(c, copies[half], infidelity[half], expected[half], values[half])
    other = ~half
    radius = trial.radius(0.9, expected[other], copies[other], values[other])
    coverage = {
        f"{n:.0f}": float(np.mean((infidelity[other] <= radius)[copies[other] == n]))
        for n in np.unique(copies)
    }
    log.info("coverage of 90 %% regions: %s", coverage)
    made = fit_regions(c, copies, infidelity, expected, values)
    return {**made.as_dict(), "coverage": coverage}


def marks(settings: TrainSettings) -> list[int]:
    """Ends of blocks at which quantiles are measured."""
    ends = np.cumsum(schedule(settings.histories.copies))
    wanted = 10 ** np.arange(1.5, np.log10(ends[-1]) + 0.01, 1 / PER_DECADE)
    return sorted({int(ends[np.abs(np.log(ends / w)).argmin()]) for w in wanted})


def judged(network: Corrector, moments: Moments) -> tuple[NDArray, NDArray, NDArray]:
    """Infidelity (S,), its expectation (S,) and eigenvalues (S, d) of the estimates."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(moments), CHUNK):
            index = np.arange(start, min(start + CHUNK, len(moments)))
            batch = moments.batch(index, np.random.default_rng(0), augment=False)
            infidelity, expected = judge(network, batch)
            outlook = Outlook(*(batch[k].double() for k in OUTLOOK))
            made = correct(network(batch["feature"]), outlook)
            parts.append((infidelity, expected.exp().clamp(max=1), made.values))
    found = [torch.cat(p).numpy() for p in zip(*parts, strict=True)]
    return found[0], found[1], found[2]


def fit_regions(
    settings: CalibrateSettings,
    copies: NDArray,
    infidelity: NDArray,
    expected: NDArray,
    values: NDArray,
) -> Regions:
    """Quantiles at each number of copies, in bins of equal numbers by mixedness."""
    numbers = np.unique(copies)
    ratio = np.maximum(infidelity, 1e-15) / expected
    u = mixedness(values, copies)
    middles = np.zeros((len(numbers), settings.bins))
    quantiles = np.zeros((len(numbers), settings.bins, len(settings.levels)))
    for i, n in enumerate(numbers):
        own = np.flatnonzero(copies == n)
        order = own[np.argsort(u[own], kind="stable")]
        for j, chosen in enumerate(np.array_split(order, settings.bins)):
            middles[i, j] = u[chosen].mean()
            quantiles[i, j] = [conformal_quantile(ratio[chosen], q) for q in settings.levels]
        # Bins of equal values must not make the interpolation ambiguous.
        middles[i] += 1e-9 * np.arange(settings.bins)
    return Regions(numbers, middles, np.asarray(settings.levels), quantiles)


def conformal_quantile(values: NDArray, level: float) -> float:
    """The ceil((n + 1) level)-th smallest value; the largest where there are too few."""
    n = len(values)
    k = min(int(np.ceil((n + 1) * level)), n)
    return float(np.partition(values, k - 1)[k - 1])


def _logit(p: NDArray | float) -> NDArray[np.float64]:
    p = np.asarray(p, float)
    return np.asarray(np.log(p / (1 - p)))
