"""Metrics of probability maps, streamed over images.

A test set has tens of millions of pixels, and its bootstrap a thousand times as many. Each image
is reduced to two histograms of its scores (true and false pixels), on a grid fine enough that
nothing is lost in the digits one prints; every metric, and every replica of it, follows from
sums of those.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import expit

from physml.evaluation.bootstrap import LEVEL, REPLICAS, Interval, bootstrap_sums

#: Bins of the score, uniform in its logit. They take up to half a bin's precision from the average:
#: under 5e-4.
BINS = 4096
#: 8e-7 to 1 - 8e-7; float32 logits of sure pixels lie beyond, in the end bins.
LOGIT_RANGE = 14.0


def auroc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Area under the ROC curve from histograms of scores.

    The probability that a true pixel scores higher than a false one; ties (pixels of one bin)
    count half (Hanley & McNeil 1982).

    Parameters
    ----------
    positives, negatives : (..., bins) array
        Numbers of true and false pixels by ascending score.

    Returns
    -------
    (...) array
        NaN where there are no true or no false pixels.
    """
    positives, negatives = np.asarray(positives, float), np.asarray(negatives, float)
    below = np.cumsum(negatives, axis=-1) - negatives
    wins = (positives * (below + 0.5 * negatives)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return wins / (positives.sum(axis=-1) * negatives.sum(axis=-1))


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Average precision from histograms of scores: the sum of (R_n - R_{n-1}) P_n.

    Parameters
    ----------
    positives, negatives : (..., bins) array
        Numbers of true and false pixels by ascending score.

    Returns
    -------
    (...) array
        NaN where there are no true pixels.
    """
    positives, negatives = np.asarray(positives, float), np.asarray(negatives, float)
    true = np.cumsum(positives[..., ::-1], axis=-1)
    false = np.cumsum(negatives[..., ::-1], axis=-1)
    with np.errstate(invalid="ignore"):
        precision = np.where(true + false > 0, true / (true + false), 0.0)
        return (positives[..., ::-1] * precision).sum(axis=-1) / true[..., -1]


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 from (..., 3) counts of true positives, false positives, false negatives."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore"):
        return 2 * tp / (2 * tp + fp + fn)


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union from (..., 3) counts of tp, fp, fn."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore"):
        return tp / (tp + fp + fn)


def precision(counts: np.ndarray) -> np.ndarray:
    """Precision from (..., 3) counts of tp, fp, fn."""
    with np.errstate(invalid="ignore"):
        return counts[..., 0] / (counts[..., 0] + counts[..., 1])


def recall(counts: np.ndarray) -> np.ndarray:
    """Recall from (..., 3) counts of tp, fp, fn."""
    with np.errstate(invalid="ignore"):
        return counts[..., 0] / (counts[..., 0] + counts[..., 2])


class PixelScores:
    """Accumulates probability maps and truth masks, an image at a time.

    Parameters
    ----------
    threshold : float
        Where F1, IoU, precision and recall are wanted (exact, not binned). A pixel is positive
        from the threshold on.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self.edges = expit(np.linspace(-LOGIT_RANGE, LOGIT_RANGE, BINS - 1))
        self._positives: list[np.ndarray] = []
        self._negatives: list[np.ndarray] = []
        self._counts: list[tuple[int, int, int]] = []

    def add(
        self, probability: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None
    ) -> None:
        """Add images.

        Parameters
        ----------
        probability : (B, H, W) array
            In [0, 1].
        truth : (B, H, W) bool array
        valid : (B, H, W) bool array, optional
            Pixels to count.

        Raises
        ------
        ValueError
            If shapes differ, or a counted probability is not in [0, 1].
        """
        probability, truth = np.asarray(probability), np.asarray(truth, dtype=bool)
        valid = np.ones(truth.shape, dtype=bool) if valid is None else np.asarray(valid, bool)
        if not probability.shape == truth.shape == valid.shape or probability.ndim != 3:
            raise ValueError(
                "probability, truth and valid must have one shape (images, height, width), found "
                f"{probability.shape}, {truth.shape}, {valid.shape}"
            )
        for image, mask, use in zip(probability, truth, valid, strict=True):
            self._add(image[use].astype(np.float64), mask[use])

    def _add(self, scores: np.ndarray, truth: np.ndarray) -> None:
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise ValueError(
                f"probabilities must lie in [0, 1], found {scores.min()} to {scores.max()}"
            )
        bins = np.searchsorted(self.edges, scores, side="right")
        self._positives.append(np.bincount(bins[truth], minlength=BINS).astype(np.uint32))
        self._negatives.append(np.bincount(bins[~truth], minlength=BINS).astype(np.uint32))
        above = scores >= self.threshold
        hits = int((above & truth).sum())
        self._counts.append((hits, int(above.sum()) - hits, int(truth.sum()) - hits))

    @property
    def positives(self) -> np.ndarray:
        """Histograms of the true pixels' scores, shape (images, bins)."""
        return np.array(self._positives).reshape(-1, BINS)

    @property
    def negatives(self) -> np.ndarray:
        """Histograms of the false pixels' scores, shape (images, bins)."""
        return np.array(self._negatives).reshape(-1, BINS)

    @property
    def counts(self) -> np.ndarray:
        """True positives, false positives, false negatives: shape (images, 3)."""
        return np.array(self._counts).reshape(-1, 3)

    def summary(
        self,
        rng: np.random.Generator,
        *,
        replicas: int = REPLICAS,
        level: float = LEVEL,
    ) -> dict[str, Interval]:
        """All metrics over all images, with bootstrap intervals by image.

        Parameters
        ----------
        rng : numpy.random.Generator
        replicas : int
        level : float

        Returns
        -------
        dict
            ``auroc``, ``average_precision``, ``f1``, ``iou``, ``precision`` and ``recall``.
        """
        interval = partial(bootstrap_sums, rng=rng, replicas=replicas, level=level)
        both = np.concatenate([self.positives, self.negatives], axis=1)
        return {
            **{f.__name__: interval(both, partial(_halves, f)) for f in (auroc, average_precision)},
            **{f.__name__: interval(self.counts, f) for f in (f1, iou, precision, recall)},
        }


def _halves(metric: Callable[[np.ndarray, np.ndarray], np.ndarray], sums: np.ndarray) -> np.ndarray:
    n = sums.shape[-1] // 2
    return metric(sums[..., :n], sums[..., n:])
