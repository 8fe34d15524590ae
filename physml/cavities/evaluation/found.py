"""Images of a set as an observer has them, and what a detector finds in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from physml.io.shards import open_shard
from physml.random import stream

from ..core import matching
from ..data.unobserved import find_unobserved
from ..inference.candidate import from_table
from ..inference.detector import OUTLINE, CavityDetector, Detection
from ..inference.fields import Field
from ..inference.refine.constants import Constants
from ..inference.refine.listed import refine_listed
from ..inference.search import Search
from ..learning.prepared import PREPARED, fill_masked
from ..simulator.batch import Batch
from . import sets
from .ideal_observer import Expectation, expectations

#: Images detected together.
BLOCK = 20


@dataclass(frozen=True)
class Images:
    """Images as an observer has them, and the truth.

    Attributes
    ----------
    counts : ndarray of float32, shape (n, H, W)
        Counts, masked point sources filled.
    exposure : ndarray of float32, shape (n, H, W)
        Relative exposure.
    invalid : ndarray of bool, shape (n, H, W)
        No exposure, or a filled source.
    mask : ndarray of uint8, shape (n, H, W)
        True instances.
    cavities : structured ndarray, shape (n, k)
        The simulator's table.
    """

    counts: NDArray[np.float32]
    exposure: NDArray[np.float32]
    invalid: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    cavities: NDArray[Any]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.counts)

    @property
    def totals(self) -> NDArray[np.float64]:
        """Total counts of each image, shape (n,)."""
        return self.counts.sum(axis=(1, 2), dtype=np.float64)

    def flat_fielded(self) -> NDArray[np.float32]:
        """Counts over relative exposure; 0 where less than 5 % were exposed and noise reigns."""
        seen = self.exposure > 0.05
        flat = np.divide(self.counts, self.exposure, out=np.zeros_like(self.counts), where=seen)
        return flat.astype(np.float32)


def observed(batch: Batch, seed: int) -> Images:
    """Images as an observer prepares them: masked point sources filled.

    Parameters
    ----------
    batch : Batch
    seed : int
        With the number of each image, it fixes the filling draws.
    """
    streams = [stream(seed, "evaluate", int(number)) for number in batch.index]
    return Images(
        fill_masked(batch.counts, batch.exposure, batch.invalid, streams),
        np.asarray(batch.exposure, np.float32),
        np.asarray(batch.invalid) > 0,
        batch.mask,
        batch.cavities,
    )


def frozen(name: str, n: int) -> Images:
    """Images of a frozen set, always the same."""
    images = observed(sets.evaluation_set(name, n), sets.SEED)
    return without_maps(images) if name in sets.UNMAPPED else images


def without_maps(images: Images) -> Images:
    """Images of an observer who has no exposure maps, and finds in them what was not observed."""
    flat = np.ones(images.counts.shape[1:])
    cut = np.stack([find_unobserved(counts.astype(float), flat) for counts in images.counts])
    exposure = (~cut).astype(np.float32)
    return replace(images, exposure=exposure, invalid=images.invalid & (images.exposure > 0) | cut)


def frozen_expectations(name: str, n: int) -> Iterator[Expectation]:
    """Expected counts of a frozen set, with what the ideal observer knows."""
    return expectations(sets.set_settings(name), sets.SEED, sets.numbers(name, n))


def held_out(path: Path, limit: int) -> Images:
    """First images of a prepared file."""
    names = ("counts", "exposure", "invalid", "mask", "cavities")
    with open_shard(path, PREPARED, verify=True) as shard:
        rows = slice(0, min(limit, len(shard)))
        read = {name: shard.read(name, rows) for name in names}
    return Images(
        read["counts"].astype(np.float32),
        read["exposure"].astype(np.float32),
        read["invalid"] > 0,
        read["mask"],
        read["cavities"],
    )


@dataclass(frozen=True)
class Found:
    """Findings of a detector in a set.

    Attributes
    ----------
    candidates : structured ndarray
        `matching.CANDIDATE_DTYPE`.
    labels : ndarray of uint8, shape (n, H, W)
        Label image of all candidates.
    probability : ndarray of float16, shape (n, H, W)
        Pixel probabilities.
    thresholds : ndarray, shape (n,)
        The detector's own threshold for each image.
    cpu_seconds : float
        CPU time of an image.
    companion : float, optional
        The detector's rule for further cavities in an image (`matching.decision_scores`).
    """

    candidates: NDArray[Any]
    labels: NDArray[np.uint8]
    probability: NDArray[np.float16]
    thresholds: NDArray[np.float64]
    cpu_seconds: float
    companion: float | None = None

    def scored(self, images: Images) -> matching.ScoredSet:
        """Findings beside the truth of the images in which they were made."""
        cavities = matching.true_cavities(images.cavities, images.mask)
        return matching.scored_set(
            images.totals, cavities, images.mask, self.candidates, self.labels, self.companion
        )


def find(detector: CavityDetector, images: Images, *, refine: bool = True) -> Found:
    """Run the detector over a set, without a background map and without a given centre.

    Parameters
    ----------
    detector : CavityDetector
    images : Images
    refine : bool
        Refine what a catalogue would list by its likelihood: sizes, places and their errors.
        Probabilities and label images are the networks' either way.
    """
    tables = []
    labels = np.zeros(images.counts.shape, np.uint8)
    probability = np.zeros(images.counts.shape, np.float16)
    thresholds = np.zeros(len(images))
    began = time.process_time()
    for start in range(0, len(images), BLOCK):
        part = slice(start, min(start + BLOCK, len(images)))
        made = detector.detect(
            images.counts[part], exposure=images.exposure[part], invalid=images.invalid[part]
        )
        for i, detection in enumerate(made, start=start):
            labels[i] = detection.labels
            probability[i] = detection.probability
            thresholds[i] = detection.threshold
            # Without the halo's parameters there is no likelihood.
            known = refine and getattr(detection, "halo", None) is not None
            tables.append(_refined(detector, images, i, detection) if known else detection.table)
    seconds = (time.process_time() - began) / max(len(images), 1)
    candidates = matching.candidates_of(tables)
    return Found(candidates, labels, probability, thresholds, seconds, matching.COMPANION)


def _refined(detector: CavityDetector, images: Images, row: int, detection: Detection) -> Table:
    """Table of a detection, its listed rows refined as `predict` refines them."""
    shape = detection.labels.shape
    field = Field(
        scale=1,
        x0=0,
        y0=0,
        counts=images.counts[row],
        exposure=images.exposure[row],
        background=None,
        invalid=images.invalid[row] | (images.exposure[row] <= 0),
        centre=((shape[1] - 1) / 2, (shape[0] - 1) / 2),  # only for the search, which is done
    )
    found = Search(shape, [field], [detection], from_table(field, detection.table))
    table = detection.table.copy()
    constants = Constants.of(detector.card)
    for one in refine_listed(found, found.selected(detector), constants):
        for name in (*OUTLINE, "radius", "radius_err", "position_err"):
            table[name][one.row] = getattr(one, name)
    return table
