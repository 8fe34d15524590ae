r"""Cavity, isobaric structure or shock, from a soft and a hard image of the same place.

After the X-ray arithmetic of Churazov et al. (2016, MNRAS 463, 1057; and Arevalo et al. 2016, ApJ
818, 14): a volume without gas takes the same share of the counts from both bands. Gas that is
thinner and hotter in pressure equilibrium takes more from the soft band, gas that is thinner and
cooler (rarefied as by a wave) more from the hard one. With the density x of the structure over that
of its surroundings, and Lambda the emission of a band at a temperature::

    D_band ~ 1 - x^2 Lambda(T') / Lambda(T),   T' = T / x  or  T x^(2/3)

up to the share of the line of sight that the structure fills, which both bands have in common.
For each hypothesis the likelihood of the counts is integrated over the soft decrement (flat from 0
to 1), over x (flat in `DENSITY`), over the scale of the smooth model in each band, known from the
gas beside it and to `SYSTEMATIC`, over structure of the gas that both bands see alike (`COMMON`),
and over the background where it is not known. All three hypotheses are as likely beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from ..core.plasma import KINDS, Band, emission_change
from .aperture import Aperture

#: Names of the hypotheses, in the order of the columns.
HYPOTHESES = ("cavity", *KINDS)
#: Verdict where no hypothesis has `SURE`.
UNKNOWN = "cannot be told"
#: Least probability of a verdict.
SURE = 0.8
#: Range of the density of a structure over that of its surroundings.
DENSITY = (0.4, 0.95)
#: Relative errors of a band's smooth model within an outline, after it is scaled beside it, and how
#: often each is met: nearly always small, now and then large, where structures crowd. Fitted by
#: `learning.band_pairs`.
SYSTEMATIC = ((0.01, 0.8), (0.1, 0.2))
#: Deviation of the gas that is the same in both bands, as a decrement.
COMMON = 0.03
#: Nodes over the share of a background that is not known.
SHARES = 24
_GRID = np.linspace(-0.3, 1.0, 521)


@dataclass(frozen=True)
class Verdict:
    """Probabilities of the kinds of one structure, by two bands.

    Attributes
    ----------
    decrement, decrement_err : tuple of float
        Share of the counts that is missing, soft and hard, and its error.
    probability : dict of float
        By hypothesis.
    verdict : str
        A hypothesis, or `UNKNOWN`.
    """

    decrement: tuple[float, float]
    decrement_err: tuple[float, float]
    probability: dict[str, float]
    verdict: str


def decrement_likelihood(aperture: Aperture, systematic: float) -> NDArray[np.float64]:
    """Logarithm of the likelihood of a decrement, on `_GRID`, shape (g,).

    Parameters
    ----------
    aperture : Aperture
        Counts within the outline and beside it.
    systematic : float
        Relative error of the model's scale.
    """
    # A Poisson number whose mean is known to a relative error, as a gamma distribution: the
    # negative binomial distribution of 1 / error^2 successes.
    successes = 1 / (1 / max(aperture.control, 1.0) + systematic**2)
    if np.isfinite(aperture.background):
        shares, weights = np.array([aperture.background / max(aperture.model, 1e-9)]), np.ones(1)
    else:  # anything up to where the model is faintest
        unit, weights = np.polynomial.legendre.leggauss(SHARES)
        shares = 0.5 * (unit + 1) * aperture.faintest
    shares = shares.clip(0, 1)[:, None]
    left = (1 - shares) * (1 - _GRID) + shares
    mean = np.maximum(aperture.scale * aperture.model * left, 1e-9)
    n = max(aperture.counts, 0.0)
    logs = (
        gammaln(n + successes)
        - gammaln(n + 1)
        - gammaln(successes)
        - successes * np.log1p(mean / successes)
        + n * np.log(mean / (mean + successes))
    )
    return np.asarray(logsumexp(logs + np.log(weights / weights.sum())[:, None], axis=0))


def decide(
    soft: Aperture,
    hard: Aperture,
    bands: tuple[Band, Band],
    systematic: Sequence[tuple[float, float]] = SYSTEMATIC,
    common: float = COMMON,
) -> Verdict:
    """Compare the three hypotheses for one structure.

    Parameters
    ----------
    soft, hard : Aperture
        Counts of both bands within one outline.
    bands : tuple of Band
        Soft and hard: how their emission depends on temperature.
    systematic, common : float
        See the constants.
    """
    parts, evidence = [], []
    for error, share in systematic:
        logs = [decrement_likelihood(a, error) for a in (soft, hard)]
        parts.append(logs)
        evidence.append(np.log(share) + hypothesis_evidence(logs, bands, common))
    total = logsumexp(evidence, axis=0)
    posterior = np.exp(total - logsumexp(total))
    probability = {name: float(p) for name, p in zip(HYPOTHESES, posterior, strict=True)}
    best = max(probability, key=lambda name: probability[name])
    shares = np.log([share for _, share in systematic])
    (a, a_err), (b, b_err) = (
        _moments(np.asarray(logsumexp([p[k] for p in parts] + shares[:, None], axis=0)))
        for k in range(2)
    )
    verdict = best if probability[best] >= SURE else UNKNOWN
    return Verdict((a, b), (a_err, b_err), probability, verdict)


def hypothesis_evidence(
    logs: list[NDArray[np.float64]], bands: tuple[Band, Band], common: float = COMMON
) -> NDArray[np.float64]:
    """Logarithm of the evidence of each of `HYPOTHESES`, up to one constant, shape (3,).

    Parameters
    ----------
    logs : list of ndarray, shape (g,)
        From `decrement_likelihood`, soft and hard.
    bands : tuple of Band
    common : float
    """
    unit, weights = np.polynomial.legendre.leggauss(8)
    density = 0.5 * (DENSITY[1] - DENSITY[0]) * (unit + 1) + DENSITY[0]
    offset, offset_weights = np.polynomial.hermite_e.hermegauss(7)
    soft = np.linspace(0.0, 1.0, 201)
    out = []
    for name in HYPOTHESES:
        if name == "cavity":
            ratios, ratio_weights = np.ones(1), np.ones(1)
        else:
            change = [1 - emission_change(band, name, density) for band in bands]
            ratios, ratio_weights = change[1] / change[0], weights / weights.sum()
        # Axes: soft decrement, density, offset.
        d_soft = soft[:, None, None] + common * offset
        d_hard = soft[:, None, None] * ratios[None, :, None] + common * offset
        likelihood = np.interp(d_soft, _GRID, logs[0]) + np.interp(d_hard, _GRID, logs[1])
        weight = np.log(ratio_weights)[None, :, None] + np.log(offset_weights)
        out.append(logsumexp(likelihood + weight))
    return np.array(out)


def _moments(log: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of a decrement, flat prior on the grid."""
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = float((weight * _GRID).sum())
    return mean, float(np.sqrt((weight * (_GRID - mean) ** 2).sum()))
