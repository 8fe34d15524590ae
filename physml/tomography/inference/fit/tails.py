"""Probability of a statistic as large as the one found, from simulated ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

#: Two times a log-likelihood that may be missed.
ROUNDING = 0.02


def gamma_tail(value: float, simulated: NDArray[np.float64]) -> float:
    """Probability of a value as large, from a gamma law of the replicates' mean and variance.

    A sum of squares of nearly normal numbers is nearly of this form (Satterthwaite, Biometrics
    Bulletin 2, 110, 1946); and it has a tail, which sixty replicates by themselves have not.
    """
    mean, variance = float(simulated.mean()), float(simulated.var(ddof=1))
    if mean <= 0 or variance <= 0:
        return 1.0 if value <= mean + ROUNDING else 0.0
    return float(gammaincc(mean**2 / variance, max(value, 0.0) / (variance / mean)))


def p_value(value: float, simulated: NDArray[np.float64]) -> float:
    """Probability of a value as large, by the gamma law and no less than the replicates say.

    With (e + 1) / (B + 1), where e > 0 of B replicates are as large, the test is exact (Davison,
    Hinkley, Bootstrap Methods, 1997, section 4.2); where none is, the gamma law has the word.
    """
    reached = int((simulated >= value - 1e-9).sum())
    p = gamma_tail(value, simulated)
    return p if reached == 0 else max(p, (reached + 1) / (len(simulated) + 1))
