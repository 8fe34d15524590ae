"""Stage of the chain: the U-Net, then the decoder on clusters it never saw, then calibration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn

from physml.io.weights import version_of
from physml.stages.train import Training, loop_settings, training, write_weights
from physml.training import distributed
from physml.training.data import TrainData
from physml.training.failure import Loss
from physml.training.initialise import initialise
from physml.training.loop import FitResult, fit
from physml.training.settings import TrainBase

from .inference.detector import CavityDetector
from .inference.networks import CavityNet, DecoderNet
from .learning.calibrate import calibrate
from .learning.crop_sets import DecoderLoss, collect
from .learning.fresh import FreshImages
from .learning.image_sets import CavityImages, for_decoder
from .learning.losses import CavityLoss
from .learning.merging import calibrate_merging
from .learning.refining import REFINED, calibrate_refining
from .settings import CavitiesSettings

log = logging.getLogger(__name__)

#: Validation images that the decoder is checked and the probabilities are calibrated with, at most.
CALIBRATED = 4_000


def run(
    *,
    settings: CavitiesSettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train both networks, calibrate them and write one weights file with its card.

    A stage: arguments as in `physml.pipeline`.
    """
    with training(out, threads, time_limit_s, settings.train.resources) as call:
        _train(settings, data, out, threads, call)


def _train(settings: CavitiesSettings, data: Path, out: Path, threads: int, call: Training) -> None:
    s, seed = settings.train, settings.seed

    def trained(
        name: str,
        network: nn.Module,
        loss: Loss,
        train: TrainData,
        valid: TrainData,
        loop: TrainBase,
    ) -> FitResult:
        return fit(
            network,
            loss,
            train,
            valid,
            loop,
            state=call.state / name,
            seed=seed,
            threads=threads,
            time_limit_s=call.left(),
        )

    images, valid = CavityImages.read(data / "train.h5"), CavityImages.read(data / "valid.h5")
    kept = for_decoder(images.arrays["cluster"], seed, s.decoder.share)
    log.info("U-Net: %d images, validation: %d", (~kept).sum(), len(valid))
    seen: CavityImages | FreshImages = images.view(~kept)
    if s.fresh:
        seen = FreshImages(settings.simulate, seed, len(seen))
    seen.rethin, seen.flatten = s.rethin, s.flatten
    how = {"rethin": s.rethin, "flatten": s.flatten, **s.loss.model_dump()}
    seen.fingerprint += f" {how}"
    network = initialise(lambda: CavityNet(s.network), seed)
    first = trained("unet", network, CavityLoss(s.loss), seen, valid, loop_settings(s))
    apart, known = images.view(kept), valid.first(CALIBRATED)

    card: dict[str, Any] = {
        "pipeline": "cavities",
        "version": version_of(first.weights),
        "network": s.network.model_dump(mode="json"),
    }
    network, decoder = CavityNet(s.network), DecoderNet(s.network)
    network.load_state_dict(first.weights)
    detector = CavityDetector(network, decoder, card)
    crops = collect(detector, apart, call.state / "decoder.maps")
    checks = collect(detector, known, call.state / "decoder.valid.maps")
    for c in (crops, checks):  # they follow from the images and the first network
        c.fingerprint += f" {card['version']}"
    true = int(crops.truth[:, 6].sum())
    log.info("decoder: %d candidates of %d images, %d of them true", len(crops), len(apart), true)
    decoder = initialise(lambda: DecoderNet(s.network), seed, replica=1)
    loop = loop_settings(s.decoder, init=s.decoder.init or s.init)
    second = trained("decoder", decoder, DecoderLoss(), crops, checks, loop)
    distributed.wait_for_all()  # to have read what the first process deletes
    for c in (crops, checks):
        c.remove()
    del crops, checks, c
    detector.decoder.load_state_dict(second.weights)
    card |= calibrate(detector, known, settings)
    card["merging"] = calibrate_merging(detector, settings.simulate, seed, s.merging_images)
    share = s.merging_images // REFINED
    card["refine"] = calibrate_refining(detector, settings.simulate, seed, share)
    card |= {
        "training": {
            "images": int((~kept).sum()),
            "decoder_images": int(kept.sum()),
            "fresh": s.fresh,
            "unet": {"best_epoch": first.best_epoch, "valid_loss": first.best_value},
            "decoder": {"best_epoch": second.best_epoch, "valid_loss": second.best_value},
            "history": first.history,
        },
        "lineage": first.lineage,
    }
    if second.is_main:
        weights = {CavityNet.part + k: v for k, v in first.weights.items()}
        weights |= {DecoderNet.part + k: v for k, v in second.weights.items()}
        template = "cavities/learning/card.md.jinja"
        write_weights(out, weights, card, settings=settings, data=data, template=template)
