"""Whether the data fit a state, and one and the same from beginning to end.

First the repeats of each setting are compared with one another (`fit.repeats`): where they differ,
it drifted, whatever state fits. Then two likelihood ratios: that of the best probabilities to the
best state (goodness of fit), and that of two states, one for each half of the data, to one (drift),
where the halves can refute it. Both are tested by a parametric bootstrap with refits, since neither
follows a chi-squared law near pure states, where many outcomes are expected less than once and the
best state lies on the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError

from ..core.likelihood import TINY
from ..core.operators import to_coordinates
from .classical.likelihood import maximum_likelihood
from .fit.grouping import Grouped, group
from .fit.repeats import Repeats, compare_repeats
from .fit.tails import gamma_tail

#: Probability below which the data are said not to fit.
ALARM = 1e-3

#: Simulated data sets. Their mean and spread are used, not their extremes.
REPLICATES = 60

#: Log-likelihood that a fit may miss: little against the 1 that matters.
LIKELIHOOD_TOLERANCE = 0.02

#: Most steps of a fit. The few that would take more miss the same for data and replicates.
ITERATIONS = 1000

#: White part of the state at which a fit begins: fits need full rank.
WHITE = 1e-3


@dataclass(frozen=True)
class GoodnessOfFit:
    """Goodness of fit of a state to the data.

    Attributes
    ----------
    statistic : float
        2 sum n log(n / (N p)) at the most likely state.
    degrees_of_freedom : float
        Mean of the statistic for data of that state: what it should be about.
    p_value : float
        Probability of a statistic as large for data of a state.
    drift_statistic, drift_p_value : float or None
        The same for two states against one; None where the data cannot be cut in two halves that
        could refute two states, too.
    residuals : dict of str to float
        Contribution of each setting to the statistic less the number of its outcomes but one,
        in units of its standard deviation; of settings with the same effects, the first id.
    replicates : int
    warnings : list of str
        What the user has to know, in words; empty where all is well.
    repeats_statistic, repeats_p_value : float or None
        Of the repeats of each setting against one another; None where none was repeated.
    repeats_degrees_of_freedom : float or None
        Mean of that statistic where repeats agree.
    """

    statistic: float
    degrees_of_freedom: float
    p_value: float
    drift_statistic: float | None
    drift_p_value: float | None
    residuals: dict[str, float]
    replicates: int
    warnings: list[str] = field(default_factory=list)
    repeats_statistic: float | None = None
    repeats_degrees_of_freedom: float | None = None
    repeats_p_value: float | None = None

    @property
    def passed(self) -> bool:
        """Whether there is nothing to warn of."""
        return not self.warnings


def goodness_of_fit(
    effects: Sequence[NDArray[np.complex128]],
    counts: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    rng: Generator,
    replicates: int = REPLICATES,
) -> GoodnessOfFit:
    """Test data against the model: one state, these effects, independent copies.

    Parameters
    ----------
    effects : sequence of ndarray (k, d, d)
        Of each measurement, in the order of time; with the readout errors.
    counts : sequence of ndarray (k,)
    names : sequence of str
        Of the settings.
    rng : Generator
        Of the replicates.
    replicates : int
        Data sets to simulate.

    Raises
    ------
    InputError
        There are no data.
    """
    if not effects:
        raise InputError.expected("goodness of fit", "counts of a setting", "none yet")
    data = group(effects, counts, names)
    d = effects[0].shape[-1]
    white = torch.eye(d, dtype=torch.complex128)[None] / d
    best = _fit(data.coordinates, data.total[None], white)
    simulated = _simulate(data, best[0], rng, replicates)
    # Refits begin near the state that the replicates are drawn from.
    start = (1 - WHITE) * best + WHITE * white
    found, drift, rest = _statistics(data, data.halves[None], start)
    others, other_drifts, other_rests = _statistics(data, simulated, start)
    p = gamma_tail(float(found[0]), others)
    cut_in_two = data.halves_can_be_told_apart()
    drift_p = gamma_tail(float(drift[0]), other_drifts) if cut_in_two else None
    two_p = gamma_tail(float(rest[0]), other_rests) if cut_in_two else None
    residuals = _residuals(data, best[0], simulated)
    repeats = compare_repeats(effects, counts, names, rng)
    return GoodnessOfFit(
        statistic=float(found[0]),
        degrees_of_freedom=float(others.mean()),
        p_value=p,
        drift_statistic=float(drift[0]) if cut_in_two else None,
        drift_p_value=drift_p,
        residuals=residuals,
        replicates=replicates,
        warnings=_words(p, drift_p, two_p, residuals, repeats),
        repeats_statistic=None if repeats is None else repeats.statistic,
        repeats_degrees_of_freedom=None if repeats is None else repeats.degrees_of_freedom,
        repeats_p_value=None if repeats is None else repeats.p_value,
    )


def _fit(coordinates: Tensor, counts: NDArray[np.int64], start: Tensor) -> Tensor:
    """Most likely states (S, d, d) for counts (S, M)."""
    values = torch.from_numpy(counts.astype(np.float64))
    starts = start.expand(len(counts), *start.shape[1:])
    states, _ = maximum_likelihood(coordinates, values, starts, LIKELIHOOD_TOLERANCE, ITERATIONS)
    return states


def _log_likelihood(
    data: Grouped, counts: NDArray[np.int64], states: Tensor
) -> NDArray[np.float64]:
    p = (to_coordinates(states) @ data.coordinates.mT).clamp(min=TINY)
    return (torch.from_numpy(counts.astype(np.float64)) * p.log()).sum(-1).numpy()


def _statistics(
    data: Grouped, halves: NDArray[np.int64], start: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit of one state, two states against one, and fit of two, of data sets (S, 2, M)."""
    total = halves.sum(1)
    parts = (total, halves[:, 0], halves[:, 1])
    # All in one call: it costs as many steps as the slowest, each little dearer for more.
    states = _fit(data.coordinates, np.concatenate(parts), start)
    one, first, second = (
        _log_likelihood(data, counts, state)
        for counts, state in zip(parts, states.chunk(3), strict=True)
    )
    two = first + second
    best_of_two = _saturated(data, halves[:, 0]) + _saturated(data, halves[:, 1])
    # Each fit may miss a little of its maximum, so that the difference may come out below zero.
    return (
        2 * (_saturated(data, total) - one),
        2 * np.maximum(two - one, 0),
        2 * (best_of_two - two),
    )


def _saturated(data: Grouped, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-likelihood of the observed frequencies themselves."""
    out = np.zeros(len(counts))
    for at in data.places:
        c = counts[:, at].astype(np.float64)
        n = c.sum(1, keepdims=True)
        out += (c * np.log(np.where(c > 0, c, 1) / np.maximum(n, 1))).sum(1)
    return out


def _simulate(data: Grouped, state: Tensor, rng: Generator, replicates: int) -> NDArray[np.int64]:
    """Data sets (replicates, 2, M) of one state, with the shots of the real one."""
    p = (data.coordinates @ to_coordinates(state)).clamp(min=0).numpy()
    out = np.zeros((replicates, *data.halves.shape), np.int64)
    for at in data.places:
        share = p[at] / p[at].sum()
        for half in range(2):
            shots = int(data.halves[half, at].sum())
            out[:, half, at] = rng.multinomial(shots, share, size=replicates)
    return out


def _residuals(data: Grouped, state: Tensor, simulated: NDArray[np.int64]) -> dict[str, float]:
    """Deviation of each setting from the state, in units of that of the replicates."""
    p = (data.coordinates @ to_coordinates(state)).clamp(min=TINY).numpy()
    out = {}
    for name, at in zip(data.names, data.places, strict=True):
        share = p[at] / p[at].sum()

        def ratio(c: NDArray[np.int64], share: NDArray[np.float64] = share) -> NDArray[np.float64]:
            c = c.astype(np.float64)
            expected = c.sum(-1, keepdims=True) * share
            return 2 * (c * np.log(np.where(c > 0, c, 1) / np.where(c > 0, expected, 1))).sum(-1)

        law = ratio(simulated[:, :, at].sum(1))
        spread = max(float(law.std(ddof=1)), 1e-12)
        out[name] = float((ratio(data.total[at]) - law.mean()) / spread)
    return out


def _words(
    p: float,
    drift_p: float | None,
    two_p: float | None,
    residuals: dict[str, float],
    repeats: Repeats | None,
) -> list[str]:
    """Warnings in words. Where two states fit no better than one, it is not the drift."""
    if repeats is not None and repeats.p_value < ALARM:
        return [
            f"repeats of the same setting differ (statistic {repeats.statistic:.4g} where "
            f"{repeats.degrees_of_freedom:.3g} is expected, p = {repeats.p_value:.2g}; most in "
            f"{', '.join(repeats.worst)}): it drifted, or other settings were measured than were "
            "asked for, and estimate and region hold for no single state"
        ]
    if drift_p is not None and drift_p < ALARM and two_p is not None and two_p >= ALARM:
        return [
            f"the state of the second half of the data is not that of the first (p = "
            f"{drift_p:.2g}): it drifted, and estimate and region hold for neither"
        ]
    if p >= ALARM and (drift_p is None or drift_p >= ALARM):
        return []
    worst = sorted(residuals, key=lambda name: -residuals[name])[:3]
    unknown = (
        ""
        if drift_p is not None or repeats is not None
        else " (no setting was repeated: of drift nothing can be said)"
    )
    return [
        f"no state gives such data (p = {min(p, 1.0 if two_p is None else two_p):.2g}); they "
        f"differ most in {', '.join(worst)}. Are bases and outcomes named rightly, and readout "
        f"errors known?{unknown} What the region says of the error does not include this"
    ]
