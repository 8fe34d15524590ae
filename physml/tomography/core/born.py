"""Born's rule and shot noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import ArrayLike
from torch import Tensor

#: Probabilities that sum to 1 within this, and are no further below 0, are rounding errors.
_TOLERANCE = 1e-6


def probabilities(effects: Tensor, rho: Tensor) -> Tensor:
    """Probabilities of the outcomes, tr(E_k rho).

    Nothing is clamped: of matrices that are no states the numbers may be negative.

    Parameters
    ----------
    effects : Tensor (k, d, d) or (S, k, d, d)
        Common to all states, or of each state its own.
    rho : Tensor (S, d, d)

    Returns
    -------
    Tensor (S, k), float64
    """
    size = rho.shape[-1] ** 2
    # tr E rho = sum_ij conj(E_ij) rho_ij, as E is Hermitian.
    flat = rho.reshape(*rho.shape[:-2], size)
    rows = effects.conj().reshape(*effects.shape[:-2], size)
    if effects.dim() == 3:
        return (flat @ rows.mT).real
    return (rows @ flat.unsqueeze(-1)).squeeze(-1).real


def sample_counts(p: Tensor, shots: ArrayLike, rng: Generator) -> Tensor:
    """Multinomial counts of each experiment.

    Parameters
    ----------
    p : Tensor (S, k)
        Probabilities; rounding errors are removed.
    shots : int or array (S,)
        Copies measured.
    rng : Generator

    Returns
    -------
    Tensor (S, k), float64
        Whole numbers, exact up to 2^53.

    Raises
    ------
    ValueError
        Where `p` are no probabilities.
    """
    q = p.detach().cpu().numpy().astype(np.float64)
    total = q.sum(-1, keepdims=True)
    if not (np.all(q > -_TOLERANCE) and np.all(np.abs(total - 1) < _TOLERANCE)):
        raise ValueError(
            f"expected probabilities, found sums from {total.min()} to {total.max()} "
            f"and a smallest one of {q.min()}"
        )
    q = np.clip(q, 0, None)
    q /= q.sum(-1, keepdims=True)
    counts = rng.multinomial(np.asarray(shots, np.int64), q)
    return torch.from_numpy(counts.astype(np.float64)).to(p.device)


def drift(rho0: Tensor, rho1: Tensor, n: int) -> Tensor:
    """States of a source that changes steadily from one state into another.

    Parameters
    ----------
    rho0, rho1 : Tensor (S, d, d)
    n : int
        Number of steps; the first is `rho0`, the last (if n > 1) `rho1`.

    Returns
    -------
    Tensor (n, S, d, d)
        Convex mixtures, hence states.
    """
    if n < 1:
        raise ValueError(f"expected at least one step, got {n}")
    t = torch.linspace(0, 1, n, dtype=torch.float64, device=rho0.device)
    t = t.reshape(n, *[1] * rho0.dim())
    return (1 - t) * rho0 + t * rho1
