"""Readout of a camera in time: which frame sees what, in which row.

Row r of a detector that is read row by row is read at phase(r) of each frame time, and shows what
came since it was read last. What comes at time t (in frame times) in that row belongs to frame
floor(t - phase(r)). Read all at once, every phase is 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ..core.arrays import Bools, Floats, Ints
from ..core.camera import CameraSettings
from ..core.detectors import DetectorSettings
from .charge import Charge, drift, merge
from .deposits import Left


def frame_of_row(
    camera: CameraSettings, detector: DetectorSettings, time: Floats, quadrant: Ints, y: Ints
) -> Ints:
    """Frames that see what comes at some time (in frame times) in rows."""
    frame: Ints = np.floor(time - camera.phase(detector, quadrant, y)).astype(np.int64)
    return frame


def mark(camera: CameraSettings, time: Floats, n_frames: int) -> Bools:
    """Frames that can see anything that comes at some times, as a mask."""
    out = np.zeros(n_frames, bool)
    last = np.floor(time).astype(np.int64)
    for frame in (last, last - 1) if camera.rolling else (last,):
        out[frame[(frame >= 0) & (frame < n_frames)]] = True
    return out


def seen(camera: CameraSettings, time: Floats, frames: Bools) -> Bools:
    """Times at which something comes that any of the marked frames can see, as a mask."""
    last = np.floor(time).astype(np.int64)
    n = len(frames)
    found = np.zeros(len(time), bool)
    for frame in (last, last - 1) if camera.rolling else (last,):
        inside = (frame >= 0) & (frame < n)
        found[inside] |= frames[frame[inside]]
    return found


def widen(frames: Bools, by: int) -> Bools:
    """Marked frames and as many on both sides of each."""
    out = frames.copy()
    for k in range(1, by + 1):
        out[k:] |= frames[:-k]
        out[:-k] |= frames[k:]
    return out


def moved_rows(camera: CameraSettings, detector: DetectorSettings, n: int, rng: Generator) -> Ints:
    """Rows by which each of n sources is shown too far up, because it came during the transfer."""
    shift = np.zeros(n, np.int64)
    if camera.transfer > 0:
        during = rng.random(n) < camera.transfer
        shift[during] = rng.integers(0, detector.ny, int(during.sum()))
    return shift


def gather(
    camera: CameraSettings,
    detector: DetectorSettings,
    left: Left,
    time: Floats,
    shift: Ints,
    frames: Bools,
) -> tuple[Charge, Ints]:
    """Charge of a camera's pixels, by frame and quadrant.

    Parameters
    ----------
    camera : CameraSettings
    detector : DetectorSettings
    left : Left
        In the common plane, um. What lies between the quadrants is lost.
    time : ndarray, shape (n_sources,)
        When each source came, in frame times.
    shift : ndarray of int, shape (n_sources,)
        See `moved_rows`.
    frames : ndarray of bool, shape (n_frames,)
        Frames that are wanted.

    Returns
    -------
    charge : Charge
        `frame` is frame times number of quadrants + quadrant; each pixel once.
    pairs : ndarray of int64
        Source times number of frames + frame, of all that left anything; increasing.
    """
    plane, d = camera.plane(detector), detector
    k, n = plane.number, len(frames)
    quadrant, local = plane.locate(left.position[:, :2])
    on = np.flatnonzero(quadrant >= 0)
    position = np.concatenate([local[on], left.position[on, 2:]], 1)
    spread = drift(d, left.energy[on], position, left.owner[on] * k + quadrant[on], left.origin[on])
    source, quadrant = np.divmod(spread.source, k)
    y, x = np.divmod(spread.pixel, d.nx)
    frame = frame_of_row(camera, d, time[source], quadrant, y)
    y = (y + shift[source]) % d.ny
    inside = (frame >= 0) & (frame < n)
    inside[inside] = frames[frame[inside]]
    charge = replace(spread, frame=frame * k + quadrant, pixel=y * d.nx + x, source=source)[inside]
    pairs = np.unique(source[inside] * n + frame[inside])
    return lagging(camera, d, merge(charge, d.ny * d.nx)), pairs


def lagging(camera: CameraSettings, detector: DetectorSettings, charge: Charge) -> Charge:
    """Charge after it was moved row by row to row 0, each time leaving a share behind.

    What is left behind is caught up by the row above, and lost from the last one.
    """
    if camera.cti == 0:
        return charge
    d = detector
    y = charge.pixel // d.nx
    stays = (1 - camera.cti) ** (y + 1)
    behind = replace(
        charge, pixel=charge.pixel + d.nx, energy=charge.energy * (1 - stays)[:, None]
    )[y < d.ny - 1]
    kept = replace(charge, energy=charge.energy * stays[:, None])
    return merge(Charge.join([kept, behind]), d.ny * d.nx)
