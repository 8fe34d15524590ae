"""Numbers that tell background events from photons: of the event itself, and of its frame.

None of them changes when the detector is turned or mirrored, and none is the event's place on it,
but for touching the border: a cut on position would tilt the response over the field.
"""

from __future__ import annotations

import numpy as np

from ..core.arrays import Bools, Floats, Ints, Rows, Singles
from ..core.clusters import half_angle
from ..core.events import BORDER, Found, in_planes, nearest_in_frame, nearest_particle
from ..core.frames import Frames

#: Of the event: energies in keV; sides, corners and ring as shares of the event's energy, sides
#: and corners from the highest to the lowest; ring is the rim of the 5 x 5.
LOCAL = (
    *("log_energy", "peak_share", "pixels", "shape", "grade"),
    *("side_1", "side_2", "side_3", "side_4", "corner_1", "corner_2", "corner_3", "corner_4"),
    *("ring", "centroid_offset", "border"),
)
#: Of the frame; distances in pixels, NaN where there is nothing to be near to. `track_...` is the
#: nearest particle: the event's distance from its axis (`track_off_axis`) and from its middle
#: along it (`track_along`), NaN if it has no axis. `neighbour_...` is the nearest other cluster
#: that is no particle.
CONTEXT = (
    *("track_distance", "track_log_energy", "track_pixels", "track_length", "track_width"),
    *("track_border", "track_off_axis", "track_along", "second_track_distance"),
    *("neighbour_distance", "neighbour_log_energy", "neighbour_pixels", "neighbour_valid"),
    *("tracks", "log_track_energy", "valid_events", "other_clusters"),
)
#: Of the event, then of the frame.
ALL = LOCAL + CONTEXT
_SIDES = np.array([1, 3, 5, 7])  # of a flattened 3 x 3
_CORNERS = np.array([0, 2, 6, 8])
_LEAST = 1e-3  # keV; below any threshold, so that logarithms are finite


def all_features(frames: Frames, found: Found) -> Singles:
    """Numbers of each event and of its frame, shape (m, len(ALL)).

    Parameters
    ----------
    frames : Frames
    found : Found
        Their events.
    """
    return np.concatenate([local_features(found), context_features(found, frames)], axis=1)


def local_features(found: Found) -> Singles:
    """Numbers of each event and its 5 x 5, shape (m, len(LOCAL))."""
    e = found.events
    energy = np.maximum(e["energy"].astype(np.float64), _LEAST)
    inner = found.patches[:, 1:-1, 1:-1].reshape(-1, 9)
    sides = -np.sort(-inner[:, _SIDES], axis=1) / energy[:, None]
    corners = -np.sort(-inner[:, _CORNERS], axis=1) / energy[:, None]
    ring = (found.patches.sum(axis=(1, 2)) - inner.sum(axis=1)) / energy
    columns = {
        "log_energy": np.log10(energy),
        "peak_share": e["peak"] / energy,
        "pixels": e["n_pixels"],
        # Single, double, triple, quad; the orientation says nothing.
        "shape": np.where(e["pattern"] < 0, -1, (e["pattern"] + 3) // 4),
        # Left and right splits are vertical ones of a turned detector.
        "grade": np.where(np.isin(e["grade"], (3, 4)), 2, e["grade"]),
        **{f"side_{k + 1}": sides[:, k] for k in range(4)},
        **{f"corner_{k + 1}": corners[:, k] for k in range(4)},
        "ring": ring,
        "centroid_offset": np.hypot(e["xc"] - e["x"], e["yc"] - e["y"]),
        "border": (e["flag"] & BORDER) > 0,
    }
    return _table(columns, LOCAL)


def context_features(found: Found, frames: Frames) -> Singles:
    """Numbers of what else is in the frame of each event, shape (m, len(CONTEXT)).

    Parameters
    ----------
    found : Found
    frames : Frames
        The frames of `found`.
    """
    e, c = found.events, found.clusters
    rank = np.searchsorted(frames.index, e["frame"])
    cluster_rank = np.searchsorted(frames.index, c["frame"])
    particle = c["particle"]
    n = len(frames.index)

    def count(which: Bools, weights: Rows | None = None) -> Floats:
        values = None if weights is None else weights[which]
        return np.bincount(cluster_rank[which], values, minlength=n)[rank].astype(np.float64)

    distance, track = nearest_particle(found, frames)
    columns = _of_track(e, c, distance, track)
    points = in_planes(frames, e["frame"], e["yc"], e["xc"])
    places = in_planes(frames, c["frame"], c["yc"], c["xc"])
    # Of the two nearest tracks by their centroids, one is usually the nearest by its pixels.
    far, other = nearest_in_frame(places, particle, points, 2)
    columns["second_track_distance"] = np.where(other[:, 0] == track, far[:, 1], far[:, 0])
    near, other = nearest_in_frame(places, ~particle, points, 2)
    own = other[:, 0] == e["cluster"]
    near, other = np.where(own, near[:, 1], near[:, 0]), np.where(own, other[:, 1], other[:, 0])
    there, safe = other >= 0, np.maximum(other, 0)
    columns["neighbour_distance"] = near
    for name, values in (
        ("log_energy", np.log10(np.maximum(c["energy"], _LEAST))),
        ("pixels", c["n_pixels"]),
        ("valid", c["valid"]),
    ):
        columns[f"neighbour_{name}"] = _where(there, values, safe)
    is_valid = c["valid"] & ~particle
    columns["tracks"] = count(particle)
    columns["log_track_energy"] = np.log10(1 + count(particle, c["energy"]))
    columns["valid_events"] = count(is_valid)
    columns["other_clusters"] = count(~is_valid & ~particle)
    return _table(columns, CONTEXT)


def _of_track(e: Rows, c: Rows, distance: Floats, track: Ints) -> dict[str, Rows]:
    """Features of the nearest particle."""
    there, row = track >= 0, np.maximum(track, 0)
    if len(c) == 0:
        c = np.zeros(1, c.dtype)
    cos, sin = half_angle(c["cos2"], c["sin2"])
    dx = e["xc"].astype(np.float64) - c["xc"][row]
    dy = e["yc"].astype(np.float64) - c["yc"][row]
    has_axis = there & ((c["cos2"] != 0) | (c["sin2"] != 0))[row]
    columns = {
        "track_distance": np.where(there, distance, np.nan),
        "track_log_energy": _where(there, np.log10(np.maximum(c["energy"], _LEAST)), row),
        "track_pixels": _where(there, c["n_pixels"], row),
        "track_border": _where(there, c["border"], row),
        "track_off_axis": np.where(has_axis, np.abs(dy * cos[row] - dx * sin[row]), np.nan),
        "track_along": np.where(has_axis, np.abs(dx * cos[row] + dy * sin[row]), np.nan),
    }
    for name in ("length", "width"):
        columns[f"track_{name}"] = _where(there, c[name], row)
    return columns


def _where(there: Bools, values: Rows, row: Ints) -> Floats:
    """Values of rows, NaN where there is none."""
    if len(values) == 0:
        return np.full(len(there), np.nan)
    return np.where(there, values[row].astype(np.float64), np.nan)


def _table(columns: dict[str, Rows], names: tuple[str, ...]) -> Singles:
    return np.column_stack([np.asarray(columns[name], np.float32) for name in names])
