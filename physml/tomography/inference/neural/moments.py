"""Inputs of the learned quantiles at a moment of an experiment."""

from __future__ import annotations

import torch
from torch import Tensor

from .corrector import FLOOR, MOST_COPIES, Correction, CovarianceSummary, features


def inputs_of(values: Tensor, covariance: Tensor, copies: Tensor, made: Correction) -> Tensor:
    """Inputs of the quantiles: those of the corrector, and its outputs.

    Parameters
    ----------
    values, covariance, copies : Tensor
        See `corrector.features`.
    made : Correction

    Returns
    -------
    Tensor (S, f), float32
    """
    feature = features(values, covariance, copies)
    return inputs_from(feature, CovarianceSummary.of(values, covariance), copies, made)


def inputs_from(
    feature: Tensor, summary: CovarianceSummary, copies: Tensor, made: Correction
) -> Tensor:
    """Inputs of the quantiles from what is kept of a moment; see `inputs_of`."""
    values = summary.values
    size = torch.log1p(copies.clamp(max=MOST_COPIES))[:, None]
    logs = made.values.clamp(min=FLOOR).log()
    shift = (logs - values.clamp(min=FLOOR).log()) / summary.deviation
    one = torch.eye(values.shape[-1], dtype=made.root.dtype)
    turn = made.root / made.values.clamp(min=FLOOR).sqrt()[:, :, None] - one
    expected = log_expected(made)[:, None]
    found = [
        feature.double(),
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
