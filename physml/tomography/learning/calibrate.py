"""Calibration of regions: simulate experiments, learn their quantiles, correct what is left.

Most of the experiments are learned from. The others say by how much each quantile has to be
moved, at each number of copies (and in bins of mixedness, if so wanted), so that exactly the
promised share of it lies inside; with exchangeable experiments the next one then does with that
probability, whatever the network has learned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..inference.neural.corrector import Corrector
from ..inference.neural.moments import Moments
from ..inference.neural.radii import Regions, learn, mixedness
from ..settings import TrainSettings
from .calibration_moments import families, simulate_moments

log = logging.getLogger(__name__)

#: Marks before and after one whose moments correct its quantiles as well.
NEIGHBOURS = 1
SHOWN = 0.9
#: Share of the experiments that the network learns from.
LEARNED = 0.7


def calibrate(
    network: Corrector,
    parts: Mapping[str, float],
    settings: TrainSettings,
    rng: np.random.Generator,
) -> tuple[Regions, dict[str, Any]]:
    """Make the regions of a trained corrector.

    Parameters
    ----------
    network : Corrector
    parts : mapping
        Ensemble -> share in the mixture that it was trained on.
    settings : TrainSettings
    rng : Generator

    Returns
    -------
    regions : Regions
    card : dict
        ``experiments``, ``moments``, ``pinball``; ``coverage``: of 90 % regions, corrected by one
        half of the held-out experiments, on the other half, for each number of copies;
        ``families``: the same for each ensemble.
    """
    c = settings.calibrate
    moments = simulate_moments(network, parts, c, rng)
    # By experiment: its moments are not independent.
    order = rng.permutation(c.histories)
    fit, first, second = (
        moments.rows(np.isin(moments.experiment, part))
        for part in np.split(
            order, [round(LEARNED * len(order)), round((1 + LEARNED) * len(order) / 2)]
        )
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        regions = Regions(
            moments.inputs.shape[1], c.levels, len(np.unique(moments.copies)), c.bins, c.width
        )
    loss = learn(regions, fit, rng, epochs=c.epochs, balance=c.balance)
    conform(regions, first)
    inside = covered(regions, second, SHOWN)
    card = {
        "experiments": c.histories,
        "moments": len(moments),
        "pinball": loss,
        "coverage": {
            f"{n:.0f}": float(inside[second.copies == n].mean()) for n in np.unique(second.copies)
        },
        "families": {
            name: float(inside[second.family == k].mean())
            for k, name in enumerate(families(c))
            if (second.family == k).any()
        },
    }
    log.info("coverage of 90 %% regions: %s, %s", card["coverage"], card["families"])
    conform(regions, Moments.join([first, second]))
    return regions, card


def covered(regions: Regions, moments: Moments, level: float) -> NDArray[np.bool_]:
    """Whether truth is inside the region of each moment, (n,)."""
    radius = regions.radius(
        level,
        torch.from_numpy(moments.inputs),
        torch.from_numpy(moments.log_expected),
        torch.from_numpy(moments.copies),
        torch.from_numpy(moments.values),
    )
    # Both as logarithms of the same numbers: at 1 an infidelity must not be outside by rounding.
    return np.asarray(moments.log_infidelity <= np.log(radius) + 1e-12)


def conform(regions: Regions, moments: Moments) -> None:
    """Set the table of corrections by held-out moments.

    At each number of copies, the moments there and at its neighbours are put into bins of equal
    numbers by mixedness.
    """
    numbers = np.unique(moments.copies)
    place = np.searchsorted(numbers, moments.copies)
    with torch.no_grad():
        quantile = regions(torch.from_numpy(moments.inputs)).numpy()
    levels = regions.levels.numpy().astype(np.float64)
    mixed = mixedness(moments.values, moments.copies)
    bins = regions.offsets.shape[1]
    middles = np.zeros((len(numbers), bins))
    offsets = np.zeros((len(numbers), bins, len(levels)))
    for i in range(len(numbers)):
        own = np.flatnonzero(np.abs(place - i) <= NEIGHBOURS)
        order = own[np.argsort(mixed[own], kind="stable")]
        for j, chosen in enumerate(np.array_split(order, bins)):
            middles[i, j] = mixed[chosen].mean()
            away = moments.log_ratio[chosen, None] - quantile[chosen]
            offsets[i, j] = [
                conformal_quantile(away[:, k], level) for k, level in enumerate(levels)
            ]
        # Bins of equal values must not make the interpolation ambiguous.
        middles[i] += 1e-6 * np.arange(bins)
    for name, value in (("copies", numbers), ("mixedness", middles), ("offsets", offsets)):
        setattr(regions, name, torch.as_tensor(value, dtype=torch.float32))


def conformal_quantile(values: NDArray, level: float) -> float:
    """The ceil((n + 1) level)-th smallest value; the largest where there are too few."""
    n = len(values)
    k = min(int(np.ceil((n + 1) * level)), n)
    return float(np.partition(values, k - 1)[k - 1])
