"""Counts of frames while they go by, and the frame that is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Floats, Ints, Rows
from ..core.events import Found
from ..core.frames import Frames
from .event_rows import REJECTED


def tracks_by_frame(frames: Frames, found: Found) -> NDArray[np.intp]:
    """Numbers of particle tracks in frames, shape (n,)."""
    at = frames.position(found.clusters["frame"][found.clusters["particle"]])
    return np.bincount(at, minlength=len(frames))


@dataclass
class Tally:
    """Counts of frames, made while they go by; events are counted from their rows.

    Attributes
    ----------
    frames : int
        Frames in the good time.
    read : int
        Frames that were looked at: fewer where some were not kept.
    invalid : float
        Events whose shape is no photon's, or above the upper energy, weighted.
    particles : ndarray of float64, shape (k,)
        Frames with 0, 1, ... particle tracks, weighted; the last entry is k - 1 or more.
    time, rate : list of float
        Middle of each block, s, and its tracks per frame.
    """

    frames: int = 0
    read: int = 0
    invalid: float = 0.0
    particles: Floats = field(default_factory=lambda: np.zeros(64))
    time: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def add(self, frames: Frames, found: Found, time: Callable[[Ints], Floats]) -> None:
        """Count the frames of a block by their particle tracks.

        Parameters
        ----------
        frames : Frames
        found : Found
        time : callable
            From frame numbers to the middles of the frames, s.
        """
        tracks = tracks_by_frame(frames, found)
        top = len(self.particles) - 1
        weight = frames.weight.astype(float)
        self.particles += np.bincount(np.minimum(tracks, top), weight, minlength=top + 1)
        self.read += len(frames)
        bad = ~found.events["valid"]
        self.invalid += float(frames.weight[frames.position(found.events["frame"][bad])].sum())
        if len(frames):
            self.time.append(float(time(frames.index[len(frames) // 2 :][:1])[0]))
            self.rate.append(float(np.average(tracks, weights=frames.weight)))

    @property
    def mean_rate(self) -> float:
        """Particle tracks in a frame."""
        total = self.particles.sum()
        return float(np.arange(len(self.particles)) @ self.particles / total) if total else 0.0


@dataclass
class Example:
    """One frame to look at.

    Attributes
    ----------
    frame : int
        Its number.
    pixels : structured ndarray
        `PIXEL`.
    events : structured ndarray
        Rows of its events.
    score : float
        How much there is to see.
    """

    frame: int
    pixels: Rows
    events: Rows
    score: float = 0.0


def better_example(
    example: Example | None, frames: Frames, found: Found, rows: Rows
) -> Example | None:
    """Take the frame with the most to see: rejected and kept events, and tracks.

    Parameters
    ----------
    example : Example or None
        The best of the frames before.
    frames : Frames
    found : Found
    rows : structured ndarray
        Rows of the event list.
    """
    if len(rows) == 0:
        return example
    at = frames.position(rows["FRAME"])
    rejected = np.bincount(at, (rows["FLAG"] & REJECTED) > 0, minlength=len(frames))
    kept = np.bincount(at, minlength=len(frames)) - rejected
    score = 4 * np.minimum(rejected, 2) + 2 * np.minimum(kept, 2)
    score = score + np.minimum(tracks_by_frame(frames, found), 3)
    best = int(np.argmax(score))
    value = float(score[best])
    if example is not None and value <= example.score:
        return example
    frame = int(frames.index[best])
    a, b = np.searchsorted(frames.pixels["frame"], [frame, frame + 1])
    return Example(frame, frames.pixels[a:b].copy(), rows[rows["FRAME"] == frame].copy(), value)
