"""From found events and clusters to what the network is given.

A member of a set is a cluster of pixels: an event with its patch, or a particle. All members of a
frame are looked at together; a frame with very many is cut into groups of near neighbours, each
of which also sees the particles next to it.

Nothing changes when a frame is turned or mirrored: patches are brought into one standard
orientation, and pairs of members are told by distances and relative angles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

from ..core.arrays import Bools, Floats, Ints, Rows, Singles, spans
from ..core.events import APART, NEAR_BAD, SATURATED, Found
from ..core.frames import Frames

#: Describing numbers of a member, and their columns.
FEATURES = (
    "event",
    "particle",
    "log_energy",
    "log_peak_share",
    "log_pixels",
    "log_length",
    "log_width",
    "border",
    "flagged",
    "log_rate",
    "blind",
    "log_standoff",
)
(EVENT, PARTICLE, ENERGY, PEAK_SHARE, PIXELS, LENGTH, WIDTH, BORDER) = range(8)
(FLAGGED, RATE, BLIND, LOG_STANDOFF) = range(8, 12)
PLACE = ("x", "y", "cos2", "sin2")
SIDE = 5
#: Weight of the emptier half in the choice between rows and columns.
LESSER = np.float32(0.37)
#: Bits of the largest coordinate, pixels.
CURVE_BITS = 13
#: Distance to a cluster's outline below which an event would be part of it, pixels.
TOUCH = 1.5
#: Unit of distances, um.
REFERENCE_PIXEL = 130.0
#: Bits of an event's flag that are a feature.
FLAGS = NEAR_BAD | SATURATED
FRAMES_OF_PRIOR = 4.0
#: Lowest rate, particles a frame.
LEAST_RATE = 1e-3
#: Unit of stand-offs, and the one taken where it is not known, mm.
STANDOFF = 10.0
#: Energy below any threshold, so that logarithms are finite, keV.
LEAST_ENERGY = 1e-3


@dataclass(frozen=True)
class Members:
    """Members of sets, set after set.

    Attributes
    ----------
    feature : ndarray of float32, shape (t, 12)
        `FEATURES`, of order one.
    patch : ndarray of float32, shape (t, 5, 5)
        Pixels round the peak in standard orientation, keV; zeros for clusters too faint to be
        an event. Or, of shape (t, width), what the patch network makes of them.
    place : ndarray of float32, shape (t, 4)
        `PLACE`: centroid in units of 130 um; cosine and sine of the long axis' doubled angle,
        times the elongation.
    event, cluster : ndarray of int64, shape (t,)
        Rows of `Found.events` (-1: none, or not valid) and `Found.clusters`.
    query : ndarray of bool, shape (t,)
        False for members that are there for others' sake: each cluster is a query in exactly one
        set.
    start : ndarray of int64, shape (g + 1,)
        Where each set begins, and the number of members.
    frame : ndarray of int64, shape (g,)
        Place of the set's frame in `Frames.index`.
    """

    feature: Singles
    patch: Singles
    place: Singles
    event: Ints
    cluster: Ints
    query: Bools
    start: Ints
    frame: Ints

    def __len__(self) -> int:
        """Number of sets."""
        return len(self.frame)

    @property
    def sizes(self) -> Ints:
        """Members of each set, shape (g,)."""
        return np.diff(self.start)


def some_sets(m: Members, sets: Ints) -> Members:
    """Take some sets, with copies of their members."""
    sizes = m.sizes[sets]
    start = np.append(0, np.cumsum(sizes))
    _, rows = spans(m.start[sets], sizes)
    each = ("feature", "patch", "place", "event", "cluster", "query")
    return replace(
        m, **{name: getattr(m, name)[rows] for name in each}, start=start, frame=m.frame[sets]
    )


def particle_rate(found: Found, frames: Frames) -> Floats:
    """Mean number of clusters above the upper limit in a frame, by exposure.

    How much a particle near an event means depends on how many there are by chance.

    Returns
    -------
    ndarray of float64, shape (number of exposures, at least 1,)
        Pulled towards half a cluster a frame, by the weight of four frames: a rate of zero in a
        handful of frames is none.
    """
    place = frames.position(found.clusters["frame"])
    exposure, weight = frames.frame_exposure, np.asarray(frames.weight, np.float64)
    n = 1 if frames.exposures is None else max(1, len(frames.exposures))
    particle = place[found.clusters["particle"]]
    seen = np.bincount(exposure[particle], weight[particle], minlength=n)
    held = np.bincount(exposure, weight, minlength=n)
    return (seen + 0.5 * FRAMES_OF_PRIOR) / (held + FRAMES_OF_PRIOR)


def members(
    found: Found,
    frames: Frames,
    limit: int = 24,
    rate: float | Floats | None = None,
    standoff: float | Floats = STANDOFF,
) -> Members:
    """Describe all clusters of frames.

    Parameters
    ----------
    found : Found
    frames : Frames
        The frames they were found in.
    limit : int
        Largest number of members of a set.
    rate : float or ndarray of shape (number of exposures,), optional
        As from `particle_rate`, where it is known better than from these frames.
    standoff : float or ndarray of shape (number of exposures,)
        Distance from the silicon to the housing above and below, mm.
    """
    events, clusters = found.events, found.clusters
    n = len(clusters)
    of_cluster = np.full(n, -1, np.int64)
    of_cluster[events["cluster"]] = np.arange(len(events))
    patch = np.zeros((n, SIDE, SIDE), np.float32)
    patch[events["cluster"]] = upright(found.patches)
    frame = frames.position(clusters["frame"])
    flagged = np.zeros(n, bool)
    flagged[events["cluster"]] = events["flag"] & FLAGS > 0
    exposure = frames.frame_exposure[frame]
    every = np.atleast_1d(particle_rate(found, frames) if rate is None else rate)
    rate = np.broadcast_to(every, max(len(every), exposure.max(initial=0) + 1))[exposure]
    every = np.atleast_1d(np.asarray(standoff, np.float64))
    far = np.broadcast_to(every, max(len(every), exposure.max(initial=0) + 1))[exposure]
    unit = _pixel(frames)[exposure] / REFERENCE_PIXEL
    stretch = (clusters["length"] - clusters["width"]) / np.maximum(
        clusters["length"] + clusters["width"], 1e-6
    )
    axis = clusters["cos2"] * stretch, clusters["sin2"] * stretch
    place = np.stack([clusters["xc"] * unit, clusters["yc"] * unit, *axis], 1)
    order, query, start, of_frame = group(
        frame, clusters["xc"], clusters["yc"], clusters["particle"], limit
    )
    return Members(
        _features(clusters, flagged, rate, far)[order],
        patch[order],
        place.astype(np.float32)[order],
        np.where(clusters["valid"], of_cluster, -1)[order],
        order,
        query,
        start,
        of_frame,
    )


def _pixel(frames: Frames) -> Floats:
    """Pixel size by exposure, um."""
    if frames.exposures is None or len(frames.exposures) == 0:
        return np.full(1, REFERENCE_PIXEL)
    return np.asarray(frames.exposures["pixel_um"], np.float64)


def _features(c: Rows, flagged: Bools, rate: NDArray, standoff: NDArray) -> Singles:
    energy, peak = np.maximum(c["energy"], LEAST_ENERGY), np.maximum(c["peak"], LEAST_ENERGY)
    columns = (
        c["valid"],
        c["particle"],
        np.log10(energy),
        np.log10(peak / energy),
        0.5 * np.log1p(c["n_pixels"]),
        np.log1p(c["length"]) - np.log(2),
        np.log1p(c["width"]) - np.log(2),
        # Of valid events never set: a cut must not depend on where an X-ray came in.
        c["border"],
        flagged,
        np.log10(np.maximum(rate, LEAST_RATE)),
        np.zeros(len(c)),
        np.log10(standoff / STANDOFF),
    )
    return np.stack([np.asarray(v, np.float32) for v in columns], 1)


def upright(patches: NDArray) -> Singles:
    """Bring patches into one of their eight orientations, which depends on no other one.

    Mirrored so that the left half holds more than the right and the upper more than the lower,
    then transposed so that the left holds more than the upper.

    Parameters
    ----------
    patches : ndarray, shape (m, 5, 5)
    """
    flat = np.asarray(patches, np.float32).reshape(-1, SIDE * SIDE)
    # Summed in order of size, halves that mirror each other have bit for bit the same sum.
    held = np.sort(flat[:, _HALVES] * _HALF_WEIGHTS, 2).sum(2)
    left, right, upper, lower = held.T
    symmetry = (right > left) + 2 * (lower > upper)
    # Of a diagonal track the upper and the left half may hold the same; then the others decide.
    across = np.maximum(left, right) + LESSER * np.minimum(left, right)
    down = np.maximum(upper, lower) + LESSER * np.minimum(upper, lower)
    symmetry = symmetry + 4 * (down > across)
    return np.take_along_axis(flat, _ORIENTATIONS[symmetry], 1).reshape(-1, SIDE, SIDE)


def _halves() -> tuple[Ints, Singles]:
    """Pixels of the left, right, upper and lower half, and their weights, shape (4, 10).

    What lies in the left and in the upper half alike must not leave open which holds more: pixels
    weigh more the nearer they are to the half's own axis.
    """
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1) - SIDE // 2
    weight = np.stack([3 - np.abs(y)] * 2 + [3 - np.abs(x)] * 2).astype(np.float32)
    pixels = np.stack([np.flatnonzero(half) for half in (x < 0, x > 0, y < 0, y > 0)])
    return pixels, np.take_along_axis(weight, pixels, 1)


def _orientations() -> Ints:
    grid = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    made = []
    for number in range(8):
        turned = grid[:, ::-1] if number & 1 else grid
        turned = turned[::-1] if number & 2 else turned
        made.append((turned.T if number & 4 else turned).ravel())
    return np.array(made)


_ORIENTATIONS = _orientations()
_HALVES, _HALF_WEIGHTS = _halves()


def group(
    frame: Ints, x: NDArray, y: NDArray, particle: Bools, limit: int
) -> tuple[Ints, Bools, Ints, Ints]:
    """Sort members into sets of at most `limit`, frame by frame.

    Parameters
    ----------
    frame : ndarray of int, shape (m,)
        Frame of each member.
    x, y : ndarray, shape (m,)
    particle : ndarray of bool, shape (m,)
        Members that are shown to other sets of the same frame.
    limit : int

    Returns
    -------
    order : ndarray of int64, shape (t,)
        Members, set after set; a particle may come more than once.
    query : ndarray of bool, shape (t,)
        True once for each member.
    start : ndarray of int64, shape (g + 1,)
    of_frame : ndarray of int64, shape (g,)
        Increasing.
    """
    if len(frame) == 0:
        none = np.empty(0, np.int64)
        return none, np.empty(0, bool), np.zeros(1, np.int64), none
    _, inverse, counts = np.unique(frame, return_inverse=True, return_counts=True)
    crowded = counts[inverse] > limit
    # In a crowded frame, half of a set is for members, the other half for particles around.
    block = np.where(crowded, _along_curve(x, y), 0)
    order = np.lexsort((block, frame))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.arange(len(frame)) - first[inverse[order]]
    part = np.where(crowded[order], rank // (limit - limit // 2), 0)
    new = np.append(True, (np.diff(frame[order]) != 0) | (np.diff(part) != 0))
    number = np.cumsum(new) - 1
    of_frame = frame[order][new]
    extra, extra_set = _around(order, number, frame, x, y, particle, crowded, limit // 2)
    every = np.concatenate([order, extra])
    belongs = np.concatenate([number, extra_set])
    query = np.concatenate([np.ones(len(order), bool), np.zeros(len(extra), bool)])
    sort = np.argsort(belongs, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(belongs, minlength=len(of_frame)))])
    return every[sort], query[sort], start.astype(np.int64), of_frame.astype(np.int64)


def _along_curve(x: NDArray, y: NDArray) -> Ints:
    """Place on Hilbert's curve, on which neighbours are neighbours."""
    side = 1 << CURVE_BITS
    u, v = (np.clip(a, 0, side - 1).astype(np.int64) for a in (x, y))
    place = np.zeros(len(u), np.int64)
    for bit in reversed(range(CURVE_BITS)):
        s = 1 << bit
        right, upper = (u & s) > 0, (v & s) > 0
        place += s * s * ((3 * right) ^ upper)
        turned = ~upper & right
        u, v = np.where(turned, side - 1 - u, u), np.where(turned, side - 1 - v, v)
        u, v = np.where(upper, u, v), np.where(upper, v, u)
    return place


def _around(order, number, frame, x, y, particle, crowded, most):
    """Nearest particles to each set of a crowded frame that are not in it."""
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    there = np.flatnonzero(particle & crowded)
    asking = np.unique(number[crowded[order]])
    if len(there) == 0 or len(asking) == 0 or most == 0:
        return none
    count = np.bincount(number)
    centre = [np.bincount(number, v[order]) / count for v in (x, y, frame.astype(float))]
    tree = spatial.cKDTree(np.stack([x[there], y[there], frame[there] * APART], 1))
    # Of the nearest, those in the set itself are dropped.
    wanted = min(2 * most + 1, len(there))
    points = np.stack([centre[0], centre[1], centre[2] * APART], 1)[asking]
    distance, near = tree.query(points, wanted, distance_upper_bound=APART / 2)
    near, distance = near.reshape(len(asking), -1), distance.reshape(len(asking), -1)
    found = np.isfinite(distance)
    member = there[np.where(found, near, 0)]
    own = np.empty(len(frame), np.int64)
    own[order] = number
    found &= own[member] != asking[:, None]
    found &= np.cumsum(found, 1) <= most
    row, column = np.nonzero(found)
    return member[row, column], asking[row]


def outline(feature: NDArray) -> NDArray:
    """Half of the length of members' long axes, pixels, from their features (..., 12)."""
    return 0.5 * (2 * np.exp(feature[..., LENGTH]) - 1)


def ragged(start: Ints, sets: Ints) -> tuple[NDArray, NDArray]:
    """Rows of the members of some sets, padded to the largest.

    Returns
    -------
    rows : ndarray of int64, shape (n, k)
        0 where there is no member.
    present : ndarray of bool, shape (n, k)
    """
    first, size = start[sets], start[sets + 1] - start[sets]
    k = int(size.max(initial=1))
    present = np.arange(k) < size[:, None]
    return np.where(present, first[:, None] + np.arange(k), 0), present
