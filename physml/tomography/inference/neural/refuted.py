"""A check of the learned estimate against the likelihood of the data.

What a network has learned holds for data like those that it learned from. Whatever it says, the
data have their own likelihood: by Wilks' theorem twice the logarithm of the ratio of its maximum to
its value at the true state has at most the chi-squared law of d^2 - 1 degrees of freedom (at the
boundary of the states less). An estimate that is less likely than that allows is refuted.
"""

from __future__ import annotations

import torch
from scipy.special import chdtri
from torch import Tensor

from ...core.eigenframe import vec
from .information_filter import InformationFilter

#: Probability with which the true state would be as unlikely.
ALARM = 1e-4


def is_refuted(posterior: InformationFilter, estimate: Tensor) -> bool:
    """Whether the estimate (1, d, d) of a single experiment is too unlikely.

    The maximum is that of the filter, which is hedged and so lies lower: estimates pass rather.
    """
    states = torch.stack([posterior.matrix(), estimate], 1)
    log = posterior.log_likelihood(vec(states))[0]
    d = posterior.d
    return bool(2 * (log[0] - log[1]) > chdtri(d * d - 1, ALARM))
