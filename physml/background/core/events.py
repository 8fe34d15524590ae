"""Find events in detector frames: the baseline that every other method starts from.

Pixels above the split threshold that share a side grow together from the brightest one. What has
a shape that a photon's charge can have, and an energy it can have, is a valid event; the rest is
a particle. All frames are treated at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import spatial
from scipy.ndimage import binary_dilation

from .arrays import Bools, Floats, Ints, Rows, Singles
from .clusters import connected, measure
from .frames import ORIGINS, PIXEL, Frames
from .grades import INVALID, asca_grades, epic_patterns

#: Split threshold, event threshold and largest energy of an X-ray, keV.
SPLIT, EVENT_THRESHOLD, UPPER = 0.05, 0.1, 15.0
#: Event: brightest pixel, sum (keV), EPIC-pn pattern, ASCA grade, number of pixels, energy of the
#: brightest pixel (keV), energy centroid (pixels), flag bits, row of `Found.clusters`, whether it
#: passes as an X-ray.
EVENT = np.dtype(
    [
        ("frame", "i8"),
        ("y", "i2"),
        ("x", "i2"),
        ("energy", "f4"),
        ("pattern", "i2"),
        ("grade", "i2"),
        ("n_pixels", "i2"),
        ("peak", "f4"),
        ("xc", "f4"),
        ("yc", "f4"),
        ("flag", "i4"),
        ("cluster", "i4"),
        ("valid", "?"),
    ]
)
#: Bits of `flag`.
BORDER, NEAR_BAD, NEGATIVE, SATURATED = 1, 2, 4, 8
#: Labels of `TRUTH`.
PHOTON_LABEL, BACKGROUND_LABEL = 0, 1
#: What an event is: 0 photon or 1 background, share of its true energy by `ORIGINS`, and what left
#: most of it (as in `TRUE_PIXEL`).
TRUTH = np.dtype([("label", "u1"), ("share", "f4", (len(ORIGINS),)), ("source", "i4")])
#: Pixels between frames in trees of neighbours: no frame is as large.
APART = 1e6
#: Side of the patch around an event's brightest pixel, pixels.
PATCH = 5
_REACH = PATCH // 2
_MAX_COUNT = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Found:
    """Events and clusters of some frames.

    Attributes
    ----------
    events : structured ndarray, shape (m,)
        `EVENT`, one for each cluster with a pixel above the event threshold, valid or not.
    clusters : structured ndarray, shape (k,)
        `CLUSTER`, in order of their first pixels.
    patches : ndarray of float32, shape (m, 5, 5)
        keV around the brightest pixel of each event, of all pixels of the frame; 0 outside of the
        detector and at bad pixels.
    pixel_cluster, pixel_event : ndarray of int32, shape (n_pixels,)
        Cluster and event of each pixel of the frames, -1 for none.
    """

    events: Rows
    clusters: Rows
    patches: Singles
    pixel_cluster: NDArray[np.int32]
    pixel_event: NDArray[np.int32]


def find_events(
    frames: Frames,
    *,
    split: float = SPLIT,
    event: float = EVENT_THRESHOLD,
    upper: float = UPPER,
    bad: Bools | None = None,
    saturation: float | None = None,
    keep_border: bool = False,
) -> Found:
    """Find the events of sparse frames.

    Parameters
    ----------
    frames : Frames
    split : float
        Pixels have to be above it to belong to an event, keV.
    event : float
        The brightest pixel of an event has to be above it, keV.
    upper : float
        Clusters with a larger sum are particles, keV.
    bad : ndarray of bool, shape (ny, nx), optional
        Pixels to ignore.
    saturation : float, optional
        Pixels from here on are flagged as saturated, keV.
    keep_border : bool
        Give events at the border the pattern of the part that is seen, instead of -1. About one
        survivor in twelve is a particle that clips the edge, and easily told, so that results
        with and without them are not comparable.

    Returns
    -------
    Found

    Raises
    ------
    ValueError
        Pixels are not sorted by (frame, y, x), occur twice or lie outside of the detector; or
        thresholds are not in order.

    Notes
    -----
    One 4-connected cluster makes one event, however many local maxima it has: growth begins at
    the highest of them and takes every pixel it can reach, the other maxima included, so that
    nothing is left for them to grow from. Two photons in touching pixels therefore are one event,
    valid only if together they have a valid shape; a track with many maxima is one invalid event
    and not many valid ones. Of equally bright pixels the first in order of (y, x) is the maximum.

    Clusters that meet at a corner only stay apart for the EPIC-pn pattern. For the ASCA grade, as
    on board of Chandra, all pixels of the 3 x 3 count.

    The pattern is -1 if the shape is no photon's, if a pixel of the event lies in the outermost
    row or column, or if a pixel next to it (corners included) is below minus the split threshold,
    which no noise explains. An event next to a bad pixel keeps its pattern and is flagged: part of
    its charge may be missing. An event is valid if its pattern is not -1 and its sum is not above
    `upper`.
    """
    if not 0 <= split <= event <= upper:
        raise ValueError(
            f"expected 0 <= split <= event <= upper, found {split:g}, {event:g}, {upper:g} keV"
        )
    p = frames.pixels
    place = _Places(p, frames.shape)
    energy = np.ascontiguousarray(p["energy"])
    if bad is not None:
        bad = np.asarray(bad, bool)
        if bad.shape != frames.shape:
            raise ValueError(f"bad pixels of shape {bad.shape}, frames of {frames.shape}")
        energy = np.where(bad[place.y, place.x], np.float32(0), energy)
    on = np.flatnonzero(energy > split)
    label, n = connected(place.key[on], place.stride)
    clusters, peak = measure(
        p["frame"][on],
        place.y[on].astype(np.float64),
        place.x[on].astype(np.float64),
        energy[on].astype(np.float64),
        label,
        n,
        frames.shape,
        upper,
    )
    flag = np.where(clusters["border"], BORDER, 0)
    if bad is not None and bad.any():
        near = _dilate(bad)[place.y[on], place.x[on]]
        flag |= np.where(np.bincount(label, near, minlength=n) > 0, NEAR_BAD, 0)
    flag[label[place.next_to(energy < -split, on)]] |= NEGATIVE
    if saturation is not None:
        full = energy[on] >= saturation
        flag |= np.where(np.bincount(label, full, minlength=n) > 0, SATURATED, 0)

    bright = np.flatnonzero(clusters["peak"] > event)
    at = on[peak[bright]]
    patches = place.patches(energy, at)
    events = np.zeros(len(bright), EVENT)
    for name in ("frame", "energy", "peak", "xc", "yc"):
        events[name] = clusters[name][bright]
    events["y"], events["x"] = place.y[at], place.x[at]
    events["n_pixels"] = np.minimum(clusters["n_pixels"][bright], _MAX_COUNT)
    events["flag"], events["cluster"] = flag[bright], bright
    inner = patches[:, 1:-1, 1:-1]
    events["pattern"] = np.where(
        events["flag"] & (NEGATIVE if keep_border else BORDER | NEGATIVE),
        INVALID,
        epic_patterns(inner, clusters["n_pixels"][bright], split),
    )
    cut_off = _on_edge(events, frames.shape) & (not keep_border)
    events["grade"] = np.where(cut_off, 7, asca_grades(inner, split))
    events["valid"] = (events["pattern"] != INVALID) & ~clusters["particle"][bright]
    clusters["valid"][bright] = events["valid"]

    pixel_cluster = np.full(len(p), -1, np.int32)
    pixel_cluster[on] = label
    event_of = np.full(n + 1, -1, np.int32)  # the last one serves pixels without a cluster
    event_of[bright] = np.arange(len(bright))
    return Found(events, clusters, patches, pixel_cluster, event_of[pixel_cluster])


def find_in_exposures(frames: Frames, bad: Bools | None = None, keep_border: bool = False) -> Found:
    """Find events with the thresholds of the frames' exposures, which have to agree.

    Parameters
    ----------
    frames : Frames
    bad, keep_border : ndarray, bool
        See `find_events`.

    Raises
    ------
    ValueError
        The exposures have several split thresholds.
    """
    split = SPLIT
    if frames.exposures is not None:
        levels = np.unique(frames.exposures["threshold"])
        if len(levels) > 1:
            raise ValueError(f"expected exposures of one split threshold, found {levels} keV")
        split = float(levels[0])
    event = max(EVENT_THRESHOLD, split)
    return find_events(frames, split=split, event=event, bad=bad, keep_border=keep_border)


def frames_to_sparse(images: ArrayLike, split: float = SPLIT) -> Rows:
    """Take the pixels of dense frames that matter to `find_events`.

    Parameters
    ----------
    images : array_like, shape (n, ny, nx)
        keV, finite.
    split : float
        Pixels above it are taken, and those below minus it: they spoil what is next to them.

    Returns
    -------
    structured ndarray
        `PIXEL`, sorted; `frame` is the place in the stack.
    """
    values = np.asarray(images)
    if values.ndim != 3:
        raise ValueError(f"expected axes (frame, y, x), found shape {values.shape}")
    wanted = values > split
    wanted |= values < -split
    flat = np.flatnonzero(wanted)
    pixels = np.empty(len(flat), PIXEL)
    pixels["frame"], rest = np.divmod(flat, values.shape[1] * values.shape[2])
    pixels["y"], pixels["x"] = np.divmod(rest, values.shape[2])
    pixels["energy"] = values.reshape(-1)[flat]
    return pixels


def truth(found: Found, frames: Frames) -> Rows:
    """Label, shares and source of the true energy of each event.

    Parameters
    ----------
    found : Found
    frames : Frames
        The frames of `found`, with truth.

    Returns
    -------
    structured ndarray, shape (m,)
        `TRUTH`. The label is the side that left more true energy; equal sides, and events of
        noise alone (no shares, source -1), are background. The source is the one with most energy
        among those of the label's side, counting for each pixel the source that leads there.

    Raises
    ------
    ValueError
        The frames have no truth.
    """
    if not frames.has_truth:
        raise ValueError("the frames do not say what left their charge")
    m = len(found.events)
    rows = np.flatnonzero(found.pixel_event >= 0)
    event = found.pixel_event[rows].astype(np.int64)
    deposits = np.stack([frames.pixels[name][rows] for name in ORIGINS], axis=1).astype(np.float64)
    sums = np.stack([np.bincount(event, d, minlength=m) for d in deposits.T], axis=1)
    total = sums.sum(axis=1)
    out = np.zeros(m, TRUTH)
    np.divide(sums, total[:, None], out=sums, where=total[:, None] > 0)
    out["share"] = sums
    photon = sums[:, -1] > sums[:, :-1].sum(axis=1)
    out["label"] = np.where(photon, PHOTON_LABEL, BACKGROUND_LABEL)
    source = frames.pixels["source"][rows].astype(np.int64)
    side = np.where(photon[event], source <= -2, source >= 0)
    out["source"] = _leading(event[side], source[side], deposits.sum(axis=1)[side], m)
    return out


def leading_sources(found: Found, frames: Frames) -> Ints:
    """Particle that left most of the true energy of each cluster, shape (k,).

    Parameters
    ----------
    found : Found
    frames : Frames
        The frames of `found`, with truth.

    Returns
    -------
    ndarray of int64, shape (k,)
        Row of `Frames.particles`; -1 where no particle left anything.
    """
    source = frames.pixels["source"].astype(np.int64)
    rows = np.flatnonzero((found.pixel_cluster >= 0) & (source >= 0))
    energy = np.zeros(len(rows))
    for name in ORIGINS[:-1]:
        energy += frames.pixels[name][rows]
    cluster = found.pixel_cluster[rows].astype(np.int64)
    return _leading(cluster, source[rows], energy, len(found.clusters)).astype(np.int64)


def nearest_particle(found: Found, frames: Frames) -> tuple[Floats, Ints]:
    """Nearest pixel of a particle in the frame of each event.

    Parameters
    ----------
    found : Found
    frames : Frames
        The frames of `found`.

    Returns
    -------
    distance : ndarray of float64, shape (m,)
        From the event's centroid to the pixel's centre, pixels; inf where the frame has no
        particle. 0 at least for events that are particles themselves.
    cluster : ndarray of int64, shape (m,)
        Its cluster, -1 where there is none.
    """
    events, pixels = found.events, frames.pixels
    particle = found.pixel_cluster >= 0
    particle[particle] = found.clusters["particle"][found.pixel_cluster[particle]]
    places = in_planes(frames, pixels["frame"], pixels["y"], pixels["x"])
    points = in_planes(frames, events["frame"], events["yc"], events["xc"])
    near, row = (values[:, 0] for values in nearest_in_frame(places, particle, points, 1))
    distance, cluster = np.where(row < 0, np.inf, near), np.full(len(events), -1, np.int64)
    cluster[row >= 0] = found.pixel_cluster[row[row >= 0]]
    own = found.clusters["particle"][events["cluster"]]
    distance[own], cluster[own] = 0.0, events["cluster"][own]
    return distance, cluster


def in_planes(frames: Frames, frame: Ints, y: Rows, x: Rows) -> Floats:
    """Points in planes, one for each frame, `APART` pixels from each other, shape (n, 3)."""
    return np.column_stack([np.searchsorted(frames.index, frame) * APART, y, x])


def nearest_in_frame(places: Floats, which: Bools, points: Floats, k: int) -> tuple[Floats, Ints]:
    """Nearest places in the planes of points.

    Parameters
    ----------
    places, points : ndarray, shape (n, 3), (m, 3)
        From `in_planes`.
    which : ndarray of bool, shape (n,)
        Places that are looked at.
    k : int
        Number of places to find for each point.

    Returns
    -------
    distance : ndarray, shape (m, k)
        NaN where there are fewer.
    row : ndarray of int64, shape (m, k)
        In `places`; -1 where there are fewer.
    """
    rows = np.flatnonzero(which)
    if len(rows) == 0 or len(points) == 0:
        return np.full((len(points), k), np.nan), np.full((len(points), k), -1, np.int64)
    tree = spatial.cKDTree(places[rows])
    near, at = tree.query(points, k=list(range(1, k + 1)), distance_upper_bound=APART / 2)
    hit = np.isfinite(near)
    return np.where(hit, near, np.nan), np.where(hit, rows[np.minimum(at, len(rows) - 1)], -1)


def _leading(event: Ints, source: Ints, energy: Floats, m: int) -> NDArray[np.int32]:
    """Source with most energy in each event, -1 for none; of equals the lowest number."""
    out = np.full(m, -1, np.int32)
    if len(event) == 0:
        return out
    pairs, label = np.unique(np.stack([event, source], axis=1), axis=0, return_inverse=True)
    summed = np.bincount(label.ravel(), energy)
    order = np.lexsort((pairs[:, 1], -summed, pairs[:, 0]))
    first = np.append(True, np.diff(pairs[order, 0]) > 0)
    best = pairs[order[first]]
    out[best[:, 0]] = best[:, 1]
    return out


class _Places:
    """Places of sparse pixels on one line, padded so that only neighbours are near each other.

    Two empty columns after each row and two empty rows after each frame keep a step of up to two
    pixels from reaching a pixel of another row or frame.
    """

    def __init__(self, pixels: Rows, shape: tuple[int, int]) -> None:
        ny, nx = shape
        self.y, self.x = pixels["y"].astype(np.int64), pixels["x"].astype(np.int64)
        if len(pixels) and (
            self.y.min() < 0 or self.x.min() < 0 or self.y.max() >= ny or self.x.max() >= nx
        ):
            raise ValueError(f"expected pixels within {ny} x {nx}, found some outside")
        self.stride = nx + _REACH
        frame = pixels["frame"]
        # Numbers of frames may be huge; only their order matters.
        rank = np.cumsum(np.append(False, np.diff(frame) != 0)[: len(frame)], dtype=np.int64)
        self.key = (rank * (ny + _REACH) + self.y) * self.stride + self.x
        if (np.diff(self.key) <= 0).any() or (np.diff(frame) < 0).any():
            raise ValueError("expected pixels sorted by (frame, y, x), each once")

    def next_to(self, chosen: Bools, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places in `rows` of the pixels that touch a chosen pixel, corners included."""
        chosen_key = self.key[chosen]
        if len(rows) == 0 or len(chosen_key) == 0:
            return np.empty(0, np.intp)
        key = self.key[rows]
        steps = np.array([dy * self.stride + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
        wanted = (chosen_key[:, None] + steps).ravel()
        place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        return place[key[place] == wanted]

    def patches(self, energy: Singles, at: NDArray[np.intp]) -> Singles:
        """Squares of 5 x 5 around some of the pixels, shape (len(at), 5, 5)."""
        out = np.zeros((len(at), PATCH, PATCH), np.float32)
        if len(at) == 0:
            return out
        rows = np.arange(-_REACH, _REACH + 1) * self.stride
        left = self.key[at][:, None] + rows - _REACH
        first = np.searchsorted(self.key, left)
        # The pixels of a row of the patch follow each other in the table.
        place = np.minimum(first[..., None] + np.arange(PATCH), len(self.key) - 1)
        column = self.key[place] - left[..., None]
        event, row, k = np.nonzero((column >= 0) & (column < PATCH))
        out[event, row, column[event, row, k]] = energy[place[event, row, k]]
        return out


def _on_edge(events: Rows, shape: tuple[int, int]) -> Bools:
    """Events whose 3 x 3 does not fit into the detector, shape (m,)."""
    y, x = events["y"], events["x"]
    edge: Bools = (y == 0) | (x == 0) | (y == shape[0] - 1) | (x == shape[1] - 1)
    return edge


def _dilate(mask: Bools) -> Bools:
    """Grow a mask by its neighbours, corners included."""
    grown: Bools = binary_dilation(mask, np.ones((3, 3), bool))
    return grown
