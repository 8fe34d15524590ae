r"""The ideal observer: the number of cavities that could be found at all.

The ideal observer knows the expected counts of the image exactly, halo, sources, exposure, PSF,
rims and background, and for each candidate cavity also its exact place, shape and depth. It asks
one question of each candidate: is it there? By Neyman and Pearson no test at the same false-alarm
rate finds more than the one that thresholds the likelihood ratio. With mu_1 the expected counts
with the cavity, mu_0 those with it filled in, and N Poisson counts::

    L = Sum_pixels  N ln(mu_1 / mu_0) - (mu_1 - mu_0)

    under mu_j:  E[L] = Sum mu_j g - (mu_1 - mu_0),  Var[L] = Sum mu_j g^2,  g = ln(mu_1 / mu_0)

L is a sum over hundreds of pixels; its distribution is taken as normal (the tests compare with
Monte Carlo). Pixels without exposure and pixels of masked point sources are left out.

False alarms, in two versions:

``known``
    An image without cavities is the same image with all its cavities filled in. The observer
    tests there the very shapes that the image would have had (one to six), and the image alarms
    when any of them passes. No search over places or shapes: an upper limit for every method.
``search``
    The observer must search: on each image of the cavity-less set it tests a bank of shapes
    drawn from the prior (the fractional decrements of the visible cavities of other images,
    kept at their pixels), and the image alarms when any of them passes. The threshold that
    follows is applied to the true shapes, as if they were in the bank. This charges a method for
    looking everywhere, but not for an unknown halo.

Neither observer fits anything: sloshing, fronts and point sources cannot confuse them. What
separates a real method from ``search`` is mostly that it has to learn the halo from the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from ..settings import SimulateSettings
from ..simulator.batch import observe as observe_draw
from ..simulator.instrument import blur, psf_pair
from ..simulator.prior import draw
from ..simulator.render import project_halo

#: Mean and standard deviation of the log-likelihood ratio of each cavity.
MOMENTS_DTYPE = np.dtype(
    [("image", "i8"), ("label", "i8")] + [(k, "f8") for k in ("mean0", "sd0", "mean1", "sd1")]
)
#: Below this many counts a pixel holds nothing to compare: edges of the PSF's reach, gaps.
FLOOR = 1e-9


@dataclass(frozen=True)
class Expectation:
    """Expected counts of one image, as it is and with cavities filled in.

    Attributes
    ----------
    expected : ndarray, shape (H, W)
        mu_1: as it is.
    filled : ndarray, shape (k, H, W)
        mu_0 of each cavity: all others still there.
    counts : ndarray, shape (H, W)
        The Poisson draw that the simulator makes of ``expected``.
    """

    expected: NDArray[np.float64]
    filled: NDArray[np.float64]
    counts: NDArray[np.int64]


def expectations(
    settings: SimulateSettings, seed: int, indices: Sequence[int]
) -> Iterator[Expectation]:
    """Render simulated images again, keeping what the observer knows and the shards do not.

    Filling a cavity returns the emission that it removed, through exposure and PSF. Its rim
    stays: the observer counts it as halo.

    Parameters
    ----------
    settings : SimulateSettings
    seed : int
    indices : sequence of int
        As for `simulate_batch`, whose counts these are.
    """
    size = settings.image_size
    for index in indices:
        d = draw(settings, seed, int(index))
        scene, exposure, made = observe_draw(settings, d)
        returned = np.zeros((len(d.cavities), size, size))
        if d.cavities:
            removed = made.each[0, : len(d.cavities)] * project_halo(scene.halo, size)
            seen = torch.as_tensor(exposure) * removed
            # From the halo's units to counts, as the simulator scaled this image.
            total = made.removed_counts[0, : len(d.cavities)].sum() / seen.sum().clamp_min(1e-30)
            returned[:] = exposure * blur(total * removed, *psf_pair(scene.params)).numpy()
        expected = made.expected[0].numpy().astype(np.float64)
        yield Expectation(expected, expected + returned, d.rng.poisson(expected))


def moments(
    mu0: NDArray[np.float64], mu1: NDArray[np.float64], valid: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Mean and standard deviation of the log-likelihood ratio without and with the cavity.

    Parameters
    ----------
    mu0, mu1 : ndarray
        Expected counts without and with the cavity.
    valid : ndarray of bool
        Pixels that are seen.

    Returns
    -------
    mean0, sd0, mean1, sd1 : float
    """
    seen = valid & (mu0 > FLOOR) & (mu1 > FLOOR)
    a, b = mu0[seen], mu1[seen]
    g = np.log(b / a)
    change = (b - a).sum()
    (m0, s0), (m1, s1) = (((c * g).sum() - change, np.sqrt((c * g * g).sum())) for c in (a, b))
    return float(m0), float(s0), float(m1), float(s1)


def observe(
    rendered: Iterator[Expectation], cavities: NDArray[Any], invalid: NDArray[Any], *, bank: int = 0
) -> tuple[NDArray[Any], NDArray[np.float16]]:
    """Moments of the likelihood ratio of every visible cavity of a set.

    Parameters
    ----------
    rendered : iterator of Expectation
        Of all images of the set, in order.
    cavities : structured ndarray, shape (t,)
        The set's visible cavities (`matching.true_cavities`).
    invalid : ndarray of int or bool, shape (n, H, W)
        Non-zero where a pixel is not seen.
    bank : int
        Keep the shapes of this many cavities, evenly spread over the set.

    Returns
    -------
    moments : structured ndarray, shape (t,)
        `MOMENTS_DTYPE`, row by row with ``cavities``.
    shapes : ndarray, shape (m, H, W)
        Decrements 1 - mu_1 / mu_0, m at most ``bank``.
    """
    out = np.zeros(len(cavities), MOMENTS_DTYPE)
    spread = np.linspace(0, max(len(cavities) - 1, 0), bank)
    wanted = set(spread.astype(int).tolist())
    shapes = []
    for i, made in enumerate(rendered):
        for row in np.flatnonzero(cavities["image"] == i).tolist():
            mu0 = made.filled[cavities["label"][row] - 1]
            numbers = moments(mu0, made.expected, invalid[i] == 0)
            out[row] = (i, cavities["label"][row], *numbers)
            if row in wanted:
                shape = 1 - made.expected / np.maximum(mu0, FLOOR)
                shapes.append(np.where(mu0 > FLOOR, shape, 0).astype(np.float16))
    return out, np.array(shapes, np.float16).reshape(-1, *invalid.shape[1:])


def alarm_probability(threshold: float, table: NDArray[Any]) -> NDArray[np.float64]:
    """Chance that each image of a table alarms when all its cavities are filled in (``known``).

    Parameters
    ----------
    threshold : float
        On the log-likelihood ratio.
    table : structured ndarray
        From `observe`.

    Returns
    -------
    ndarray, shape (n,)
        One chance for each image that has a row.
    """
    images, row = np.unique(table["image"], return_inverse=True)
    quiet = log_ndtr((threshold - table["mean0"]) / np.maximum(table["sd0"], 1e-12))
    return -np.expm1(np.bincount(row, weights=quiet, minlength=len(images)))


def known_threshold(table: NDArray[Any], level: float) -> float:
    """Threshold of the ``known`` observer at which a share ``level`` of the images alarms."""
    if len(table) == 0:
        raise ValueError("no visible cavity to test")
    spread = 40 * table["sd0"].max() + np.abs(table["mean0"]).max() + 1

    return float(brentq(lambda t: alarm_probability(t, table).mean() - level, -spread, spread))


def found_probability(threshold: Any, table: NDArray[Any]) -> NDArray[np.float64]:
    """Chance that each cavity is found, shape (t,).

    Parameters
    ----------
    threshold : float or ndarray, shape (t,)
    table : structured ndarray, shape (t,)
        Mean and standard deviation of the score of each cavity.
    """
    return ndtr((table["mean1"] - threshold) / np.maximum(table["sd1"], 1e-12))


def search_scores(
    shapes: NDArray[np.floating[Any]], rendered: Iterator[Expectation], invalid: NDArray[Any]
) -> NDArray[np.float64]:
    """Highest log-likelihood ratio over the bank in each image without cavities (``search``).

    Parameters
    ----------
    shapes : ndarray, shape (m, H, W)
        Decrements from `observe`.
    rendered : iterator of Expectation
        Of the images of a set without cavities; their counts are tested.
    invalid : ndarray of int or bool, shape (n, H, W)

    Returns
    -------
    ndarray, shape (n,)
    """
    if len(shapes) == 0:
        raise ValueError("the bank of shapes is empty")
    # A total decrement in a pixel would make one count there decisive; nothing is that certain.
    flat = np.clip(shapes.reshape(len(shapes), -1).astype(np.float64), -1, 0.999)
    gain, lost = np.log1p(-flat).astype(np.float32), flat.astype(np.float32)
    out = []
    for i, made in enumerate(rendered):
        seen = (invalid[i] == 0).ravel() & (made.expected.ravel() > FLOOR)
        counts = np.where(seen, made.counts.ravel(), 0).astype(np.float32)
        mu = np.where(seen, made.expected.ravel(), 0).astype(np.float32)
        out.append(float((gain @ counts + lost @ mu).max()))
    return np.array(out)


def ideal_completeness(
    table: NDArray[Any],
    counts: NDArray[np.float64],
    *,
    level: float = 0.05,
    edges: Sequence[float],
    search: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> dict[str, Any]:
    """Chance of finding each cavity, with one threshold and with one in each bin of counts.

    Parameters
    ----------
    table : structured ndarray, shape (t,)
        From `observe`.
    counts : ndarray, shape (n,)
        Total counts of the set's images.
    level : float
        Share of the images without cavities that may alarm.
    edges : sequence of float
        Bins of counts.
    search : tuple of ndarray, optional
        Scores (from `search_scores`) and total counts of the images without cavities. Without
        it, the ``known`` observer.

    Returns
    -------
    dict
        ``overall`` and ``binned``: ndarray (t,) of chances; ``threshold``; ``thresholds``.
    """

    def limit(rows: NDArray[np.bool_], empty: NDArray[np.bool_] | None) -> float:
        if search is None or empty is None:
            return known_threshold(table[rows], level)
        return float(np.quantile(search[0][empty], 1 - level, method="higher"))

    all_rows = np.ones(len(table), bool)
    everywhere = None if search is None else np.ones(len(search[0]), bool)
    threshold = limit(all_rows, everywhere)
    place = np.digitize(counts[table["image"]], edges[1:-1])
    binned = np.zeros(len(table))
    thresholds = []
    for k in range(len(edges) - 1):
        rows = place == k
        empty = None if search is None else np.digitize(search[1], edges[1:-1]) == k
        usable = rows.any() and (empty is None or empty.any())
        own = limit(rows, empty) if usable else threshold
        thresholds.append(own)
        binned[rows] = found_probability(own, table[rows])
    return {
        "overall": found_probability(threshold, table),
        "binned": binned,
        "threshold": threshold,
        "thresholds": thresholds,
    }
