"""Calibration on validation data: pixel and cavity probabilities, errors, alarm thresholds."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.evaluation.calibration import error_scale, fit_platt

from ..core.matching import candidates_of, match, scored_set, true_cavities
from ..inference.channels import channels
from ..inference.detector import CavityDetector, Detection
from ..inference.search import LISTED
from ..settings import CavitiesSettings
from ..simulator.batch import simulate_batch
from .image_sets import CavityImages
from .prepared import prepare_batch, searchable

log = logging.getLogger(__name__)

#: Nodes of the threshold as a function of log10 counts.
KNOTS = 5
#: Number of the first image that only sets thresholds.
ALARM_FIRST = 10_000_000


def platt(logit: NDArray[Any], true: NDArray[Any]) -> tuple[float, float]:
    """Slope and offset of Platt scaling; the identity where nothing can be learned from it."""
    if len(np.unique(true)) < 2:
        return 1.0, 0.0
    fit = fit_platt(logit, true)
    # A map that says nothing (a network trained for seconds) must not be turned over.
    return (fit.slope, fit.offset) if fit.slope > 0 else (1.0, 0.0)


def calibrate(
    detector: CavityDetector, valid: CavityImages, settings: CavitiesSettings
) -> dict[str, Any]:
    """Calibrate a detector in place.

    Parameters
    ----------
    detector : CavityDetector
        Both stages trained.
    valid : CavityImages
        Validation images.
    settings : CavitiesSettings

    Returns
    -------
    dict
        ``calibration`` and ``thresholds`` for the card.
    """
    calibration = detector.card["calibration"] = {}
    scale, offset = calibrate_pixels(detector, valid)
    calibration |= {"pixel_scale": scale, "pixel_offset": offset}
    found = detect_prepared(detector, valid.arrays)
    logit, true, pull = outcomes(found, valid.arrays)
    slope, offset = platt(logit, true)
    calibration |= {"cavity_scale": slope, "cavity_offset": offset}
    # The errors are for the cavities that a catalogue lists; doubtful ones follow other laws.
    listed = slope * logit[true] + offset >= np.log(LISTED / (1 - LISTED))
    if listed.sum() >= 20:
        calibration["radius_err_scale"] = error_scale(pull[listed])
    thresholds = detector.card["thresholds"] = alarm_thresholds(detector, settings)
    log.info("calibration: %s; thresholds: %s", calibration, thresholds)
    return {"calibration": calibration, "thresholds": thresholds}


def calibrate_pixels(detector: CavityDetector, valid: CavityImages) -> tuple[float, float]:
    """Platt scaling of the pixel map, on a tenth of the live pixels of all images.

    Pixels of one image err together: it takes thousands of images, not of pixels, to know the
    offset well.
    """
    a = valid.arrays
    logits, truths = [], []
    rng = np.random.default_rng(0)  # which pixels are taken is no part of the data
    for first in range(0, len(valid), 16):
        part = slice(first, first + 16)
        image = channels(*map(torch.from_numpy, searchable(a, part)))
        with torch.no_grad():
            cavity = detector.average_maps(image).cavity
        keep = (a["invalid"][part] == 0) & (rng.random(cavity.shape) < 0.1)
        logits.append(torch.logit(cavity, 1e-6).numpy()[keep])
        truths.append((a["mask"][part] > 0)[keep])
    return platt(np.concatenate(logits), np.concatenate(truths))


def detect_prepared(detector: CavityDetector, arrays: Mapping[str, Any]) -> list[Detection]:
    """Detect in preprocessed images, whose smooth models are known."""
    found: list[Detection] = []
    for first in range(0, len(arrays["counts"]), 16):
        part = slice(first, first + 16)
        found += detector.decode_images(searchable(arrays, part), arrays["centre"][part])
    return found


def outcomes(
    found: list[Detection], arrays: Mapping[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Logit and truth of each candidate, and the pulls of the radii of the true ones."""
    candidates = candidates_of(d.table for d in found)
    cavities = true_cavities(arrays["cavities"], arrays["mask"])
    counts = arrays["counts"].reshape(len(found), -1).sum(1, dtype=np.float64)
    labels = np.stack([d.labels for d in found])
    matched = match(scored_set(counts, cavities, arrays["mask"], candidates, labels))
    p = np.clip(candidates["score"], 1e-6, 1 - 1e-6)
    hit = matched >= 0
    true_radius = cavities["radius"][matched[hit]]
    pull = (candidates["radius"][hit] - true_radius) / candidates["radius_err"][hit]
    return np.log(p / (1 - p)), hit, pull


def alarm_thresholds(
    detector: CavityDetector, settings: CavitiesSettings
) -> dict[str, list[float]]:
    """Thresholds by count bins at which the wanted share of cavity-less images is alarmed.

    Cavity-less images with all nuisances are simulated for this alone, with numbers that no
    training, validation or test image has. In each bin of log10 counts the threshold is the
    quantile of the images' highest probabilities; between bin centres it is interpolated.
    """
    s = settings.simulate
    empty = s.model_copy(update={"cavities": s.cavities.model_copy(update={"none": 1.0})})
    tops, totals = [], []
    for first in range(0, settings.train.alarm_images, 64):
        last = min(first + 64, settings.train.alarm_images)
        batch = simulate_batch(empty, settings.seed, range(ALARM_FIRST + first, ALARM_FIRST + last))
        arrays = prepare_batch(batch, settings.seed)
        for d, image in zip(detect_prepared(detector, arrays), arrays["counts"], strict=True):
            tops.append(d.table["probability"][0] if len(d.table) else 0.0)
            totals.append(image.sum(dtype=np.float64))
        if first // 64 % 10 == 0:
            log.info("thresholds: %d of %d images", first, settings.train.alarm_images)
    x, top = np.log10(np.maximum(totals, 1)), np.asarray(tops)
    edges = np.quantile(x, np.linspace(0, 1, KNOTS + 1))
    centres, limits = [], []
    for lo, hi in itertools.pairwise(edges):
        inside = (x >= lo) & (x <= hi)
        centres.append(float(np.median(x[inside])))
        limit = np.quantile(top[inside], 1 - settings.train.false_alarm)
        limits.append(float(np.clip(limit, 0.1, 0.99)))
    return {"log10_counts": centres, "probability": limits}
