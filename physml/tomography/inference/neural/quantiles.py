"""A small network that gives conditional quantiles of several levels at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Numbers in a hidden layer.
WIDTH = 64
#: Standardised inputs beyond this count as this: nothing was learned out there.
FARTHEST = 6.0


class Quantiles(nn.Module):
    """Perceptron whose outputs increase along the levels by construction.

    Parameters
    ----------
    n_inputs : int
    levels : sequence of float
        In (0, 1), increasing.
    width : int
        Of both hidden layers.

    Attributes
    ----------
    levels : Tensor (q,)
    offsets : Tensor (q,)
        What held-out experiments add to each quantile (conformal correction).

    References
    ----------
    Koenker & Bassett, Econometrica 46, 33 (1978); Romano, Patterson & Candes, NeurIPS (2019).
    """

    part = "quantiles."
    levels: Tensor
    offsets: Tensor
    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, n_inputs: int, levels: Sequence[float], width: int = WIDTH) -> None:
        super().__init__()
        q = len(levels)
        self.first = nn.Linear(n_inputs, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, q)
        nn.init.zeros_(self.last.weight)
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
        self.register_buffer("offsets", torch.zeros(q))
        self.register_buffer("shift", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))
        self.register_buffer("low", torch.full((n_inputs,), -torch.inf))
        self.register_buffer("high", torch.full((n_inputs,), torch.inf))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """From the tensors of `state_dict`, which tell all sizes.

        Raises
        ------
        KeyError, RuntimeError
            They do not belong together.
        """
        width, n_inputs = tensors["first.weight"].shape
        made = cls(n_inputs, tensors["levels"].tolist(), width)
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

    def start_from(self, values: NDArray[np.floating]) -> None:
        """Begin with the quantiles of all values together."""
        q = torch.as_tensor(np.quantile(values, numbers(self.levels)), dtype=torch.float32)
        steps = torch.diff(q).clamp(min=1e-3)
        with torch.no_grad():
            self.last.bias.copy_(torch.cat([q[:1], steps.expm1().log()]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Quantiles (S, q), without the offsets; they increase along the levels."""
        x = torch.minimum(torch.maximum(inputs, self.low), self.high)
        x = ((x - self.shift) / self.scale).clamp(-FARTHEST, FARTHEST)
        x = nn.functional.silu(self.second(nn.functional.silu(self.first(x))))
        first, steps = self.last(x).split([1, len(self.levels) - 1], -1)
        return torch.cat([first, first + nn.functional.softplus(steps).cumsum(-1)], -1)

    def corrected(self, inputs: Tensor) -> NDArray[np.float64]:
        """Quantiles (S, q) with the offsets, never decreasing along the levels."""
        with torch.no_grad():
            found = numbers(self(inputs.to(self.shift.device))) + numbers(self.offsets)
        return np.maximum.accumulate(found, -1)

    def at(self, level: float, inputs: Tensor) -> NDArray[np.float64]:
        """Quantile (S,) of any level in (0, 1).

        Between the levels, and beyond the outermost two, it is linear in the logit of the level.
        """
        found = self.corrected(inputs)
        places, x = logit(numbers(self.levels)), float(logit(level))
        k = int(np.clip(np.searchsorted(places, x), 1, len(places) - 1))
        part = (x - places[k - 1]) / (places[k] - places[k - 1])
        return np.asarray(found[:, k - 1] + part * (found[:, k] - found[:, k - 1]))


def numbers(x: Tensor) -> NDArray[np.float64]:
    """Numbers of a tensor on any device."""
    return np.asarray(x.detach().cpu().numpy(), np.float64)


def logit(p: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Logarithm of the odds."""
    p = np.asarray(p, float)
    return np.asarray(np.log(p / (1 - p)))
