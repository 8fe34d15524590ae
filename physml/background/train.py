"""Train the network, calibrate it, train the source method for comparison, write the weights."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physml.training.loop import FitResult
    from physml.training.settings import TrainBase

    from .learning.event_sets import EventSets
    from .learning_settings import SourceMethodSettings, TrainSettings
    from .settings import BackgroundSettings

log = logging.getLogger(__name__)


def loop_settings(settings: TrainBase) -> TrainBase:
    """Only what the training loop itself needs, so that nothing else invalidates its state."""
    from physml.training.settings import TrainBase

    return TrainBase(**{name: getattr(settings, name) for name in TrainBase.model_fields})


def train_events(
    settings: TrainSettings,
    train: EventSets,
    valid: EventSets,
    state: Path,
    seed: int,
    threads: int,
    time_limit_s: float | None,
) -> FitResult:
    """Train the network; the arguments are those of `run` and `physml.training.loop.fit`."""
    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .inference.network import EventNet
    from .learning.event_sets import BackgroundLoss

    return fit(
        initialise(lambda: EventNet(settings.network), seed),
        BackgroundLoss(settings.loss),
        train,
        valid,
        loop_settings(settings),
        state=state,
        seed=seed,
        threads=threads,
        time_limit_s=time_limit_s,
        # What the weights are for; the other parts of the loss only help.
        metric="event",
    )


def train_source_method(
    settings: SourceMethodSettings,
    data: Path,
    state: Path,
    seed: int,
    threads: int,
    time_limit_s: float | None,
) -> tuple[FitResult, list[dict[str, Any]]] | None:
    """Train the network of the source paper and measure its two figures on validation windows.

    None where it is left out: no epochs, or too few windows for a step.
    """
    import numpy as np

    from physml.random import stream
    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .learning.source_method import SourceLoss, SourceNet, Windows, headline_figures

    train, valid = (Windows.read(data / f"windows_{split}.h5") for split in ("train", "valid"))
    if settings.epochs == 0 or min(len(train), len(valid)) == 0:
        log.info("source method: left out")
        return None
    network = initialise(lambda: SourceNet(settings), seed, replica=1)
    result = fit(
        network,
        SourceLoss(train),
        train,
        valid,
        loop_settings(settings),
        state=state,
        seed=seed,
        threads=threads,
        time_limit_s=time_limit_s,
    )
    figures = headline_figures(network, valid, stream(seed, "bootstrap", 0))
    # NaN where there was no such window: JSON has none.
    plain = [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in figures
    ]
    for row in plain:
        log.info("source method: %s", row)
    return result, plain


def run(
    *,
    settings: BackgroundSettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train, calibrate and write one weights file with its card.

    A call that was stopped is continued by the same call: each stage keeps its state beside the
    weights, in ``<out>.state``.

    Parameters
    ----------
    settings : BackgroundSettings
    data : Path
        Folder that `preprocess.run` wrote.
    out : Path
        Weights to write (safetensors).
    threads : int
        CPU threads.
    time_limit_s : float, optional
        Stop in time with a checkpoint.

    Raises
    ------
    Checkpointed
        The time limit came near; call again.
    """
    from physml.training.distributed import process_group

    with process_group():  # both stages, where several processes share the work
        _run(settings, data, out, threads, time_limit_s)


def _run(
    settings: BackgroundSettings, data: Path, out: Path, threads: int, time_limit_s: float | None
) -> None:
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import write_text
    from physml.io.weights import save_weights, version_of

    from .inference.detector import BackgroundDetector
    from .inference.network import EventNet
    from .learning.calibrate import calibrate
    from .learning.card import describe
    from .learning.event_sets import EventSets
    from .learning.source_method import SourceNet

    started = time.monotonic()

    def left() -> float | None:
        return None if time_limit_s is None else time_limit_s - (time.monotonic() - started)

    s = settings.train
    state = out.with_name(out.name + ".state")
    torch.set_num_threads(threads)
    train = EventSets.read(data / "train.h5", s.loss, s.augment, resample=True)
    valid = EventSets.read(data / "valid.h5", s.loss, s.augment)
    log.info("training: %d sets, validation: %d", len(train), len(valid))
    first = train_events(s, train, valid, state / "events", settings.seed, threads, left())
    exposures = len(set(train.arrays["exposure"].tolist()))
    sets = len(train.start) - 1
    del train
    second = train_source_method(
        s.source_method, data, state / "source_method", settings.seed, threads, left()
    )
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
        "provenance": provenance.record("train", upstream(settings, "train"), {"data": data}),
    }
    weights = {EventNet.part + k: v for k, v in first.weights.items()}
    if second is not None:
        weights |= {SourceNet.part + k: v for k, v in second[0].weights.items()}
        card["source_method"] = {
            "network": s.source_method.model_dump(mode="json", include={"widths", "hidden"}),
            "validation": second[1],
        }
    save_weights(out, weights, card, dtype="float32")
    write_text(out.with_suffix(".md"), describe(card), overwrite=True)
