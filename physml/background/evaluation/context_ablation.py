"""Events parted from what surrounds them: in another frame, or with another event's pixels.

A score that uses context legitimately must lose that gain in another frame: there it may know no
more than the event's own pixels tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.arrays import Bools, Floats, Ints, Rows, spans
from ..core.events import PATCH, Found
from ..core.frames import PIXEL, Frames
from ..inference.inputs import ENERGY, LENGTH, PEAK_SHARE, PIXELS, WIDTH, Members
from .metrics import Events

#: Events in order of energy that exchange their pixels.
NEIGHBOURS = 50
_HALF = PATCH // 2
_SHAPE = [PEAK_SHARE, PIXELS, LENGTH, WIDTH]


def isolated(found: Found, events: Events) -> Bools:
    """Tell which events have their 5 x 5 patch for themselves, shape (number of events,).

    Others have part of their context in the patch, from where no exchange of frames takes it.
    """
    e = found.events[events.row]
    around = found.patches[events.row].sum(axis=(1, 2), dtype=np.float64)
    return np.asarray(np.abs(around - e["energy"]) < 1e-3 * e["energy"])


def exchange_frames(
    frames: Frames, found: Found, events: Events, rng: np.random.Generator
) -> tuple[Frames, Ints]:
    """Put each event into a frame of its own, together with all of another frame.

    Parameters
    ----------
    frames : Frames
    found : Found
        Their events.
    events : Events
        Those to move; best those that are `isolated`.
    rng : numpy.random.Generator

    Returns
    -------
    moved : Frames
        Without truth; as many frames as events, in the order of their exposures.
    of : ndarray of int64, shape (number of events,)
        The event in each frame: a row of `events`.

    Notes
    -----
    The other frame is drawn from the same exposure in proportion to the weights, whatever the
    event is, so that it says nothing about it. The pixels of the event's 5 x 5 patch come along;
    those of the other frame within or next to the patch are left out, so that the two never
    touch. Frames have the weights of their events.
    """
    exposure = frames.frame_exposure
    own = frames.position(events.frame)
    of = np.argsort(exposure[own], kind="stable").astype(np.int64)
    own, chosen = own[of], events[of]
    other = _draw_others(own, exposure, frames.weight.astype(np.float64), rng)
    peak = found.events[chosen.row]
    y, x = peak["y"].astype(np.int64), peak["x"].astype(np.int64)

    parts = []
    for source, reach, inside in ((own, _HALF, True), (other, _HALF + 1, False)):
        event, rows = spans(frames.starts[source], np.diff(frames.starts)[source])
        near = np.maximum(
            np.abs(frames.pixels["y"][rows] - y[event]), np.abs(frames.pixels["x"][rows] - x[event])
        )
        take = (near <= reach) == inside
        parts.append((rows[take], event[take]))
    rows, event = (np.concatenate(v) for v in zip(*parts, strict=True))
    pixels = np.empty(len(rows), PIXEL)
    for name in ("y", "x", "energy"):
        pixels[name] = frames.pixels[name][rows]
    pixels["frame"] = event
    moved = replace(
        frames,
        pixels=pixels[np.lexsort((pixels["x"], pixels["y"], pixels["frame"]))],
        index=np.arange(len(of), dtype=np.int64),
        weight=chosen.weight.astype(np.float32),
        particles=None,
        photons=None,
        exposures=_renumbered(frames, exposure[own]),
    )
    return moved, of


def event_rows(moved: Frames, found: Found, events: Events, original: Found) -> Ints:
    """Rows of the moved events among those found in the new frames, -1 where one is not found.

    Parameters
    ----------
    moved : Frames
        From `exchange_frames`.
    found : Found
        Events of the new frames.
    events : Events
        In the order of the new frames.
    original : Found
        Where the events come from.
    """
    peak = original.events[events.row]
    size = np.int64(moved.shape[0]) * moved.shape[1]

    def place(frame: Rows, table: Rows) -> Ints:
        inside = table["y"].astype(np.int64) * moved.shape[1] + table["x"]
        return frame.astype(np.int64) * size + inside

    wanted = place(np.arange(len(events)), peak)
    there = place(found.events["frame"], found.events)
    order = np.argsort(there)
    at = np.minimum(np.searchsorted(there[order], wanted), max(len(there) - 1, 0))
    if len(there) == 0:
        return np.full(len(wanted), -1, np.int64)
    return np.where(there[order][at] == wanted, order[at], -1).astype(np.int64)


def _draw_others(own: Ints, exposure: Ints, weight: Floats, rng: np.random.Generator) -> Ints:
    """Draw another frame of the same exposure for each event, in proportion to the weights."""
    other = np.empty(len(own), np.int64)
    for number in np.unique(exposure[own]):
        pool = np.flatnonzero(exposure == number)
        if len(pool) < 2:
            raise ValueError("an exposure has one frame only: there is no other to take")
        mine = np.flatnonzero(exposure[own] == number)
        share = np.cumsum(weight[pool])
        waiting = mine
        while len(waiting):
            draw = rng.random(len(waiting)) * share[-1]
            other[waiting] = pool[np.searchsorted(share, draw, side="right").clip(0, len(pool) - 1)]
            waiting = waiting[other[waiting] == own[waiting]]
    return other


def _renumbered(frames: Frames, exposure: Ints) -> Rows | None:
    """Exposures of the new frames, which are sorted by them."""
    if frames.exposures is None:
        return None
    number = np.bincount(exposure, minlength=len(frames.exposures))
    used = np.flatnonzero(number)
    table = frames.exposures[used].copy()
    table["n_frames"] = number[used]
    table["first_frame"] = np.cumsum(number[used]) - number[used]
    table["live_s"] = table["n_frames"] * table["frame_time"]
    return table


def exchanged_pixels(m: Members, rng: np.random.Generator) -> Members:
    """Let events of about equal energy exchange what their own pixels tell.

    Energies, places and all other clusters stay. Exchanged are the patches and what describes
    the shape; energies differ by a few per cent, since each goes to one of its `NEIGHBOURS` in
    order of energy.

    Parameters
    ----------
    m : Members
    rng : numpy.random.Generator
    """
    rows = np.flatnonzero(m.event >= 0)
    rows = rows[np.argsort(m.feature[rows, ENERGY], kind="stable")]
    block = np.arange(len(rows)) // NEIGHBOURS
    mixed = rows[np.lexsort((rng.random(len(rows)), block))]
    feature, patch = m.feature.copy(), m.patch.copy()
    feature[rows[:, None], _SHAPE] = m.feature[mixed[:, None], _SHAPE]
    scale = 10.0 ** (m.feature[rows, ENERGY] - m.feature[mixed, ENERGY])
    patch[rows] = m.patch[mixed] * scale[:, None, None].astype(np.float32)
    return replace(m, feature=feature, patch=patch)
