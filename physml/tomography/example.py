"""The example of the report: measured photon pairs where they are at hand, else simulated ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from physml.datasets import shared_folder
from physml.random import stream

from .core.born import probabilities, sample_counts
from .core.schedule import schedule
from .core.states import named_state
from .data.records import Records
from .data.records_file import load_records
from .inference.tomographer import Tomographer
from .predict import TomographyPredictor

log = logging.getLogger(__name__)

NOISE = 0.03  # white noise of the simulated pair
TURN = 0.25  # of its local unitaries, radians: fibres are never perfectly compensated
#: Counts of the measured pairs are means of so many runs, of which the sums are whole numbers.
REPEATS = 50
TARGET = "phi+"


def measured_pairs() -> Path | None:
    """Counts of the twin photons, or None where they are not on this machine.

    See `physml.datasets.shared_folder`.
    """
    path = shared_folder() / "quantum" / "twin_photons_MIT" / "counts.csv"
    return path if path.is_file() else None


def real_records(path: Path) -> Records:
    """Coincidences of the twin photons, of one run: means, rounded.

    The means of 50 runs are what a single run would show; with the sums, errors would be those of
    seven times as many hours.
    """
    found = load_records(path, kind="photonic", rounded=True)
    return replace(found, name="twin photons")


def simulated_state(seed: int) -> torch.Tensor:
    """Photon pair near Phi+: white noise, and small rotations of both photons; (4, 4)."""
    rng = stream(seed, "report", 0)
    sides = []
    for _ in range(2):
        axis = rng.standard_normal(3)
        axis *= TURN / np.linalg.norm(axis)
        x, y, z = axis
        generator = torch.tensor([[z, x - 1j * y], [x + 1j * y, -z]], dtype=torch.complex128)
        sides.append(torch.linalg.matrix_exp(-0.5j * generator))
    turn = torch.kron(sides[0], sides[1])
    pure = turn @ named_state(TARGET, 2) @ turn.mH
    return (1 - NOISE) * pure + NOISE * torch.eye(4, dtype=torch.complex128) / 4


def simulated_records(
    predictor: TomographyPredictor, truth: torch.Tensor, copies: int, seed: int
) -> Records:
    """Measure a state with product bases, each chosen by the tomographer.

    Parameters
    ----------
    predictor : TomographyPredictor
        Whose weights steer.
    truth : Tensor (4, 4)
    copies, seed : int
    """
    tomographer = Tomographer(
        2, design="product", estimator=predictor.estimator("neural"), seed=seed
    )
    rng = stream(seed, "report", 1)
    # A laboratory would rather turn its plates 30 times than 60.
    for shots in schedule(copies, first=max(10, copies // 200), growth=1.2):
        setting = tomographer.next_measurement(shots)
        p = probabilities(torch.from_numpy(setting.effects), truth[None])
        tomographer.update(setting, sample_counts(p, shots, rng)[0].long().tolist())
    return replace(tomographer.records, name="simulated photon pair")
