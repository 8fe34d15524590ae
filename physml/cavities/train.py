"""Train the U-Net, then the decoder on clusters the U-Net never saw, then calibrate both."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

if TYPE_CHECKING:
    from physml.training.loop import FitResult
    from physml.training.settings import TrainBase

    from .settings import CavitiesSettings, TrainSettings
    from .training_data import CavityImages

log = logging.getLogger(__name__)

VERSION = 1


def decoder_rows(clusters: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    """Which training images are kept for the decoder, by cluster."""
    draws = [stream(seed, "split", int(c)).random(2)[1] for c in clusters]
    return np.asarray(draws) < share


def loop_settings(settings: TrainBase, init: str | None) -> TrainBase:
    """Only what the training loop itself needs, so that nothing else invalidates its state."""
    from physml.training.settings import TrainBase

    values = {name: getattr(settings, name) for name in TrainBase.model_fields}
    return TrainBase(**values | {"init": init})


def train_unet(
    settings: TrainSettings,
    images: CavityImages,
    valid: CavityImages,
    state: Path,
    seed: int,
    threads: int,
    time_limit_s: float | None,
) -> FitResult:
    """Train the first stage; the arguments are those of `run` and `physml.training.loop.fit`."""
    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .model import CavityNet
    from .training_data import CavityLoss

    network = initialise(lambda: CavityNet(settings.network), seed)
    images.rethin, images.flatten = settings.rethin, settings.flatten
    how = {"rethin": settings.rethin, "flatten": settings.flatten, **settings.loss.model_dump()}
    images.fingerprint += f" {how}"
    return fit(
        network,
        CavityLoss(settings.loss),
        images,
        valid,
        loop_settings(settings, settings.init),
        state=state,
        seed=seed,
        threads=threads,
        time_limit_s=time_limit_s,
    )
