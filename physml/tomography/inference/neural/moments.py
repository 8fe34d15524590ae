"""Moments of experiments: inputs of the radius, and the infidelity that it has to hold."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .corrector import FLOOR, MOST_COPIES, Correction, CovarianceSummary, features


@dataclass(frozen=True)
class Moments:
    """Moments of experiments, a row each.

    Attributes
    ----------
    inputs : ndarray (n, f), float32
        See `inputs_of`.
    log_expected : ndarray (n,)
        Logarithm of the infidelity that the network expects.
    log_infidelity : ndarray (n,)
        Of the true one.
    values : ndarray (n, d)
        Corrected eigenvalues.
    copies : ndarray (n,)
    experiment : ndarray (n,), int64
        Number of the experiment.
    family : ndarray (n,), int64
        Number of the ensemble among `families`.
    group : ndarray (n,), int64
        Number of ensemble and kind of design together: what should be covered equally.
    """

    inputs: NDArray[np.float32]
    log_expected: NDArray[np.float64]
    log_infidelity: NDArray[np.float64]
    values: NDArray[np.float64]
    copies: NDArray[np.float64]
    experiment: NDArray[np.int64]
    family: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of moments."""
        return len(self.inputs)

    @property
    def log_ratio(self) -> NDArray[np.float64]:
        """Logarithm of the infidelity over its expectation."""
        return self.log_infidelity - self.log_expected

    def rows(self, chosen: NDArray) -> Moments:
        """Some of the rows."""
        return Moments(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @classmethod
    def join(cls, parts: list[Moments]) -> Moments:
        """All rows of all parts."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )


def inputs_of(values: Tensor, covariance: Tensor, copies: Tensor, made: Correction) -> Tensor:
    """Inputs of the quantiles of a radius: those of the corrector, and its outputs.

    Parameters
    ----------
    values, covariance, copies : Tensor
        See `corrector.features`.
    made : Correction

    Returns
    -------
    Tensor (S, f), float32
    """
    summary = CovarianceSummary.of(values, covariance)
    size = torch.log1p(copies.clamp(max=MOST_COPIES))[:, None]
    logs = made.values.clamp(min=FLOOR).log()
    shift = (logs - values.clamp(min=FLOOR).log()) / summary.deviation
    one = torch.eye(values.shape[-1], dtype=made.root.dtype)
    turn = made.root / made.values.clamp(min=FLOOR).sqrt()[:, :, None] - one
    expected = log_expected(made)[:, None]
    found = [
        features(values, covariance, copies).double(),
        0.25 * logs,
        0.2 * (logs + size),
        torch.asinh(shift),
        turn.abs().square().sum((-2, -1)).sqrt()[:, None],
        expected - summary.level[:, None],
        0.25 * (expected + size),
        0.25 * (made.parts.clamp(min=FLOOR).log() + size),
    ]
    return torch.cat(found, -1).float()


def log_expected(made: Correction) -> Tensor:
    """Logarithm of the infidelity (S,) that the network expects, at most that of one."""
    return made.log_infidelity.clamp(max=0)
