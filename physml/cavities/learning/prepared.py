"""Prepared images: masked sources filled, centred, with the smooth model of their halo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.io.shards import Spec, open_shard
from physml.random import stream

from ..core.halo import fill_sources, find_centre, fit_halo
from ..inference.detector import Searchable
from ..simulator.batch import CAVITY_DTYPE, POINT_SOURCE, Batch

COUNTS_MAX = np.iinfo(np.uint16).max

_IMAGE = (None, None, None)
#: Contents of a raw shard that are used, and of a prepared file; both hold the truth beside them.
_TRUTH = {
    "mask": Spec(np.uint8, _IMAGE),
    "cavities": Spec(CAVITY_DTYPE, (None, None)),
    "index": Spec(np.int64, (None,)),
    "cluster": Spec(np.int64, (None,)),
}
RAW = {
    "counts": Spec(np.uint32, _IMAGE),
    "exposure": Spec(np.float16, _IMAGE),
    "background": Spec(np.float16, _IMAGE),
    "invalid": Spec(np.uint8, _IMAGE),
    **_TRUTH,
}
PREPARED = {
    "counts": Spec(np.uint16, _IMAGE),
    "root_model": Spec(np.float16, _IMAGE),
    "exposure": Spec(np.float16, _IMAGE),
    "invalid": Spec(np.uint8, _IMAGE),
    "centre": Spec(np.float32, (None, 2)),
    **_TRUTH,
}


def prepare(
    counts: NDArray[Any],
    exposure: NDArray[Any],
    background: NDArray[Any],
    invalid: NDArray[np.uint8],
    index: NDArray[np.int64],
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Fill sources and fit the smooth model of a batch.

    Half of the images, drawn at random, are fitted without knowledge of their background: that
    is how many observations come.

    Parameters
    ----------
    counts, exposure, background : ndarray, shape (n, H, W)
    invalid : ndarray of uint8, shape (n, H, W)
        Bits as in `Batch`.
    index : ndarray of int, shape (n,)
        Numbers of the images; their random streams follow from it.
    seed : int

    Returns
    -------
    dict
        counts (uint16, sources filled), root_model (float16, square root of the smooth expected
        counts), exposure (float16), invalid (uint8), centre (float32, (n, 2)).
    """
    known = np.array(background, np.float32)
    streams = [stream(seed, "preprocess", int(number)) for number in index]
    filled = fill_masked(counts, exposure, invalid, streams)
    for row, rng in enumerate(streams):
        if rng.random() < 0.5:
            known[row] = 0
    bad = invalid > 0
    fit = fit_halo(filled, exposure, known, bad, find_centre(filled, exposure, bad))
    return {
        # A nucleus may hold more than 65,535 counts; there the clipped value changes nothing.
        "counts": np.minimum(filled, COUNTS_MAX).astype(np.uint16),
        # The square root keeps faint and bright pixels within the range of a half float.
        "root_model": np.sqrt(fit.model).astype(np.float16),
        "exposure": np.asarray(exposure, np.float16),
        "invalid": np.asarray(invalid, np.uint8),
        "centre": fit.centre.astype(np.float32),
    }


def fill_masked(
    counts: NDArray[Any],
    exposure: NDArray[Any],
    invalid: NDArray[np.uint8],
    streams: list[np.random.Generator],
) -> NDArray[np.float32]:
    """Counts of a batch with the observer's masked sources filled, one random stream an image."""
    filled = np.empty(counts.shape, np.float32)
    for row, rng in enumerate(streams):
        # Where a source's circle reaches into a gap there is nothing to fill.
        source = (invalid[row] & POINT_SOURCE > 0) & (exposure[row] > 0)
        filled[row] = fill_sources(counts[row], source, rng)
    return filled


def prepare_batch(batch: Batch, seed: int) -> dict[str, NDArray[Any]]:
    """`prepare` for simulated observations that are still in memory."""
    return prepare(batch.counts, batch.exposure, batch.background, batch.invalid, batch.index, seed)


def prepare_slice(path: Path, first: int, last: int, seed: int) -> dict[str, NDArray[Any]]:
    """Prepared images of a slice of a raw shard, with their truth: one task of the preprocessing.

    Parameters
    ----------
    path : Path
    first, last : int
        Rows of the shard.
    seed : int
    """
    torch.set_num_threads(1)
    with open_shard(path, RAW) as shard:
        raw = {name: shard.read(name, slice(first, last)) for name in RAW}
    made = prepare(
        raw["counts"], raw["exposure"], raw["background"], raw["invalid"], raw["index"], seed
    )
    return made | {name: raw[name] for name in _TRUTH}


def searchable(arrays: Mapping[str, NDArray[Any]], rows: Any) -> Searchable:
    """Prepared images as the networks take them.

    Parameters
    ----------
    arrays : mapping
        As in `PREPARED`.
    rows : slice or ndarray of int
    """
    return (
        arrays["counts"][rows].astype(np.float32),
        np.square(arrays["root_model"][rows].astype(np.float32)),
        arrays["exposure"][rows].astype(np.float32),
        arrays["invalid"][rows] > 0,
    )
