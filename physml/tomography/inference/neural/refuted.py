"""A check of the learned estimate against the likelihood of the data.

What a network has learned holds for data like those that it learned from. Whatever it says, the
data have their own likelihood: by Wilks' theorem twice the logarithm of the ratio of its maximum to
its value at the true state has at most the chi-squared law of d^2 - 1 degrees of freedom (at the
boundary of the states less). An estimate that is less likely than that allows is refuted. Those of
the families of the training are far from it: their deviance has a median below 1 and its 99.9 %
quantile is below 17 in all designs with bases (two qubits).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import chdtri
from torch import Tensor

from ...core.eigenframe import unvec
from ...core.operators import to_coordinates
from ..classical.likelihood import maximum_likelihood
from .information_filter import InformationFilter
from .single_filter import vec

#: Probability with which the true state would be as unlikely; 22.3 for two qubits.
ALARM = 0.1
#: White part of the state at which the search for the maximum begins.
WHITE = 1e-3


@lru_cache(maxsize=8)
def largest(d: int) -> float:
    """Largest deviance that is believed."""
    return float(chdtri(d * d - 1, ALARM))


def is_refuted(posterior: InformationFilter, estimate: NDArray[np.complex128]) -> bool:
    """Whether the estimate (d, d) of a single experiment is too unlikely.

    The maximum is that of the filter, which is hedged and so lies lower: estimates pass rather.
    """
    return deviance(posterior, estimate) > largest(posterior.d)


def deviance(posterior: InformationFilter, estimate: NDArray[np.complex128]) -> float:
    """Twice the log-likelihood of a single experiment at its filter's maximum, less that at (d, d).

    In numpy, as all of a single experiment is: this is part of each estimate.
    """
    record, now = posterior.single
    hedged = (now.vectors * now.values) @ now.vectors.conj().T
    x = vec(np.stack([hedged, estimate])).T
    log = record.counts @ np.log(np.maximum(record.rows @ x, 1e-300))
    log = log + posterior.folded(x)
    return float(2 * (log[0] - log[1]))


def most_likely(posterior: InformationFilter) -> Tensor:
    """Maximum (1, d, d) of the likelihood of a single experiment, not hedged."""
    rows, counts = posterior.record()
    coordinates = to_coordinates(unvec(rows))
    d = posterior.d
    white = torch.eye(d, dtype=torch.complex128) / d
    start = (1 - WHITE) * posterior.matrix() + WHITE * white
    return maximum_likelihood(coordinates, counts, start)[0]
