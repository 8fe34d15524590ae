"""Frames as a detector reads them that is read row by row, one row after the other.

In the simulator all pixels of a frame begin and end to collect at once. Read row by row, a row's
frame begins when that row was read last: of a track that comes in between, the rows that were
read already lie in the frame before. Half of the particles are cut in two or parted from their
electrons in this way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.arrays import Ints
from ..core.frames import ORIGINS, Frames


def rolling(frames: Frames, rng: np.random.Generator) -> Frames:
    """Give each pixel to the frame that its row was read out in.

    Row y of n is read (y + 1/2) / n of a frame time after the first. A particle comes at any time
    of its frame; the pixels of rows whose own frame had not begun go to the frame before. X-rays
    come at any time in any row, which this leaves as it is. Of two pixels that fall together the
    energies add up, and the noise of the empty one is left out.

    Parameters
    ----------
    frames : Frames
        With truth; all frames of one exposure, without gaps.
    rng : numpy.random.Generator
        Of the times at which particles come.

    Returns
    -------
    Frames
        Without the pixels that went to a frame before the first.

    Raises
    ------
    ValueError
        Frames are missing, or do not say what left their charge.
    """
    if not frames.has_truth or frames.particles is None:
        raise ValueError("expected frames that say what left their charge")
    if len(frames) == 0 or not (np.diff(frames.index) == 1).all():
        raise ValueError("expected all frames of one exposure, without gaps")
    p = frames.pixels.copy()
    phase = rng.random(len(frames.particles))
    late = (p["y"] + 0.5) / frames.shape[0]
    source = p["source"].astype(np.int64)
    early = source >= 0
    early[early] = phase[source[early]] < late[early]
    p["frame"] -= early
    p = p[p["frame"] >= frames.index[0]]
    order = np.lexsort((p["x"], p["y"], p["frame"]))
    return replace(frames, pixels=_merged(p[order]))


def _merged(pixels: np.ndarray) -> np.ndarray:
    """Pixels of the same frame and place as one; the source is that which left the most."""
    same = np.ones(len(pixels), bool)
    for name in ("frame", "y", "x"):
        same[1:] &= pixels[name][1:] == pixels[name][:-1]
    same[:1] = False
    if not same.any():
        return pixels
    group: Ints = np.cumsum(~same) - 1
    first = np.flatnonzero(~same)
    out = pixels[first].copy()
    for name in ("energy", *ORIGINS):
        out[name] = np.bincount(group, pixels[name], minlength=len(first))
    most = np.lexsort((pixels["energy"], group))
    last = np.append(np.flatnonzero(np.diff(group)), len(group) - 1)
    out["source"] = pixels["source"][most[last]]
    return out
