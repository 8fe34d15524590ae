"""CADET with thresholds fitted as ours are: on our validation images, for the same alarm level.

CADET ships with thresholds of its authors' simulations: 0.4 for the pixels, more than 12 in summed
probability, 0.7 for the peak. On other images other values may serve it better, and ours were
fitted on images of the very simulator of the test sets. So the same is done for CADET, on images
of the training's recipe (all nuisances included) with numbers that no other set has:

1. for each pixel threshold and minimal sum, the threshold on the peak is set in bins of counts so
   that the wanted share of cavity-less images alarms, and interpolated between the bins' centres;
2. the pair with the highest cavity F1 in images with cavities is taken;
3. its peaks and its map are calibrated (Platt), which changes no order and no completeness.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physml.cavities.core import matching
from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.found import Found, Images, observed
from physml.cavities.evaluation.set_metrics import ALARM_LEVEL
from physml.cavities.settings import CavitiesSettings
from physml.cavities.simulator.batch import simulate_batch
from physml.evaluation.calibration import fit_platt

from .predictions import RIVAL_AREA, rival_found, rival_found_again

#: Numbers of the first images, far from those of all other sets.
FIRST = {"empty": 50_000_000, "cavities": 60_000_000}
#: Images of each kind.
N_IMAGES = {"empty": 300, "cavities": 150}
PIXELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
AREAS = (0.0, 4.0, 8.0, 12.0, 20.0, 30.0)
#: Shares of both kinds among the images on which our own probabilities are calibrated.
SHARES = {"empty": 0.4, "cavities": 0.6}
#: Bins of counts of the threshold.
BINS = 3
LEAST = 1e-6


@dataclass(frozen=True)
class Fitted:
    """Fitted thresholds and calibration.

    Attributes
    ----------
    pixel, area : float
        For the pixels of a cavity, and their sum.
    log10_counts, peak : tuple of float
        Threshold on the peak at some total counts.
    cavity, pixels : tuple of float
        Slope and offset of the logits of peaks and of the map.
    f1 : float
        On the validation images.
    shipped_f1 : float
        That of the shipped pixel threshold and minimal sum, the peak's threshold fitted.
    """

    pixel: float
    area: float
    log10_counts: tuple[float, ...]
    peak: tuple[float, ...]
    cavity: tuple[float, float]
    pixels: tuple[float, float]
    f1: float
    shipped_f1: float


def validation(kind: str, n: int) -> Images:
    """Images of the training's recipe, with cavities or without."""
    settings = CavitiesSettings()
    prior = settings.simulate
    none = 1.0 if kind == "empty" else 0.0
    prior = prior.model_copy(update={"cavities": prior.cavities.model_copy(update={"none": none})})
    numbers = range(FIRST[kind], FIRST[kind] + n)
    return observed(simulate_batch(prior, settings.seed, numbers), settings.seed)


def peak_thresholds(totals: np.ndarray, tops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds by counts at which the wanted share of cavity-less images alarms.

    In each bin of counts the threshold is the same quantile of the images' highest peaks, the
    lowest at which no more than the wanted share of all images alarms.

    Parameters
    ----------
    totals, tops : ndarray, shape (n,)
        Total counts and highest peak (0 where there is none) of each image.

    Returns
    -------
    log10_counts, threshold : ndarray, shape (BINS,)
    """
    x = np.log10(totals)
    edges = np.quantile(x, np.linspace(0, 1, BINS + 1))
    bins = [(x >= low) & (x <= high) for low, high in itertools.pairwise(edges)]
    centres = np.array([np.median(x[inside]) for inside in bins])
    for level in np.arange(0.8, 1.0, 0.002):
        found = np.array([np.quantile(tops[inside], level) for inside in bins])
        if (tops >= limits(totals, centres, found)).mean() <= ALARM_LEVEL:
            break
    return centres, found


def highest(found: Found, n: int) -> np.ndarray:
    """Highest score of each image, 0 without candidates, shape (n,)."""
    out = np.zeros(n)
    np.maximum.at(out, found.candidates["image"], found.candidates["score"])
    return out


def limits(totals: np.ndarray, log10_counts: Any, peak: Any) -> np.ndarray:
    """Threshold on the peak of each image, shape (n,); detections lie above it."""
    return np.nextafter(np.interp(np.log10(totals), log10_counts, peak), 1)


def logit(p: np.ndarray) -> np.ndarray:
    """Logit of clipped probabilities."""
    p = np.clip(np.asarray(p, np.float64), LEAST, 1 - LEAST)
    return np.log(p / (1 - p))


def fit(python: str, cache: Path, numbers: dict[str, int] | None = None) -> Fitted:
    """Fit thresholds and calibration on validation images.

    Parameters
    ----------
    python : str
        The rival's.
    cache : Path
    numbers : dict, optional
        Images of each kind; `N_IMAGES` by default.
    """
    images = {kind: validation(kind, n) for kind, n in (numbers or N_IMAGES).items()}
    for part in images.values():
        rival_found(part, python, cache)
    best: Fitted | None = None
    shipped = np.nan
    for pixel, area in itertools.product(PIXELS, AREAS):
        found = {
            kind: rival_found_again(part, python, cache, pixel, area, volumes=False)
            for kind, part in images.items()
        }
        tops = highest(found["empty"], len(images["empty"]))
        nodes = peak_thresholds(images["empty"].totals, tops)
        f1 = f1_of(images["cavities"], found["cavities"], nodes)
        if (pixel, area) == (0.4, RIVAL_AREA):
            shipped = f1
        if best is None or f1 > best.f1:
            counts, peak = (tuple(map(float, values)) for values in nodes)
            scaling = calibrated(images, found)
            best = Fitted(pixel, area, counts, peak, scaling, (1.0, 0.0), f1, np.nan)
    assert best is not None
    maps = {kind: rival_found(part, python, cache).probability for kind, part in images.items()}
    return replace(best, shipped_f1=shipped, pixels=calibrated_map(images, maps))


def f1_of(images: Images, found: Found, nodes: tuple[np.ndarray, np.ndarray]) -> float:
    """Cavity F1 in images with cavities, at thresholds by counts."""
    here = limits(images.totals, *nodes)
    made = metrics.detection_metrics(
        found.scored(images), here, np.ones((1, len(images))), summary=lambda v: float(v[0])
    )
    return float(made["f1"])


def calibrated(images: dict[str, Images], found: dict[str, Found]) -> tuple[float, float]:
    """Platt scaling of the peaks of all candidates, in images with cavities and without."""
    parts = []
    for kind, one in found.items():
        scored = one.scored(images[kind])
        hit = matching.match(scored) >= 0
        share = np.full(len(hit), SHARES[kind] / len(images[kind]))
        parts.append((logit(scored.candidates["score"]), hit, share))
    return platt(parts)


def calibrated_map(images: dict[str, Images], maps: dict[str, np.ndarray]) -> tuple[float, float]:
    """Platt scaling of the map on a tenth of the pixels."""
    rng = np.random.default_rng(0)  # which pixels are taken is no part of the data
    parts = []
    for kind, part in images.items():
        keep = ~part.invalid & (rng.random(part.invalid.shape) < 0.1)
        share = np.full(int(keep.sum()), SHARES[kind] / len(part))
        parts.append((logit(maps[kind][keep]), part.mask[keep] > 0, share))
    return platt(parts)


def platt(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Slope and offset from logits, outcomes and weights of all kinds of images."""
    logits, hits, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    scaling = fit_platt(logits, hits, weights / weights.mean())
    return float(scaling.slope), float(scaling.offset)


def apply(fitted: Fitted, images: Images, python: str, cache: Path, volumes: bool = True) -> Found:
    """CADET's candidates in a set with fitted thresholds, its probabilities calibrated.

    Volumes take most of the time; they can be left out.
    """
    found = rival_found_again(images, python, cache, fitted.pixel, fitted.area, volumes)
    raw = limits(images.totals, fitted.log10_counts, fitted.peak)
    candidates = found.candidates.copy()
    candidates["score"] = scaled(candidates["score"], fitted.cavity)
    return replace(
        found,
        candidates=candidates,
        probability=scaled(found.probability, fitted.pixels).astype(np.float16),
        thresholds=scaled(raw, fitted.cavity),
    )


def scaled(p: np.ndarray, scaling: tuple[float, float]) -> np.ndarray:
    """Probabilities after Platt scaling."""
    return 1 / (1 + np.exp(-(scaling[0] * logit(p) + scaling[1])))
