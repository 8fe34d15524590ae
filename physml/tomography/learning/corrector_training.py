"""Training of the corrector in rounds: each designs the measurements that the next learns from."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physml.random import stream
from physml.stages.train import loop_settings
from physml.training.initialise import initialise
from physml.training.loop import fit

from ..inference.neural.corrector import Corrector
from ..settings import TrainSettings
from . import rounds
from .histories import CorrectorLoss, simulate_histories

log = logging.getLogger(__name__)

#: First number of the random streams of histories; see `train_corrector`.
STREAMS = 2**31


def train_corrector(
    settings: TrainSettings,
    states: Tensor,
    valid_states: Tensor,
    state: Path,
    seed: int,
    threads: int,
    left: Callable[[], float | None],
) -> tuple[Corrector, dict[str, Any], bool]:
    """Train in rounds: the network of each designs the measurements that the next learns from.

    Parameters
    ----------
    settings : TrainSettings
    states, valid_states : Tensor (S, d, d)
    state : Path
        Folder for checkpoints.
    seed, threads : int
    left : callable
        Gives the time that is left [s], or None.

    Returns
    -------
    network : Corrector
        On the CPU, where experiments are simulated.
    learned : dict
        Of the last round, for the card.
    is_main : bool
        This process is the one to write files.
    """
    d, h = states.shape[-1], settings.histories
    network = initialise(lambda: Corrector(d, **settings.network.model_dump()), seed, replica=d)
    key = rounds.key(settings, seed, threads, states, valid_states)
    learned: dict[str, Any] = {}
    is_main = True
    for number, size in enumerate(h.rounds):
        done = state / f"round_{number + 1}.safetensors"
        before = rounds.load(done, key)
        if before is not None:
            log.info("d = %d, round %d: done before", d, number + 1)
            weights, learned = before
            network.load_state_dict(weights)
            continue
        first = STREAMS + 100 * d + 2 * number
        rng = stream(seed, "train", first + 1)
        chosen = torch.from_numpy(rng.permutation(len(states))[:size])
        if len(chosen) < size:
            log.warning("%d states for a round of %d experiments", len(chosen), size)
        began = time.monotonic()
        network.eval()
        train = simulate_histories(network, states[chosen], h, rng)
        valid = simulate_histories(
            network, valid_states[: h.valid], h, stream(seed, "train", first)
        )
        log.info(
            "d = %d, round %d: %d moments of %d experiments in %.0f s",
            *(d, number + 1, len(train), len(chosen), time.monotonic() - began),
        )
        if number == 0:
            network.standardise(torch.from_numpy(train.arrays["feature"]))
        last = number == len(h.rounds) - 1
        # The loop takes a copy to its device: the network that designs stays on the CPU.
        result = fit(
            copy.deepcopy(network),
            CorrectorLoss(),
            train,
            valid,
            loop_settings(settings, epochs=settings.epochs if last else settings.first_epochs),
            state=state / f"round_{number + 1}",
            seed=seed,
            threads=threads,
            time_limit_s=left(),
        )
        network.load_state_dict(result.weights)
        is_main = result.is_main
        learned = {
            "moments": len(train),
            "experiments": list(h.rounds),
            "best_epoch": result.best_epoch,
            "valid_loss": result.best_value,
            "history": result.history,
            # Of all rounds so far, those of stopped calls included.
            "seconds": learned.get("seconds", 0.0) + time.monotonic() - began,
        }
        if is_main:
            rounds.save(done, key, result.weights, learned)
    return network.eval(), learned, is_main
