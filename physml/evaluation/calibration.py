"""Calibration of probabilities and of errors: how far off they are, and how to set them right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtri

BINS = 20
#: Pixels below this are background that nobody would look at. In a map that is 95 % sky they
#: would hide any miscalibration of the rest: their own calibration error is next to nothing.
FOREGROUND = 0.05


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.68) -> np.ndarray:
    """Wilson's score interval of a binomial fraction (Wilson 1927).

    Parameters
    ----------
    successes, trials : (...) array
    level : float
        Probability content.

    Returns
    -------
    (..., 2) array
        Low and high end; 0 and 1 without trials.
    """
    from astropy.stats import binom_conf_interval

    k, n = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    ends = binom_conf_interval(k, np.maximum(n, 1), level, interval="wilson")
    return np.where(n[..., None] > 0, np.moveaxis(np.asarray(ends), 0, -1), (0.0, 1.0))


class Reliability:
    """Streams predicted probabilities and outcomes into bins; memory does not grow.

    Bins are [0, w), [w, 2w), ... and the last one includes 1.

    Parameters
    ----------
    bins : int
        Number of bins of equal width w = 1 / bins.
    """

    def __init__(self, bins: int = BINS) -> None:
        if bins < 1:
            raise ValueError(f"bins must be positive, found {bins}")
        self.bins = bins
        self.count = np.zeros(bins)
        self.sum_probability = np.zeros(bins)
        self.sum_outcome = np.zeros(bins)

    def add(
        self, probability: np.ndarray, outcome: np.ndarray, where: np.ndarray | None = None
    ) -> None:
        """Add predictions of any shape.

        Parameters
        ----------
        probability : array
            In [0, 1].
        outcome : array of the same shape
            True or 1 where it happened.
        where : bool array of the same shape, optional
            Which to count.

        Raises
        ------
        ValueError
            If shapes differ or a counted probability is not in [0, 1].
        """
        p, y = np.asarray(probability, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
        if p.shape != y.shape:
            raise ValueError(f"probability has shape {p.shape}, outcome {y.shape}")
        if where is not None:
            p, y = p[where], y[where]
        p, y = p.ravel(), y.ravel()
        if p.size and not (p.min() >= 0 and p.max() <= 1):
            raise ValueError(f"probabilities must lie in [0, 1], found {p.min()} to {p.max()}")
        index = np.minimum((p * self.bins).astype(np.int64), self.bins - 1)
        self.count += np.bincount(index, minlength=self.bins)
        self.sum_probability += np.bincount(index, p, minlength=self.bins)
        self.sum_outcome += np.bincount(index, y, minlength=self.bins)

    def __add__(self, other: Reliability) -> Reliability:
        """Combine two streams, e.g. of two workers."""
        if self.bins != other.bins:
            raise ValueError(f"cannot add {self.bins} bins and {other.bins} bins")
        total = Reliability(self.bins)
        for name in ("count", "sum_probability", "sum_outcome"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    @property
    def sums(self) -> np.ndarray:
        """Count, predicted and observed positives of each bin, flat: shape (3 bins,).

        One row an image makes the input of `bootstrap_sums`, with `calibration_error` as the
        statistic.
        """
        return np.concatenate([self.count, self.sum_probability, self.sum_outcome])

    @property
    def predicted(self) -> np.ndarray:
        """Mean predicted probability in each bin, NaN where it is empty: shape (bins,)."""
        with np.errstate(invalid="ignore"):
            return self.sum_probability / self.count

    @property
    def observed(self) -> np.ndarray:
        """Fraction of positives in each bin, NaN where it is empty: shape (bins,)."""
        with np.errstate(invalid="ignore"):
            return self.sum_outcome / self.count

    def observed_interval(self, level: float = 0.68) -> np.ndarray:
        """Binomial interval of `observed`, shape (bins, 2); for independent predictions."""
        return wilson(self.sum_outcome, self.count, level)

    def ece(self, above: float = 0.0) -> float:
        """Return the expected calibration error; see `calibration_error`."""
        return float(calibration_error(self.sums, above))


def _first_bin(bins: int, above: float) -> int:
    first = round(above * bins)
    if not (0 <= first < bins and np.isclose(first / bins, above)):
        raise ValueError(f"{above} is not the lower edge of one of {bins} bins")
    return first


def calibration_error(sums: np.ndarray, above: float = 0.0) -> np.ndarray:
    """Mean of abs(predicted - observed) over bins, by their counts: expected calibration error.

    To condition on the predicted probability is allowed (a calibrated map stays calibrated); to
    condition on the truth is not. That is why the foreground is cut by prediction.

    Parameters
    ----------
    sums : (..., 3 bins) array
        As in `Reliability.sums`, or sums of those over images.
    above : float
        Count only predictions from here on; the lower edge of a bin.

    Returns
    -------
    (...) array
        NaN where there are no such predictions.
    """
    sums = np.asarray(sums, dtype=np.float64)
    count, predicted, observed = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    first = _first_bin(count.shape[-1], above)
    gap = np.abs(predicted - observed)[..., first:].sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return gap / count[..., first:].sum(axis=-1)


class Scaling(NamedTuple):
    """Recalibration p' = sigmoid(slope logit(p) + offset); it changes no ranking.

    Attributes
    ----------
    slope, offset : float
    """

    slope: float
    offset: float


def fit_platt(logits: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> Scaling:
    """Platt scaling (Platt 1999): slope and offset of the highest likelihood, with his targets.

    Outcomes are pulled towards the middle by one pseudo-count of each kind, so that there is a
    solution for separable data, too.

    Parameters
    ----------
    logits : array
    outcome : array of the same shape
        True or 1 where it happened.
    weight : array of the same shape, optional
        How often each prediction counts.

    Returns
    -------
    Scaling

    Raises
    ------
    ValueError
        If shapes differ, or a logit is not finite, or no finite scaling fits best.
    """
    x, y, w = _flat(logits, outcome, weight)
    positives, negatives = float((w * y).sum()), float((w * (1 - y)).sum())
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = y * high + (1 - y) * low
    slope, offset = _newton(np.column_stack([x, np.ones_like(x)]), target, w)
    return Scaling(float(slope), float(offset))


def _flat(
    logits: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    w = np.ones_like(x) if weight is None else np.asarray(weight, dtype=np.float64)
    if not x.shape == y.shape == w.shape:
        raise ValueError(f"shapes differ: logits {x.shape}, outcome {y.shape}, weight {w.shape}")
    if not x.size or not np.isfinite(x).all():
        raise ValueError("logits must be finite, and there must be some")
    return x.ravel(), y.ravel(), w.ravel()


def _newton(features: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Minimise the weighted cross-entropy of sigmoid(features @ a): convex, few parameters.

    Raises
    ------
    ValueError
        If there is no minimum at finite parameters.
    """
    w = w / w.sum()
    a = np.zeros(features.shape[1])
    a[0] = 1.0
    loss = _cross_entropy(features @ a, y, w)
    for _ in range(100):
        p = expit(features @ a)
        gradient = features.T @ (w * (p - y))
        if np.abs(gradient).max() < 1e-10:
            return a
        hessian = (features * (w * p * (1 - p))[:, None]).T @ features
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break
        # Halve the step until it helps: far from the minimum, Newton's may overshoot.
        for _ in range(60):
            trial = a - step
            new = _cross_entropy(features @ trial, y, w)
            if new <= loss:
                break
            step /= 2
        if new > loss or np.array_equal(trial, a):
            return a  # no further progress in these digits
        a, loss = trial, new
        if np.abs(a).max() > 1e4:
            break
    raise ValueError("no finite calibration fits best: the outcomes are separable by the logits")


def _cross_entropy(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    # log(1 + exp(z)) - y z, without overflow.
    return float((w * (np.logaddexp(0, z) - y * z)).sum())


def error_scale(pulls: np.ndarray, level: float = 0.6827) -> float:
    """Factor by which predicted errors must be multiplied to cover what the level says.

    Parameters
    ----------
    pulls : array
        (predicted - true) / predicted standard deviation.
    level : float
        Nominal probability content of one standard deviation.
    """
    sizes = np.abs(np.asarray(pulls, dtype=np.float64).ravel())
    if not sizes.size:
        return float("nan")
    return float(np.quantile(sizes, level) / ndtri((1 + level) / 2))
