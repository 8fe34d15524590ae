"""Two methods on identical images: differences, with intervals from the same resamples.

The intervals of two methods overlap where both tremble with the same images; the difference on
each resample does not. So each number's replicas are kept for both methods, drawn with the same
numbers of images, and subtracted one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.matching import ScoredSet
from . import metrics
from .found import Found, Images
from .set_metrics import set_metrics


def replicas_of(
    found: Found,
    scored: ScoredSet,
    images: Images,
    *,
    replicas: int,
    seed: int,
    empty: ScoredSet | None = None,
) -> dict[str, Any]:
    """Replicas of the numbers of one method on one set, the value itself first.

    Parameters
    ----------
    found : Found
    scored : ScoredSet
        The same findings beside the truth.
    images : Images
    replicas, seed : int
        Bootstrap; equal ones give equal resamples for every method.
    empty : ScoredSet, optional
        Findings of the method in the set without cavities.

    Returns
    -------
    dict
        As `set_metrics`, with arrays of shape (1 + replicas,) for intervals; and ``pixels``.
    """
    out = set_metrics(
        scored,
        found.thresholds,
        replicas=replicas,
        seed=seed,
        empty=empty,
        summary=np.asarray,
    )
    if len(scored.cavities):
        weights = metrics.image_weights(len(images), replicas, seed, index=3)
        out["pixels"] = metrics.pixel_replicas(
            found.probability, images.mask > 0, images.exposure > 0, weights
        )
    return out


def difference(
    ours: dict[str, Any], theirs: dict[str, Any], keys: Sequence[Any], *, about: float | None = None
) -> dict[str, float | None] | None:
    """Difference of one number, ours minus theirs, with its interval.

    Parameters
    ----------
    ours, theirs : dict
        From `replicas_of`, on the same images with the same resamples.
    keys : sequence
        Place of the number.
    about : float, optional
        The number is a bias: its distance from this value is compared.

    Returns
    -------
    dict or None
        None where one of them does not have the number.
    """
    values: list[NDArray[np.float64]] = []
    for tree in (ours, theirs):
        node: Any = tree
        for key in keys:
            try:
                node = node[key]
            except (KeyError, IndexError):
                return None
        array = np.asarray(node, np.float64)
        values.append(array if about is None else np.abs(array - about))
    return metrics.summarise(values[0] - values[1])
