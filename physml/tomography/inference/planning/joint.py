"""Several settings planned together: which bases, and how many copies in each.

With nothing measured in between, a plan can only count on what is expected. Settings with
information F_i on the coordinates of the state and n_i copies take the precision P of what is known
to P + sum_i n_i F_i; the plan with the smallest trace of G (P + sum_i n_i F_i)^-1, where G is the
metric of the infidelity at the estimate, is A-optimal. Bases are chosen greedily, as if each had
been measured already when the next is chosen, and each is then exchanged for what is best beside
the others; the copies are shared out among them by the multiplicative algorithm, which converges to
the optimal shares, and bases that come out with next to nothing give their place to others.

Greedy designs: Nemhauser, Wolsey, Fisher, Math. Program. 14, 265 (1978). Multiplicative algorithm:
Silvey, Titterington, Torsney, Commun. Stat. A 7, 1379 (1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.basis_choice import infidelity_metric
from ...core.operators import to_coordinates

#: Steps of the multiplicative algorithm.
STEPS = 40
#: Rounds in which bases with few copies give their place to others, and the share of an even
#: allocation that is few.
EXCHANGES, FEW = 2, 0.2
#: Copies' worth of white noise in the state that is designed for: an eigenvalue that is estimated
#: as zero is no reason not to look.
WHITE = 8.0
#: Relative difference below which gains are the same.
SAME = 1e-9
#: Variance of the coordinates before any data: that of Hilbert-Schmidt states of two qubits.
PRIOR_VARIANCE = 0.0147


@dataclass(frozen=True)
class Plan:
    """Settings of S experiments, to be measured in any order.

    Attributes
    ----------
    chosen : Tensor (S, k), int64
        Candidates; none twice.
    copies : Tensor (S, k)
        Real numbers that sum to the copies to spend.
    expected : Tensor (S,)
        Infidelity that is expected to be left.
    """

    chosen: Tensor
    copies: Tensor
    expected: Tensor


def designed_for(rho: Tensor, copies: float) -> Tensor:
    """States (S, d, d) to design for: the estimates, no eigenvalue of them quite zero."""
    d = rho.shape[-1]
    share = d * WHITE / (copies + 2 * d * WHITE + 10)
    return (1 - share) * rho + share / d * torch.eye(d, dtype=rho.dtype)


def prior_precision(n_states: int, d: int) -> Tensor:
    """Precision (S, d * d - 1, d * d - 1) of the coordinates before any data."""
    size = d * d - 1
    return torch.eye(size, dtype=torch.float64).expand(n_states, size, size) / PRIOR_VARIANCE


def plan(effects: Tensor, rho: Tensor, precision: Tensor, copies: float, settings: int) -> Plan:
    """Choose settings and share out the copies.

    Parameters
    ----------
    effects : Tensor (S, m, k, d, d)
        Of the candidates of each experiment.
    rho : Tensor (S, d, d)
        States to design for, of full rank.
    precision : Tensor (S, d * d - 1, d * d - 1)
        Of the coordinates, by the data so far and the prior.
    copies : float
        To be spent.
    settings : int
        Most settings, from 1 on; fewer where candidates are fewer.
    """
    g = to_coordinates(effects)
    p = (g @ to_coordinates(rho)[:, None, :, None])[..., 0].clamp(min=1e-12)
    g = g[..., 1:]
    information = g.mT @ (g / p[..., None])  # (S, m, D, D), of one copy
    metric = infidelity_metric(rho)
    k = min(settings, information.shape[1])
    even = copies / k
    chosen = _greedy(information, metric, precision, even, k)
    chosen = _exchange(information, metric, precision, even, chosen)
    shares, left = _share_out(_take(information, chosen), metric, precision, copies)
    for _ in range(EXCHANGES if k > 1 else 0):
        kept = shares >= FEW * even
        again = _greedy(information, metric, precision, even, k, chosen, shares * kept)
        new_shares, new_left = _share_out(_take(information, again), metric, precision, copies)
        better = new_left < left
        chosen = torch.where(better[:, None], again, chosen)
        shares = torch.where(better[:, None], new_shares, shares)
        left = torch.where(better, new_left, left)
    return Plan(chosen, shares, left)


def _take(information: Tensor, chosen: Tensor) -> Tensor:
    rows = torch.arange(len(chosen))[:, None]
    return information[rows, chosen]


def _greedy(
    information: Tensor,
    metric: Tensor,
    precision: Tensor,
    shots: float,
    k: int,
    before: Tensor | None = None,
    copies: Tensor | None = None,
) -> Tensor:
    """Candidates (S, k), one after the other; those of before with copies keep their places."""
    n_states, m = information.shape[:2]
    rows = torch.arange(n_states)
    now = precision.clone()
    used = torch.zeros(n_states, m, dtype=torch.bool)
    out = torch.zeros(n_states, k, dtype=torch.int64)
    kept = torch.zeros(n_states, k, dtype=torch.bool)
    if before is not None and copies is not None:
        kept = copies > 0
        out = torch.where(kept, before, out)
        now = now + (_take(information, before) * copies[..., None, None]).sum(1)
        used[rows[:, None].expand_as(before)[kept], before[kept]] = True
    for place in range(k):
        covariance = torch.linalg.inv(now)
        gain = _gains(information, metric, covariance, shots)
        best = _first_best(gain.masked_fill(used, -torch.inf))
        free = ~kept[:, place]
        out[:, place] = torch.where(free, best, out[:, place])
        used[rows[free], best[free]] = True
        now = now + free[:, None, None] * shots * information[rows, best]
    return out


def _exchange(
    information: Tensor, metric: Tensor, precision: Tensor, shots: float, chosen: Tensor
) -> Tensor:
    """Each choice in turn replaced by the best beside the others (S, k)."""
    n_states, m = information.shape[:2]
    rows = torch.arange(n_states)
    out = chosen.clone()
    now = precision + shots * _take(information, out).sum(1)
    used = torch.zeros(n_states, m, dtype=torch.bool)
    used[rows[:, None].expand_as(out), out] = True
    for place in range(out.shape[1] if out.shape[1] < m else 0):
        old = out[:, place]
        used[rows, old] = False
        now = now - shots * information[rows, old]
        gain = _gains(information, metric, torch.linalg.inv(now), shots)
        new = _first_best(gain.masked_fill(used, -torch.inf))
        out[:, place] = new
        used[rows, new] = True
        now = now + shots * information[rows, new]
    return out


def _first_best(gain: Tensor) -> Tensor:
    """First candidate (S,) of those that gain the most, to rounding.

    All gain the same where nothing is known yet; which of them a processor's rounding prefers must
    not decide the plan.
    """
    most = gain.amax(-1, keepdim=True)
    return (gain >= most - SAME * most.abs()).int().argmax(-1)


def _gains(information: Tensor, metric: Tensor, covariance: Tensor, shots: float) -> Tensor:
    """Fall (S, m) of tr(G C) by so many copies in each candidate."""
    after = torch.linalg.inv(torch.linalg.inv(covariance)[:, None] + shots * information)
    before = (metric * covariance).sum((-2, -1))
    return before[:, None] - (metric[:, None] * after).sum((-2, -1))


def _share_out(
    information: Tensor, metric: Tensor, precision: Tensor, copies: float
) -> tuple[Tensor, Tensor]:
    """Copies (S, k) of chosen settings (S, k, D, D), and the expected infidelity (S,)."""
    k = information.shape[1]
    shares = torch.full(information.shape[:2], copies / k, dtype=torch.float64)
    for _ in range(STEPS):
        covariance = torch.linalg.inv(precision + (shares[..., None, None] * information).sum(1))
        slope = covariance @ metric @ covariance
        worth = (information * slope[:, None]).sum((-2, -1)).clamp(min=0)
        new = shares * worth.sqrt()
        shares = copies * new / new.sum(-1, keepdim=True)
    covariance = torch.linalg.inv(precision + (shares[..., None, None] * information).sum(1))
    return shares, (metric * covariance).sum((-2, -1))
