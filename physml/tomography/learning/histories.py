"""Moments of experiments, which the corrector learns from, and its loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..inference.neural.corrector import (
    Correction,
    CovarianceSummary,
    contributions,
    correct,
    root_fidelity,
)
from .prepared import read_moments

#: A moment this many times worse than expected counts as such: one outlier must not be a batch.
WORST = 50.0
#: Share of the expectation of the parts in the loss: they steer the design only.
PARTS = 0.5
#: Arrays that make up an `CovarianceSummary`, in its order.
SUMMARY = ("values", "deviation", "binding", "parts")
#: Arrays of moments that are learned from; see `replay`.
NEEDED = ("feature", *SUMMARY, "truth")


@dataclass
class Histories:
    """States of knowledge after blocks of measurements, as `physml.training.TrainData`.

    Attributes
    ----------
    arrays : dict of ndarray
        A row for each moment: those of `NEEDED`.
    experiments : int
        That these moments are of.
    """

    arrays: dict[str, NDArray]
    experiments: int = 0

    @classmethod
    def read(cls, folder: Path, split: str, n_qubits: int) -> Histories:
        """Moments of a prepared split; errors are those of `read_moments`."""
        found = read_moments(folder, split, n_qubits)
        number = len(np.unique(found["experiment"]))
        return cls({name: found[name] for name in NEEDED}, number)

    @property
    def fingerprint(self) -> str:
        """Hash of the content."""
        digest = hashlib.sha256()
        for name in sorted(self.arrays):
            digest.update(np.ascontiguousarray(self.arrays[name]).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Number of moments."""
        return len(self.arrays["feature"])

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Rows as tensors; nothing is augmented, as nothing is left to vary."""
        out = {name: torch.from_numpy(value[indices]) for name, value in self.arrays.items()}
        return {**out, "id": torch.from_numpy(np.asarray(indices, np.int64))}


class CorrectorLoss:
    """Mean over moments of the logarithm of the infidelity, made honest by its expectation.

    Infidelities span five decades. Each is divided by the one that the network itself expects,
    which depends on the inputs only and so does not change which estimate is best; the expectation
    is learned as the mean of an exponential distribution.
    """

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``loss``; ``log_infidelity``, the mean logarithm of the infidelity; ``ratio``."""
        made, truth = apply(model, batch)
        infidelity, expected = 1 - root_fidelity(made.root, truth).square(), made.log_infidelity
        ratio = infidelity * torch.exp(-expected.detach())
        own = expected + infidelity.detach() * torch.exp(-expected)
        with torch.no_grad():
            found = contributions(made.estimate(), truth @ truth.mH)
        parts = made.parts.log() + found / made.parts
        loss = ratio.clamp(max=WORST).mean() + own.clamp(max=WORST).mean()
        loss = loss + PARTS * parts.clamp(max=WORST).mean()
        with torch.no_grad():
            level = infidelity.clamp(min=1e-12).log().mean()
        return {"loss": loss, "log_infidelity": level, "ratio": ratio.detach().mean()}


def apply(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Correction, Tensor]:
    """Corrections of moments by the network, and roots B of the true states B B^+."""
    summary = CovarianceSummary(*(batch[k].double() for k in SUMMARY))
    truth = torch.view_as_complex(batch["truth"].double().contiguous())
    # Rounding to float32 must not look like an infidelity.
    truth = truth / truth.abs().square().sum((-2, -1), keepdim=True).sqrt()
    return correct(model(batch["feature"]), summary), truth
