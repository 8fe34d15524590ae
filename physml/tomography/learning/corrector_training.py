"""Training of the corrector on the moments of experiments."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physml.stages.train import loop_settings
from physml.training.initialise import initialise
from physml.training.loop import fit

from ..inference.neural.corrector import Corrector
from ..inference.weights import prefix
from ..settings import TrainSettings
from .histories import CorrectorLoss, Histories

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A corrector after its training.

    Attributes
    ----------
    network : Corrector
        On the CPU, where experiments are followed.
    learned : dict
        For the card.
    lineage : list of dict
        Weights that it started from, oldest first.
    is_main : bool
        This process is the one to write files.
    """

    network: Corrector
    learned: dict[str, Any]
    lineage: list[dict[str, Any]]
    is_main: bool


def train_corrector(
    settings: TrainSettings,
    train: Histories,
    valid: Histories,
    state: Path,
    seed: int,
    threads: int,
    left: Callable[[], float | None],
) -> Trained:
    """Fit the corrector to the moments of one number of qubits.

    Parameters
    ----------
    settings : TrainSettings
        With ``init``, the corrector of so many qubits in these weights is what it starts from.
    train, valid : Histories
    state : Path
        Folder for checkpoints.
    seed, threads : int
    left : callable
        Gives the time that is left [s], or None.
    """
    d = train.arrays["values"].shape[1]
    network = initialise(lambda: Corrector(d, **settings.network.model_dump()), seed, replica=d)
    network.standardise(torch.from_numpy(train.arrays["feature"]))
    log.info(
        "d = %d: %d moments of %d experiments, validation: %d",
        *(d, len(train), train.experiments, len(valid)),
    )
    # The loop takes a copy to its device. Weights to start from have it under the name of its
    # dimension.
    learner = copy.deepcopy(network)
    learner.part = prefix(d, Corrector)
    result = fit(
        learner,
        CorrectorLoss(),
        train,
        valid,
        loop_settings(settings),
        state=state / "corrector",
        seed=seed,
        threads=threads,
        time_limit_s=left(),
    )
    network.load_state_dict(result.weights)
    learned = {
        "experiments": train.experiments,
        "moments": len(train),
        "best_epoch": result.best_epoch,
        "valid_loss": result.best_value,
        "history": result.history,
        # Of all calls, those that were stopped included.
        "seconds": sum(record["seconds"] for record in result.history),
    }
    return Trained(network.eval(), learned, result.lineage, result.is_main)
