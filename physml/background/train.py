"""Training: the network, its calibration, the source method for comparison; one weights file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .settings import BackgroundSettings

log = logging.getLogger(__name__)


def run(
    *,
    settings: BackgroundSettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train, calibrate and write one weights file with its card.

    A stage: arguments as in `physml.pipeline`.
    """
    from physml.io.weights import version_of
    from physml.stages.train import loop_settings, training, write_weights
    from physml.training.data import IN_MEMORY
    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .inference.detector import BackgroundDetector
    from .inference.network import EventNet
    from .learning.calibrate import calibrate
    from .learning.event_sets import BackgroundLoss, EventSets
    from .learning.source_method import SourceNet, train_source_method

    s, seed = settings.train, settings.seed
    with training(out, threads, time_limit_s, s.resources) as call:
        train = EventSets.read(
            data / "train.h5", s.loss, s.augment, resample=True, in_memory=IN_MEMORY
        )
        valid = EventSets.read(data / "valid.h5", s.loss, s.augment)
        log.info("training: %d sets, validation: %d", len(train), len(valid))
        first = fit(
            initialise(lambda: EventNet(s.network), seed),
            BackgroundLoss(s.loss),
            train,
            valid,
            loop_settings(s),
            state=call.state / "events",
            seed=seed,
            threads=threads,
            time_limit_s=call.left(),
            # What the weights are for; the other parts of the loss only help.
            metric="event",
        )
        exposures, sets = len(set(train.arrays["exposure"].tolist())), len(train.start) - 1
        del train
        second = train_source_method(s.source_method, data, call, seed, threads)
        if not first.is_main:
            return
        card: dict[str, Any] = {
            "pipeline": "background",
            "version": version_of(first.weights),
            "network": s.network.model_dump(mode="json"),
            "limit": settings.preprocess.limit,
        }
        network = EventNet(s.network)
        network.load_state_dict(first.weights)
        card |= calibrate(BackgroundDetector(network, card), valid, settings)
        card |= {
            "training": {
                "sets": sets,
                "exposures": exposures,
                "best_epoch": first.best_epoch,
                "valid_loss": first.best_value,
                "history": first.history,
            },
            "lineage": first.lineage,
        }
        weights = {EventNet.part + k: v for k, v in first.weights.items()}
        if second is not None:
            weights |= {SourceNet.part + k: v for k, v in second[0].items()}
            card["source_method"] = {
                "network": s.source_method.model_dump(mode="json", include={"widths", "hidden"}),
                "validation": second[1],
            }
        write_weights(
            out,
            weights,
            card,
            settings=settings,
            data=data,
            template="background/learning/card.md.jinja",
        )
