"""Train the U-Net, then the decoder on clusters the U-Net never saw, then calibrate both."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

if TYPE_CHECKING:
    from physml.training.loop import FitResult
    from physml.training.settings import TrainBase

    from .learning.crop_sets import CandidateCrops
    from .learning.image_sets import CavityImages
    from .settings import CavitiesSettings, TrainSettings

log = logging.getLogger(__name__)


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

    from .inference.networks import CavityNet
    from .learning.image_sets import CavityLoss

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


def train_decoder(
    settings: TrainSettings,
    crops: CandidateCrops,
    valid: CandidateCrops,
    state: Path,
    seed: int,
    threads: int,
    time_limit_s: float | None,
) -> FitResult:
    """Train the second stage."""
    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .inference.networks import DecoderNet
    from .learning.crop_sets import DecoderLoss

    network = initialise(lambda: DecoderNet(settings.network), seed, replica=1)
    return fit(
        network,
        DecoderLoss(),
        crops,
        valid,
        loop_settings(settings.decoder, settings.decoder.init or settings.init),
        state=state,
        seed=seed,
        threads=threads,
        time_limit_s=time_limit_s,
    )


def run(
    *,
    settings: CavitiesSettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train both stages, calibrate them and write one weights file with its card.

    A call that was stopped is continued by the same call: each stage keeps its state beside the
    weights, in ``<out>.state``.

    Parameters
    ----------
    settings : CavitiesSettings
    data : Path
        Folder with train.h5 and valid.h5.
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
    settings: CavitiesSettings, data: Path, out: Path, threads: int, time_limit_s: float | None
) -> None:
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import write_text
    from physml.io.weights import save_weights, version_of

    from .inference.detector import CavityDetector
    from .inference.networks import CavityNet, DecoderNet
    from .learning.calibrate import calibrate
    from .learning.card import describe
    from .learning.crop_sets import collect
    from .learning.image_sets import CavityImages

    started = time.monotonic()

    def left() -> float | None:
        return None if time_limit_s is None else time_limit_s - (time.monotonic() - started)

    s = settings.train
    state = out.with_name(out.name + ".state")
    torch.set_num_threads(threads)
    images, valid = CavityImages.read(data / "train.h5"), CavityImages.read(data / "valid.h5")
    for_decoder = decoder_rows(images.arrays["cluster"], settings.seed, s.decoder.share)
    log.info("U-Net: %d images, validation: %d", (~for_decoder).sum(), len(valid))
    first = train_unet(
        s, images.view(~for_decoder), valid, state / "unet", settings.seed, threads, left()
    )
    apart = images.subset(for_decoder)
    images.arrays.clear()  # gigabytes, which the loop's engine may still refer to

    card: dict[str, Any] = {
        "pipeline": "cavities",
        "version": version_of(first.weights),
        "network": s.network.model_dump(mode="json"),
    }
    network, decoder = CavityNet(s.network), DecoderNet(s.network)
    network.load_state_dict(first.weights)
    detector = CavityDetector(network, decoder, card)
    side = s.network.decoder_crop
    crops = collect(detector, apart, side)
    checks = collect(detector, valid, side)
    # The crops follow from the images and the first stage.
    for c in (crops, checks):
        c.fingerprint += f" {card['version']}"
    log.info(
        "decoder: %d candidates of %d images, %d of them true",
        len(crops),
        len(apart),
        int(crops.truth[:, 6].sum()),
    )
    second = train_decoder(s, crops, checks, state / "decoder", settings.seed, threads, left())
    del crops, checks
    detector.decoder.load_state_dict(second.weights)
    card |= calibrate(detector, valid, settings)
    card |= {
        "training": {
            "images": int((~for_decoder).sum()),
            "decoder_images": int(for_decoder.sum()),
            "unet": {"best_epoch": first.best_epoch, "valid_loss": first.best_value},
            "decoder": {"best_epoch": second.best_epoch, "valid_loss": second.best_value},
            "history": first.history,
        },
        "lineage": first.lineage,
        "provenance": provenance.record("train", upstream(settings, "train"), {"data": data}),
    }
    if not second.is_main:
        return
    weights = {CavityNet.part + k: v for k, v in first.weights.items()}
    weights |= {DecoderNet.part + k: v for k, v in second.weights.items()}
    save_weights(out, weights, card, dtype="float32")
    write_text(out.with_suffix(".md"), describe(card), overwrite=True)
