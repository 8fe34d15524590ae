"""Training of quantiles so that they hold for every kind of state, as far as data tell kinds apart.

Where data cannot tell two kinds of states apart, no quantile is right for each of them; but what
they tell can be used as far as it goes. To the pinball loss comes, for each group, a multiplier
times the share of the group beyond the quantile, smoothed, and multipliers grow by what is missing
to the level (dual ascent). The smoothed share is flat far from the quantile, so that no group can
push a quantile away without end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..inference.neural.quantiles import Quantiles, numbers

#: Width over which a share is smoothed, in the unit of what the quantiles are of.
SMOOTH = 0.15
#: Largest multiplier, and its growth for a share that is missing, an epoch.
MOST, RATE = 4.0, 1.0
#: Weights of neighbouring marks in the shares.
KERNEL = (0.5, 1.0, 1.0, 1.0, 0.5)
#: Steps an epoch at least, where there are enough rows for steps of that many.
STEPS, FEWEST = 25, 256
#: Rows a step, peak learning rate and weight decay of AdamW, running mean of the weights a step.
BATCH, LEARNING_RATE, DECAY, AVERAGE = 4_096, 3e-3, 1e-3, 0.99


def pinball(quantiles: Tensor, found: Tensor, levels: Tensor) -> Tensor:
    """Pinball loss (n, q) of quantiles (n, q) for what was found (n,)."""
    away = found[:, None] - quantiles
    return torch.maximum(levels * away, (levels - 1) * away)


@dataclass(frozen=True)
class Examples:
    """Examples that quantiles are learned from, a row each.

    Attributes
    ----------
    inputs : Tensor (n, f), float32
    found : Tensor (n,), float32
    group : ndarray (n,), int64
        Kind of state, design and so on: what should be covered alike.
    mark : ndarray (n,), int64
        Place on the axis of the copies; shares are smoothed along it.
    weight : Tensor (n,), float32
        Of the row.
    """

    inputs: Tensor
    found: Tensor
    group: NDArray[np.int64]
    mark: NDArray[np.int64]
    weight: Tensor

    @classmethod
    def of(
        cls,
        inputs: NDArray,
        found: NDArray,
        group: NDArray[np.int64],
        mark: NDArray[np.int64],
        weight: NDArray | None = None,
    ) -> Examples:
        """Examples of arrays; groups are numbered anew, weights are one where none are given."""
        ones = np.ones(len(found)) if weight is None else weight / weight.mean()
        return cls(
            torch.from_numpy(np.ascontiguousarray(inputs, np.float32)),
            torch.from_numpy(np.ascontiguousarray(found, np.float32)),
            np.unique(group, return_inverse=True)[1],
            mark,
            torch.from_numpy(ones.astype(np.float32)),
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.found)


class Balance:
    """Multipliers of groups.

    Parameters
    ----------
    examples : Examples
    levels : Tensor (q,)
        That the shares are pushed to.
    outwards : bool
        Push quantiles below a half down and others up, never back: of intervals, whose two ends
        are not to miss.
    """

    def __init__(self, examples: Examples, levels: Tensor, outwards: bool) -> None:
        self.size = int(examples.group.max()) + 1, int(examples.mark.max()) + 1
        self.cell = torch.from_numpy(examples.group * self.size[1] + examples.mark)
        self.levels = levels
        least = torch.where(levels > 0.5, 0.0, -MOST) if outwards else -MOST
        most = torch.where(levels > 0.5, MOST, 0.0) if outwards else MOST
        self.least, self.most = torch.as_tensor(least), torch.as_tensor(most)
        cells = self.size[0] * self.size[1]
        self.multiplier = torch.zeros(cells, len(levels))
        self.weight = examples.weight
        held = torch.bincount(self.cell, self.weight, minlength=cells).float()
        self.number = self._near(held[:, None])
        self.hits = torch.zeros(cells, len(levels))

    def __call__(self, rows: NDArray, quantiles: Tensor, found: Tensor) -> Tensor:
        """Term to add to the loss (n, q) of these rows."""
        cell, away = self.cell[rows], quantiles - found[:, None]
        self.hits.index_add_(0, cell, (away.detach() >= 0).float() * self.weight[rows, None])
        return -self.multiplier[cell] * torch.sigmoid(away / SMOOTH)

    def step(self) -> None:
        """Change the multipliers at the end of an epoch."""
        missing = self.levels - self._near(self.hits) / self.number.clamp(min=1e-6)
        missing = torch.where(self.number > 0, missing, torch.zeros_like(missing))
        moved = self.multiplier + RATE * missing
        self.multiplier = torch.minimum(torch.maximum(moved, self.least), self.most)
        self.hits = torch.zeros_like(self.hits)

    def _near(self, x: Tensor) -> Tensor:
        """Sums over neighbouring marks, with weights."""
        x = x.reshape(*self.size, -1).movedim(1, -1)
        wide = len(KERNEL) // 2
        padded = nn.functional.pad(x, (wide, wide), mode="replicate")
        out = sum(w * padded[..., i : i + x.shape[-1]] for i, w in enumerate(KERNEL))
        assert isinstance(out, Tensor)
        return out.movedim(-1, 1).flatten(0, 1)


def learn(
    network: Quantiles,
    examples: Examples,
    rng: np.random.Generator,
    *,
    epochs: int,
    aim: Tensor | None = None,
    outwards: bool = False,
) -> float:
    """Fit quantiles.

    Parameters
    ----------
    network : Quantiles
        Fresh; changed in place. Its offsets stay zero.
    examples : Examples
    rng : Generator
        Order of the rows.
    epochs : int
    aim : Tensor (q,), optional
        Shares that the quantiles are to hold; by default their levels.
    outwards : bool
        See `Balance`.

    Returns
    -------
    float
        Mean pinball loss of the last epoch.
    """
    x, y = examples.inputs, examples.found
    network.standardise(x)
    network.start_from(numbers(y))
    network.train().requires_grad_(True)
    steps = max(1, min(STEPS, len(x) // FEWEST), len(x) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    # The rise of the rate needs two steps at least, however few there are.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=max(epochs * steps, 20), pct_start=0.1
    )
    levels = network.levels if aim is None else aim
    push = Balance(examples, levels, outwards)
    mean = [p.detach().clone() for p in network.parameters()]
    last = 0.0
    for _ in range(epochs):
        last = 0.0
        for rows in np.array_split(rng.permutation(len(x)), steps):
            found = network(x[rows])
            loss = pinball(found, y[rows], levels)
            last += loss.mean().item() / steps
            optimiser.zero_grad()
            weighted = (loss + push(rows, found, y[rows])) * examples.weight[rows, None]
            weighted.mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            for kept, new in zip(mean, network.parameters(), strict=True):
                kept.lerp_(new.detach(), 1 - AVERAGE)
        push.step()
    with torch.no_grad():
        for kept, new in zip(mean, network.parameters(), strict=True):
            new.copy_(kept)
    network.eval().requires_grad_(False)
    return last
