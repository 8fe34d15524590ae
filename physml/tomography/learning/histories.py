"""Histories of simulated experiments that the corrector learns from, and its loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.schedule import schedule
from ..inference.neural.corrector import (
    Correction,
    Corrector,
    CovarianceSummary,
    contributions,
    correct,
    features,
    root_fidelity,
)
from ..inference.neural.estimator import NeuralEstimator
from ..settings import HistorySettings
from ..simulator.experiment import experiment

#: A moment this many times worse than expected counts as such: one outlier must not be a batch.
WORST = 50.0
#: Share of the expectation of the parts in the loss: they steer the design only.
PARTS = 0.5
#: Arrays that make up an `CovarianceSummary`, in its order.
SUMMARY = ("values", "deviation", "binding", "parts")
#: Experiments followed at once.
BATCH = 300


@dataclass
class Histories:
    """States of knowledge after blocks of measurements, as `physml.training.TrainData`.

    Attributes
    ----------
    arrays : dict of ndarray
        A row for each moment: ``feature``; ``values``, ``deviation``, ``binding``, ``parts``
        (`CovarianceSummary`); ``truth`` (d, d, 2), B with true state B B^+ in the eigenframe of
        the filter; ``copies``.
    """

    arrays: dict[str, NDArray]

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


def designs(n: int, settings: HistorySettings) -> dict[str, int]:
    """Experiments of each design."""
    product, random, pauli = (
        round(n * share) for share in (settings.product, settings.random, settings.pauli)
    )
    return {
        "global": n - product - random - pauli,
        "product": product,
        "random_global": random,
        "pauli": pauli,
    }


def simulate_histories(
    network: Corrector,
    states: Tensor,
    settings: HistorySettings,
    rng: np.random.Generator,
    marks: list[int] | None = None,
) -> Histories:
    """Measure states with adaptive and static designs and keep what the filter knew on the way.

    Parameters
    ----------
    network : Corrector
        Designs the adaptive measurements.
    states : Tensor (S, d, d)
    settings : HistorySettings
    rng : Generator
    marks : list of int, optional
        Copies at which moments are kept; the ends of all blocks by default.
    """
    d = states.shape[-1]
    blocks = schedule(settings.copies)
    ends = np.cumsum(blocks)
    every = [int(end) for end in ends if end >= settings.first]
    parts: list[dict[str, NDArray]] = []
    first = 0
    for design, number in designs(len(states), settings).items():
        for turn, start in enumerate(range(first, first + number, BATCH)):
            rho = states[start : min(start + BATCH, first + number)]
            # The root of a state of any rank, so that fidelities are exact.
            values, vectors = torch.linalg.eigh(rho)
            root = vectors * values.clamp(min=0).sqrt()[:, None]

            def keep(copies: int, estimator: NeuralEstimator, root: Tensor = root) -> None:
                parts.append(_moment(estimator, root))

            experiment(
                NeuralEstimator({d: network}),
                rho,
                design,
                blocks,
                rng,
                marks=every[turn % settings.thin :: settings.thin] if marks is None else marks,
                observe=keep,  # type: ignore[arg-type]
            )
        first += number
    return Histories({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _moment(estimator: NeuralEstimator, root: Tensor) -> dict[str, NDArray]:
    f = estimator.filter
    covariance = estimator.correction()[0]
    summary = CovarianceSummary.of(f.values, covariance)
    truth = torch.view_as_real((f.vectors.mH @ root).contiguous())
    tensors = {
        "feature": features(f.values, covariance, f.copies),
        **vars(summary),
        "truth": truth,
        "copies": f.copies,
    }
    return {name: value.to(torch.float32).numpy() for name, value in tensors.items()}
