"""Calibration: quantiles of errors, learned from experiments that trained nothing, then corrected.

Three networks of quantiles: radii of regions, the same at moments at which an experiment would
stop, and errors of functionals. Each learns from most of the experiments; the others say by how
much its quantiles have to be moved so that the promised share lies inside (conformal correction:
with exchangeable experiments the next one then does with that probability, whatever was learned).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ..inference.neural.corrector import Corrector
from ..inference.neural.intervals import Intervals
from ..inference.neural.quantiles import Quantiles, numbers
from ..inference.neural.radii import Regions, Stops
from ..settings import CalibrateSettings
from .calibration_moments import Moments
from .functionals import examples_of
from .quantile_training import Examples, learn
from .replay import Arrays

log = logging.getLogger(__name__)

#: Share of the experiments that the networks learn from.
LEARNED = 0.75
#: Level of the coverage that is shown.
SHOWN = 0.9
#: Radii aim this much above their level, or halve what is beyond it: kinds of states that data
#: cannot tell apart scatter about the aim, and the promise is for each of them.
ABOVE = 0.02
#: Fewest blocks of an experiment that was kept whole.
WHOLE = 3


@dataclass(frozen=True)
class Calibration:
    """Networks of quantiles, and what is known of them for the card."""

    parts: tuple[Quantiles, ...]
    card: dict[str, Any]


def calibrate(
    network: Corrector, arrays: Arrays, settings: CalibrateSettings, rng: Generator
) -> Calibration:
    """Make the regions, stops and intervals of a trained corrector.

    Parameters
    ----------
    network : Corrector
    arrays : dict of ndarray
        Moments of the split `calibrate`; see `prepared.read_moments`.
    settings : CalibrateSettings
    rng : Generator

    Returns
    -------
    Calibration
        Its card has ``experiments``, ``moments``; and for each part ``pinball`` and ``coverage``
        of 90 %, on experiments that nothing was learned from: ``all``, and the twentieths from
        below and above of the classes of spectra, designs and copies (``low``, ``high``).
    """
    moments = Moments.of(network, arrays)
    experiments = np.unique(moments.experiment)
    held = rng.permutation(experiments)[round(LEARNED * len(experiments)) :]
    card: dict[str, Any] = {"experiments": len(experiments), "moments": len(moments)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        regions = Regions(moments.inputs.shape[1], settings.levels, settings.width)
        whole = Examples.of(
            moments.inputs, moments.log_ratio, moments.kind, moments.mark, moments.weight
        )
        fit = _Fit(settings.epochs, held, rng)
        card["regions"] = fit(regions, whole, moments.experiment)
        lowest, weight = record_lows(regions, moments, whole_experiments(moments))
        if len(np.intersect1d(lowest.experiment, held)) and len(
            np.setdiff1d(lowest.experiment, held)
        ):
            stops = Stops(moments.inputs.shape[1], settings.levels, settings.width)
            at = Examples.of(lowest.inputs, lowest.log_ratio, lowest.kind, lowest.mark, weight)
            card["stops"] = fit(stops, at, lowest.experiment)
        else:  # too few experiments for it: of a trial run
            stops = Stops.of(regions.state_dict())
            card["stops"] = card["regions"]
        number = min(settings.functionals, len(moments))
        share = moments.weight / moments.weight.sum()
        some = np.sort(rng.choice(len(moments), number, replace=False, p=share))
        examples, experiment = examples_of(network, arrays, moments.rows(some), rng)
        intervals = Intervals(examples.inputs.shape[1], settings.tails, settings.width)
        card["intervals"] = fit(intervals, examples, experiment, two_sided=True)
    for name in ("regions", "stops", "intervals"):
        log.info("coverage of 90 %% %s: %s", name, card[name]["coverage"])
    return Calibration((regions, stops, intervals), card)


@dataclass(frozen=True)
class _Fit:
    epochs: int
    held: NDArray[np.int64]
    rng: Generator

    def __call__(
        self,
        network: Quantiles,
        examples: Examples,
        experiment: NDArray[np.int64],
        two_sided: bool = False,
    ) -> dict[str, Any]:
        """Learn, correct by the held-out experiments, and say how much of them is covered."""
        out = np.isin(experiment, self.held)
        # Too few to hold any back: of a trial run, whose numbers mean nothing.
        first = np.flatnonzero(~out) if (~out).any() else np.arange(len(out))
        rest = np.flatnonzero(out) if out.any() else first
        aim = network.levels if two_sided else aimed(network.levels)
        loss = learn(
            network,
            part_of(examples, first),
            self.rng,
            epochs=self.epochs,
            aim=aim,
            outwards=two_sided,
        )
        test = part_of(examples, rest)
        card = {"pinball": loss, "coverage": coverage(network, test, two_sided)}
        if not two_sided:
            conform(network, test, aim)
        return card


def aimed(levels: Tensor) -> Tensor:
    """Shares that radii of these levels are learned to hold."""
    return levels + torch.minimum(torch.full_like(levels, ABOVE), (1 - levels) / 2)


def part_of(examples: Examples, rows: NDArray) -> Examples:
    """Some rows of examples."""
    at = torch.from_numpy(rows)
    return Examples(
        examples.inputs[at],
        examples.found[at],
        examples.group[rows],
        examples.mark[rows],
        examples.weight[at],
    )


def whole_experiments(moments: Moments) -> NDArray[np.bool_]:
    """Whether the experiment of a row was kept at all ends of blocks, (n,)."""
    _, inverse, count = np.unique(moments.experiment, return_inverse=True, return_counts=True)
    return np.asarray((count > max(WHOLE, count.max() / 2))[inverse])


def record_lows(
    regions: Regions, moments: Moments, among: NDArray[np.bool_]
) -> tuple[Moments, NDArray[np.float64]]:
    """Moments at which a radius is smaller than ever before, and by how much (the logarithm)."""
    chosen = np.flatnonzero(among)
    order = chosen[np.lexsort((moments.copies[chosen], moments.experiment[chosen]))]
    sorted_ = moments.rows(order)
    at = torch.from_numpy(sorted_.inputs)
    log = regions.at(SHOWN, at) + sorted_.log_expected if len(order) else np.zeros(0)
    new = np.flatnonzero(np.diff(sorted_.experiment, prepend=-1))
    least = np.concatenate(
        [np.minimum.accumulate(part) for part in np.split(log, new[1:])] or [np.zeros(0)]
    )
    before = np.concatenate([[np.inf], least[:-1]])
    before[new] = np.inf
    lower = log < before
    # The first moment of an experiment is a record, but one of no news.
    step = np.clip(np.where(np.isfinite(before), before - log, 0), 0, 1)
    lower &= step > 0
    return sorted_.rows(np.flatnonzero(lower)), step[lower]


def conform(network: Quantiles, examples: Examples, aim: Tensor) -> None:
    """Set the offsets by held-out experiments, so that the share aimed at lies inside."""
    with torch.no_grad():
        away = numbers(examples.found)[:, None] - numbers(network(examples.inputs))
    weight = numbers(examples.weight)
    found = [conformal_quantile(away[:, k], float(p), weight) for k, p in enumerate(aim)]
    network.offsets = torch.tensor(found, dtype=torch.float32)


def conformal_quantile(
    values: NDArray[np.float64], level: float, weight: NDArray[np.float64] | None = None
) -> float:
    """The ceil((n + 1) level)-th smallest value; the largest where there are too few.

    With weights, the first value up to which they sum to ``level (n + 1) / n`` of their total.
    """
    n = len(values)
    order = np.argsort(values, kind="stable")
    total = np.cumsum(np.ones(n) if weight is None else weight[order])
    # Rounding must not ask for one more.
    wanted = level * (n + 1) / n * total[-1] * (1 - 1e-12)
    return float(values[order[min(int(np.searchsorted(total, wanted)), n - 1)]])


def coverage(network: Quantiles, examples: Examples, two_sided: bool) -> dict[str, float]:
    """Share of the examples inside of 90 %: of all, and of the groups at the edges.

    ``low`` and ``high`` are the twentieths from below and above of the shares of groups and
    decades, of the larger half of these.
    """
    found = numbers(examples.found)
    if two_sided:
        inside = (network.at((1 - SHOWN) / 2, examples.inputs) <= found) & (
            found <= network.at((1 + SHOWN) / 2, examples.inputs)
        )
    else:
        inside = found <= network.at(SHOWN, examples.inputs)
    weight = numbers(examples.weight)
    cell = examples.group * 100 + examples.mark // 4
    number, inverse = np.unique(cell, return_inverse=True)
    held = np.bincount(inverse, weight, len(number))
    share = np.bincount(inverse, inside * weight, len(number)) / held
    most = np.argsort(-held)[: max(1, len(held) // 2)]
    low, high = np.quantile(share[most], [0.05, 0.95])
    every = float((inside * weight).sum() / weight.sum())
    return {"all": every, "low": float(low), "high": float(high)}
