"""Bootstrap intervals, resampled by image.

Pixels of an image, and cavities of a cluster, are not independent; images are. So whole images
are drawn with replacement (Efron & Tibshirani 1993, chapter 8), and what is computed from sums
over images is recomputed for all replicas at once as a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]

REPLICAS = 1000
LEVEL = 0.95
CHUNK_ELEMENTS = 8_000_000  # of temporary arrays: 64 MB


class Interval(NamedTuple):
    """A value and its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Format all three numbers alike: ``value [low, high]``."""
        value, low, high = (format(x, spec) for x in self)
        return f"{value} [{low}, {high}]"


def percentile_interval(value: float, replicas: np.ndarray, level: float = LEVEL) -> Interval:
    """Interval between the percentiles of the replicas; those not defined (NaN) are left out.

    Parameters
    ----------
    value : float
        The statistic of the data themselves.
    replicas : (n,) array
        The statistic of each resampled data set.
    level : float
        Probability content, e.g. 0.95.
    """
    finite = replicas[np.isfinite(replicas)]
    if not finite.size:
        return Interval(float(value), np.nan, np.nan)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def resampling_weights(
    n: int, replicas: int, rng: np.random.Generator, columns: int | None = None
) -> Iterator[np.ndarray]:
    """How often each of n images is drawn, in chunks of replicas: shape (chunk, n).

    Parameters
    ----------
    n, replicas : int
        Images, and resampled data sets of n images.
    rng : numpy.random.Generator
    columns : int, optional
        Width of the arrays that the caller makes from a chunk, to bound their memory.
    """
    chunk = max(1, CHUNK_ELEMENTS // max(n, columns or 1))
    equal = np.full(n, 1 / n)
    for start in range(0, replicas, chunk):
        yield rng.multinomial(n, equal, size=min(chunk, replicas - start)).astype(np.float64)


def bootstrap_sums(
    per_image: np.ndarray,
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    replicas: int = REPLICAS,
    level: float = LEVEL,
) -> Interval:
    """Interval of a statistic that is a function of sums over images.

    Parameters
    ----------
    per_image : (n, k) array
        k numbers of each image, e.g. its found and its true cavities, or its histograms.
    statistic : callable
        From sums of shape (..., k) to values of shape (...), e.g.
        ``lambda s: s[..., 0] / s[..., 1]`` for the completeness.
    rng : numpy.random.Generator
    replicas : int
    level : float

    Returns
    -------
    Interval
        NaN throughout where there are no images.
    """
    per_image = np.asarray(per_image, dtype=np.float64)
    if per_image.ndim != 2:
        raise ValueError(f"per_image must have shape (images, sums), found {per_image.shape}")
    n, k = per_image.shape
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = statistic(per_image.sum(axis=0))
        drawn = [statistic(w @ per_image) for w in resampling_weights(n, replicas, rng, k)]
    return percentile_interval(float(value), np.concatenate(drawn), level)


def bootstrap_ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    *,
    rng: np.random.Generator,
    replicas: int = REPLICAS,
    level: float = LEVEL,
) -> Interval:
    """Interval of sum(numerator) / sum(denominator).

    Parameters
    ----------
    numerator, denominator : (n,) array
        One number an image.
    rng : numpy.random.Generator
    replicas : int
    level : float
    """
    pairs = np.column_stack([numerator, denominator])
    return bootstrap_sums(
        pairs, lambda s: s[..., 0] / s[..., 1], rng=rng, replicas=replicas, level=level
    )


def repeated_quantile(
    values: np.ndarray, repeats: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """Quantiles of values that occur several times, interpolated linearly.

    Equal to ``np.quantile(np.repeat(values, repeats), probabilities)`` for each row of repeats.

    Parameters
    ----------
    values : (n,) array
        In ascending order.
    repeats : (..., n) array
        How often each value occurs.
    probabilities : (q,) array

    Returns
    -------
    (..., q) array
        NaN where nothing occurs.
    """
    cumulative = np.cumsum(repeats, axis=-1)
    total = cumulative[..., -1:]
    place = (total - 1) * np.asarray(probabilities)
    below = np.floor(place)
    ends = []
    for index in (below, np.minimum(below + 1, total - 1)):
        # Element number `index` of the repeated values is the first with cumulative > index.
        rank = (cumulative[..., None, :] <= index[..., :, None]).sum(axis=-1)
        ends.append(values[np.minimum(rank, len(values) - 1)])
    result = ends[0] + (place - below) * (ends[1] - ends[0])
    return np.where(total > 0, result, np.nan)
