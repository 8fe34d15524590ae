"""Windows of 64 x 64 pixels with one class each: what the source method is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.io.shards import Spec

from ..core.arrays import Ints
from ..core.events import Found
from ..core.frame_class import BOTH, NEITHER, PARTICLE, classes
from ..core.frames import Frames

WINDOW = 64


def cut_windows(
    frames: Frames, found: Found, label: NDArray[np.uint8], share: float, rng: np.random.Generator
) -> dict[str, NDArray]:
    """Cut a window from some of the frames, somewhere round one of their clusters.

    Parameters
    ----------
    frames : Frames
        Of one exposure, at least 64 pixels a side.
    found : Found
    label : ndarray, shape (number of clusters,)
        1 for particles.
    share : float
        Probability of a frame to be taken.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        As in `windows_spec`; frames without a cluster give none.
    """
    clusters = found.clusters
    place = frames.position(clusters["frame"])
    # One cluster of each frame, all alike: the first in random order.
    order = rng.permutation(len(clusters))
    held, first = np.unique(place[order], return_index=True)
    chosen = order[first][rng.random(len(held)) < share]
    ny, nx = frames.shape
    corner = [
        np.clip(
            np.round(clusters[axis][chosen]).astype(np.int64)
            - rng.integers(0, WINDOW, len(chosen)),
            0,
            size - WINDOW,
        )
        for axis, size in (("yc", ny), ("xc", nx))
    ]
    at = place[chosen]
    of_frame = np.full(len(frames), -1)
    of_frame[at] = np.arange(len(chosen))

    def inside(frame: NDArray, y: NDArray, x: NDArray) -> Ints:
        """Window in which something lies, or -1."""
        window = of_frame[frame]
        ok = window >= 0
        for values, start in ((y, corner[0]), (x, corner[1])):
            low = start[window] if len(start) else np.zeros(len(window))
            ok &= (values >= low) & (values < low + WINDOW)
        return np.where(ok, window, -1)

    p = frames.pixels
    window = inside(frames.position(p["frame"]), p["y"], p["x"])
    lit = window >= 0
    w = window[lit]
    image = np.zeros((len(chosen), WINDOW, WINDOW), np.float16)
    image[w, p["y"][lit] - corner[0][w], p["x"][lit] - corner[1][w]] = np.clip(
        p["energy"][lit], -60, 6e4
    )
    # Also a track that only reaches into the window is in it.
    of_window = classes(window, p, len(chosen))
    # Grading tells a particle by an event that is not valid, or that is too bright. A cluster's
    # window is that of its frame, so that each is held by one at most.
    on = lit & (found.pixel_cluster >= 0)
    held, at_pixel = np.unique(found.pixel_cluster[on], return_index=True)
    rejected = clusters["particle"].copy()
    rejected[found.events["cluster"][~found.events["valid"]]] = True
    told = (label[held] == 1) & rejected[held]
    seen = np.bincount(window[on][at_pixel], told, minlength=len(chosen)) > 0
    keep = of_window != NEITHER
    missed = np.isin(of_window, (PARTICLE, BOTH)) & ~seen
    number = np.full(
        len(chosen), -1 if frames.exposures is None else frames.exposures[0]["exposure"]
    )
    return {
        "image": image[keep],
        "frame_class": of_window[keep],
        "missed": missed[keep],
        "weight": frames.weight[at][keep].astype(np.float32),
        "exposure": number[keep].astype(np.int32),
    }


def windows_spec() -> dict[str, Any]:
    """Contents of a file of windows."""
    return {
        "image": Spec(np.float16, (None, WINDOW, WINDOW)),
        "frame_class": Spec(np.uint8, (None,)),
        "missed": Spec(np.bool_, (None,)),
        "weight": Spec(np.float32, (None,)),
        "exposure": Spec(np.int32, (None,)),
    }
