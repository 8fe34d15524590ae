"""Intervals of numbers that follow from a state: learned quantiles of their errors.

A functional is taken of the estimate and of draws about it (`draws`). The spread of the draws is
the unit of its error; how far truth lies from the value of the estimate in this unit, on which
side, near a bound or not, is what the network has learned on simulated experiments. Functionals
are of a few kinds; one that has no kind of its own counts as an expectation value.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .quantiles import Quantiles, numbers

#: Kinds of functionals, in the order of their inputs.
KINDS = ("purity", "entropy", "concurrence", "fidelity", "observable", "eigenvalue")
#: Smallest spread, and largest distance from a bound in its unit.
SMALLEST, FARTHEST = 1e-9, 1e4


class Intervals(Quantiles):
    """Quantiles of asinh((truth - value of the estimate) / spread of the draws)."""

    part = "intervals."

    def ends(
        self,
        kind: str,
        level: float,
        inputs: Tensor,
        drawn: Tensor,
        value: Tensor,
        bounds: tuple[float, float],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends (S,) of the intervals of one functional; values of the estimates lie inside.

        Parameters
        ----------
        kind : str
            One of `KINDS`; another counts as "observable".
        level : float
            Share of experiments in which the truth lies inside, as it was calibrated.
        inputs : Tensor (S, f)
            See `moments.inputs_of`.
        drawn : Tensor (S, M)
            The functional of the draws.
        value : Tensor (S,)
            Of the estimates.
        bounds : tuple of float
            Least and largest value of the functional.
        """
        low, high = (torch.full_like(value, b) for b in bounds)
        more, unit = extra_inputs(kind, drawn, value, low, high)
        x = torch.cat([inputs, more], -1)
        own, size = numbers(value), numbers(unit)
        tail = (1 - level) / 2
        first, last = (own + size * np.sinh(self.at(p, x)) for p in (tail, 1 - tail))
        return (
            np.maximum(np.minimum(first, own), bounds[0]),
            np.minimum(np.maximum(last, own), bounds[1]),
        )


def may_be_separable(
    concurrence: NDArray[np.float64], infidelity: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether a state without entanglement may lie within an infidelity e of states, (S,).

    If one does, the concurrence is at most 2 sqrt(e (1 - e)): a pure state has at most that much
    with an overlap of 1 - e with a product, and by Uhlmann's theorem decompositions can be paired
    so that mean overlaps are those of the fidelity. Intervals of states that may be separable begin
    at zero, so that none claims an entanglement that its region does not.

    Parameters
    ----------
    concurrence : ndarray (S,)
        Of the centres.
    infidelity : ndarray (S,)
        Radii.
    """
    e = np.minimum(infidelity, 0.5)
    return np.asarray(concurrence <= 2 * np.sqrt(e * (1 - e)))


def extra_inputs(
    kind: str, drawn: Tensor, value: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Inputs beside those of the moment, (S, 4 + kinds), and the unit of the error, (S,).

    Parameters
    ----------
    kind : str
    drawn : Tensor (S, M)
    value, low, high : Tensor (S,)
        Of the estimate, and the bounds.
    """
    unit = drawn.std(1).clamp(min=SMALLEST)
    scaled = [
        0.2 * unit.log(),
        torch.asinh((drawn.mean(1) - value) / unit),
        torch.asinh(((low - value) / unit).clamp(-FARTHEST, 0)),
        torch.asinh(((high - value) / unit).clamp(0, FARTHEST)),
    ]
    kinds = torch.zeros(len(value), len(KINDS), dtype=torch.float32)
    kinds[:, KINDS.index(kind) if kind in KINDS else KINDS.index("observable")] = 1
    return torch.cat([torch.stack(scaled, 1).float(), kinds], 1), unit


def error_of(truth: Tensor, value: Tensor, unit: Tensor) -> Tensor:
    """Errors (S,) in their unit, on the scale of the quantiles."""
    return torch.asinh((truth - value) / unit).to(torch.get_default_dtype())
