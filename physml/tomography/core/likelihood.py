"""Likelihood and Fisher information of counts, in real coordinates.

An effect E and a state rho have the coordinates g and x in an orthonormal basis of Hermitian
matrices, so that the Born rule is the real product p = g . x.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Smallest probability whose logarithm is taken: only outcomes that were seen although the state
#: forbids them get there, and their likelihood is as good as nil.
TINY = 1e-300
#: Numbers held at once: what fits into the caches is fastest.
CHUNK = 2_000_000


def log_likelihood(coordinates: Tensor, counts: Tensor, states: Tensor) -> Tensor:
    """Logarithm of the likelihood, without the multinomial factor that no state depends on.

    Parameters
    ----------
    coordinates : Tensor (S, M, d * d)
        Of the effects.
    counts : Tensor (S, M)
    states : Tensor (S, P, d * d)
        Coordinates of P states an experiment.

    Returns
    -------
    Tensor (S, P)
    """
    size = max(1, CHUNK // max(1, states.shape[1] * coordinates.shape[1]))
    parts = zip(coordinates.split(size), counts.split(size), states.split(size), strict=True)
    return torch.cat([_log_likelihood(g, n, x) for g, n, x in parts])


def _log_likelihood(g: Tensor, counts: Tensor, states: Tensor) -> Tensor:
    logarithm = torch.baddbmm(torch.zeros(1, 1, 1, dtype=states.dtype), states, g.mT, beta=0)
    logarithm.clamp_(min=TINY).log_()
    return torch.bmm(logarithm, counts[..., None])[..., 0]


def fisher_information(coordinates: Tensor, shots: Tensor | float, state: Tensor) -> Tensor:
    """Information on the coordinates of the state but the first, which the trace fixes.

    Parameters
    ----------
    coordinates : Tensor (..., M, d * d)
        Of the effects.
    shots : Tensor (..., M) or float
        Copies spent on the measurement of each outcome.
    state : Tensor (..., d * d)
        Coordinates of a state of full rank; leading axes are broadcast.

    Returns
    -------
    Tensor (..., d * d - 1, d * d - 1)
        Sum of n g g^T / p.
    """
    p = (coordinates @ state[..., None])[..., 0].clamp(min=TINY)
    g = coordinates[..., 1:]
    return g.mT @ (g * (shots / p)[..., None])
