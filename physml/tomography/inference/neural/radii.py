"""Radii of regions: conditional quantiles of how wrong an estimate is, learned and then corrected.

How far truth is from an estimate, in units of what the corrector expects, has a distribution that
depends on the number of copies, on the spectrum and on what was measured. A small network learns
its quantiles of several levels at once, by the pinball loss [1]; they increase with the level by
construction. Ensembles are pushed to equal coverage as far as data tell them apart. What is still
wrong on average is taken off at each number of copies by the conformal quantile of held-out
experiments [2, 3].

References
----------
[1] Koenker & Bassett, Econometrica 46, 33 (1978). [2] Romano, Patterson & Candes, NeurIPS (2019).
[3] Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .moments import Moments

WIDTH = 64
#: A radius is at least this share of the expected infidelity, and at least this.
SMALLEST = 1e-16


class Regions(nn.Module):
    """Radii of balls about estimates, in infidelity.

    Parameters
    ----------
    n_inputs : int
        Numbers that `moments.inputs_of` gives.
    levels : Tensor
        In (0, 1), increasing.
    n_copies, bins : int
        Size of the table of corrections.
    width : int
        Of both hidden layers.

    Attributes
    ----------
    levels : Tensor (q,)
    copies : Tensor (m,)
        Numbers of copies of the table, increasing.
    mixedness : Tensor (m, b)
        Middles of its bins; see `mixedness`.
    offsets : Tensor (m, b, q)
        What the table adds to the logarithm of a quantile.
    """

    part = "regions."
    levels: Tensor
    copies: Tensor
    mixedness: Tensor
    offsets: Tensor
    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        n_inputs: int,
        levels: Sequence[float],
        n_copies: int = 1,
        bins: int = 1,
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        q = len(levels)
        self.first = nn.Linear(n_inputs, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, q)
        nn.init.zeros_(self.last.weight)
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
        self.register_buffer("shift", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))
        self.register_buffer("low", torch.full((n_inputs,), -torch.inf))
        self.register_buffer("high", torch.full((n_inputs,), torch.inf))
        self.register_buffer("copies", 10.0 ** torch.arange(n_copies, dtype=torch.float32))
        self.register_buffer("mixedness", torch.arange(float(bins)).repeat(n_copies, 1))
        self.register_buffer("offsets", torch.zeros(n_copies, bins, q))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Regions:
        """From the tensors of `state_dict`, which tell all sizes.

        Raises
        ------
        KeyError, RuntimeError
            They do not belong together.
        """
        width, n_inputs = tensors["first.weight"].shape
        n_copies, bins, _ = tensors["offsets"].shape
        made = cls(n_inputs, tensors["levels"].tolist(), n_copies, bins, width)
        made.load_state_dict(dict(tensors))
        return made.eval().requires_grad_(False)

    def standardise(self, inputs: Tensor) -> None:
        """Fix origin, unit and range of the inputs from a sample (n, f).

        Beyond its range an input counts as at its end: nothing was learned out there.
        """
        self.shift.copy_(inputs.mean(0))
        self.scale.copy_(inputs.std(0).clamp(min=1e-2))
        self.low.copy_(inputs.min(0).values)
        self.high.copy_(inputs.max(0).values)

    def start_from(self, log_ratio: NDArray) -> None:
        """Begin with the quantiles of all together."""
        q = torch.as_tensor(np.quantile(log_ratio, _numbers(self.levels)), dtype=torch.float32)
        steps = torch.diff(q).clamp(min=1e-3)
        with torch.no_grad():
            self.last.bias.copy_(torch.cat([q[:1], steps.expm1().log()]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logarithms (S, q) of the quantiles of the infidelity over its expectation, uncorrected.

        They increase along the levels.
        """
        x = torch.minimum(torch.maximum(inputs, self.low), self.high)
        x = ((x - self.shift) / self.scale).clamp(-6, 6)
        x = nn.functional.silu(self.second(nn.functional.silu(self.first(x))))
        first, steps = self.last(x).split([1, len(self.levels) - 1], -1)
        return torch.cat([first, first + nn.functional.softplus(steps).cumsum(-1)], -1)

    def quantiles(self, inputs: Tensor, copies: Tensor, values: Tensor) -> NDArray[np.float64]:
        """The same (S, q) with the corrections of the table, never decreasing along the levels."""
        with torch.no_grad():
            out = _numbers(self(inputs.to(self.shift.device)))
        out += self.correction(copies.numpy(), mixedness(values.numpy(), copies.numpy()))
        return np.maximum.accumulate(out, -1)

    def correction(self, copies: NDArray, mixed: NDArray) -> NDArray[np.float64]:
        """Offsets (S, q), linear in mixedness and in the logarithm of the copies."""
        table = np.log(_numbers(self.copies))
        at = np.interp(np.log(np.maximum(copies, 1)), table, np.arange(len(table)))
        low = np.clip(at.astype(int), 0, max(len(table) - 2, 0))
        high = np.minimum(low + 1, len(table) - 1)
        part = (at - low)[:, None]
        return (1 - part) * self._row(low, mixed) + part * self._row(high, mixed)

    def _row(self, row: NDArray, mixed: NDArray) -> NDArray[np.float64]:
        middles, offsets = _numbers(self.mixedness), _numbers(self.offsets)
        out = np.empty((len(row), offsets.shape[2]))
        for k in np.unique(row):
            own = row == k
            for j in range(offsets.shape[2]):
                out[own, j] = np.interp(mixed[own], middles[k], offsets[k, :, j])
        return out

    def radius(
        self, level: float, inputs: Tensor, log_expected: Tensor, copies: Tensor, values: Tensor
    ) -> NDArray[np.float64]:
        """Infidelity (S,) from the estimate that is not exceeded with this probability.

        Parameters
        ----------
        level : float
            In (0, 1). Between the levels of the table, and beyond the outermost two, the logarithm
            of the quantile is linear in the logit.
        inputs : Tensor (S, f)
            See `moments.inputs_of`.
        log_expected : Tensor (S,)
            Of the infidelity.
        copies : Tensor (S,)
        values : Tensor (S, d)
            Corrected eigenvalues.
        """
        found = self.quantiles(inputs, copies, values)
        at, x = logit(_numbers(self.levels)), float(logit(level))
        k = int(np.clip(np.searchsorted(at, x), 1, len(at) - 1))
        part = (x - at[k - 1]) / (at[k] - at[k - 1])
        log = found[:, k - 1] + part * (found[:, k] - found[:, k - 1])
        return np.clip(np.exp(log + log_expected.numpy()), SMALLEST, 1.0)


def _numbers(x: Tensor) -> NDArray[np.float64]:
    """Numbers of a tensor on any device."""
    return np.asarray(x.detach().cpu().numpy(), np.float64)


def mixedness(values: NDArray, copies: NDArray) -> NDArray[np.float64]:
    """log10 of the copies that fell into other eigenvectors than the first, plus one, (S,)."""
    rest = np.clip(1 - values.max(-1), 0, 1)
    return np.asarray(np.log10(1 + rest * copies))


def logit(p: NDArray | float) -> NDArray[np.float64]:
    """Logarithm of the odds."""
    p = np.asarray(p, float)
    return np.asarray(np.log(p / (1 - p)))


def pinball(quantiles: Tensor, found: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss (n, q) of quantiles (n, q) for what was found (n,)."""
    away = found[:, None] - quantiles
    return torch.maximum(levels * away, (levels - 1) * away)


class Balance:
    """Multipliers that push groups of states to the same coverage.

    Where data cannot tell two ensembles apart, no radius is right for each of them; but what they
    tell can be used as far as it goes. The share of each group inside its quantiles is constrained
    to the level: to the pinball loss comes minus a multiplier times the share, smoothed, and
    multipliers grow by what is missing (dual ascent). The smoothed share is flat far from the
    quantile, so that no group can push a radius away without end.

    Parameters
    ----------
    groups : ndarray (n,), int64
        Group of each moment.
    marks : ndarray (n,), int64
        Number of its mark; shares are smoothed over neighbours.
    levels : Tensor (q,)
    rate : float
        Growth of a multiplier for a share that is missing, an epoch.
    """

    SMOOTH = 0.15
    MOST = 1.0
    KERNEL = (0.5, 1.0, 1.0, 1.0, 0.5)

    def __init__(self, groups: NDArray, marks: NDArray, levels: Tensor, rate: float) -> None:
        self.size = int(groups.max()) + 1, int(marks.max()) + 1
        self.cell = torch.from_numpy(groups * self.size[1] + marks)
        self.levels, self.rate = levels, rate
        n_cells = self.size[0] * self.size[1]
        self.multiplier = torch.zeros(n_cells, len(levels))
        self.number = self._near(torch.bincount(self.cell, minlength=n_cells).float()[:, None])
        self.hits = torch.zeros(n_cells, len(levels))

    def __call__(self, rows: NDArray, quantiles: Tensor, found: Tensor) -> Tensor:
        """Term to add to the loss (n, q) of these rows."""
        cell, away = self.cell[rows], quantiles - found[:, None]
        self.hits.index_add_(0, cell, (away.detach() >= 0).float())
        return -self.multiplier[cell] * torch.sigmoid(away / self.SMOOTH)

    def step(self) -> None:
        """Change the multipliers at the end of an epoch."""
        missing = self.levels - self._near(self.hits) / self.number.clamp(min=1)
        missing = torch.where(self.number > 0, missing, torch.zeros_like(missing))
        self.multiplier = (self.multiplier + self.rate * missing).clamp(-self.MOST, self.MOST)
        self.hits = torch.zeros_like(self.hits)

    def _near(self, x: Tensor) -> Tensor:
        """Sums over neighbouring marks, with weights."""
        x = x.reshape(*self.size, -1).movedim(1, -1)
        wide = len(self.KERNEL) // 2
        padded = nn.functional.pad(x, (wide, wide), mode="replicate")
        out = sum(w * padded[..., i : i + x.shape[-1]] for i, w in enumerate(self.KERNEL))
        assert isinstance(out, Tensor)
        return out.movedim(-1, 1).flatten(0, 1)


def learn(
    regions: Regions,
    moments: Moments,
    rng: np.random.Generator,
    *,
    epochs: int,
    balance: float = 0.0,
    batch: int = 4096,
    rate: float = 3e-3,
    decay: float = 1e-3,
    average: float = 0.99,
) -> float:
    """Fit the network.

    Parameters
    ----------
    regions : Regions
        Fresh; changed in place. Its table stays zero.
    moments : Moments
    rng : Generator
        Order of the rows.
    epochs, batch : int
    balance : float
        Rate of the multipliers; see `Balance`.
    rate, decay : float
        Peak learning rate and weight decay of AdamW.
    average : float
        Of the running mean of the weights, a step.

    Returns
    -------
    float
        Mean pinball loss of the last epoch.
    """
    x, y = torch.from_numpy(moments.inputs), torch.from_numpy(moments.log_ratio).float()
    regions.standardise(x)
    regions.start_from(moments.log_ratio)
    regions.train().requires_grad_(True)
    steps = max(1, len(x) // batch)
    optimiser = torch.optim.AdamW(regions.parameters(), lr=rate, weight_decay=decay)
    # The rise of the rate needs two steps at least, however few there are.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=max(epochs * steps, 20), pct_start=0.1
    )
    marks = np.unique(moments.copies, return_inverse=True)[1]
    push = Balance(moments.group, marks, regions.levels, balance)
    mean = [p.detach().clone() for p in regions.parameters()]
    last = 0.0
    for _ in range(epochs):
        last = 0.0
        for rows in np.array_split(rng.permutation(len(x)), steps):
            found = regions(x[rows])
            loss = pinball(found, y[rows], regions.levels)
            last += loss.mean().item() / steps
            optimiser.zero_grad()
            (loss + push(rows, found, y[rows])).mean().backward()
            nn.utils.clip_grad_norm_(regions.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            for kept, new in zip(mean, regions.parameters(), strict=True):
                kept.lerp_(new.detach(), 1 - average)
        push.step()
    with torch.no_grad():
        for kept, new in zip(mean, regions.parameters(), strict=True):
            new.copy_(kept)
    regions.eval().requires_grad_(False)
    return last
