"""Frames of a camera: its detectors (quadrants) in one table, and each of them by itself.

A frame number is a frame time of the whole camera. Pixels say which quadrant they are of and are
sorted by (frame, quadrant, y, x). A particle has a row for each frame in which it left anything:
read row by row, one particle is seen in two frames. What knows one detector only gets
`one_quadrant` or `side_by_side`.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from .arrays import Bools, Ints, Rows
from .camera import CameraSettings
from .detectors import DetectorSettings
from .frames import (
    EXPOSURE,
    PARTICLE,
    PHOTON,
    TRUE_PIXEL,
    Frames,
    check,
    exposure_row,
    frames_of_shard,
)
from .plane import Plane

#: `TRUE_PIXEL` with its quadrant.
CAMERA_PIXEL = np.dtype([*TRUE_PIXEL.descr, ("quadrant", "u1")])
#: `PARTICLE` with its number in the exposure, when it came (s from the exposure's start), and its
#: place in the common plane (mm). x, y are pixels from the corner of quadrant 0.
CAMERA_PARTICLE = np.dtype(
    [*PARTICLE.descr, ("primary", "i8"), ("time", "f8"), ("x_mm", "f4"), ("y_mm", "f4")]
)
#: `PHOTON` with its quadrant; x, y are that one's pixels.
CAMERA_PHOTON = np.dtype([*PHOTON.descr, ("quadrant", "u1")])
#: `EXPOSURE` with the camera: `area_cm2` is that of all quadrants; `order` is a row of `ORDERS`.
CAMERA_EXPOSURE = np.dtype(
    [
        *EXPOSURE.descr,
        ("across", "i4"),
        ("down", "i4"),
        ("gap_mm", "f4"),
        ("rolling", "?"),
        ("order", "i4"),
    ]
)
#: Orders in which rows are read.
ORDERS = ("up", "inward", "outward")


def camera_row(
    camera: CameraSettings, detector: DetectorSettings, n_frames: int, **values: float
) -> Rows:
    """Table of one exposure, `CAMERA_EXPOSURE`; see `exposure_row`."""
    table = widened(exposure_row(detector, n_frames, **values), CAMERA_EXPOSURE)
    table["area_cm2"] = camera.number * detector.area_cm2
    table["across"], table["down"], table["gap_mm"] = camera.across, camera.down, camera.gap
    table["rolling"], table["order"] = camera.rolling, ORDERS.index(camera.order)
    return table


def widened(table: Rows, dtype: np.dtype[Any]) -> Rows:
    """Table with the columns of another type: those it lacks are 0, those too many are gone."""
    out = np.zeros(len(table), dtype)
    for name in set(dtype.names or ()) & set(table.dtype.names or ()):
        out[name] = table[name]
    return out


def plane_of(frames: Frames) -> Plane:
    """Places of the quadrants.

    Raises
    ------
    ValueError
        The frames are not of a camera, or of several.
    """
    e = frames.exposures
    if e is None or "across" not in (e.dtype.names or ()):
        raise ValueError("expected frames of a camera")
    rows = np.unique(e[["across", "down", "gap_mm", "ny", "nx", "pixel_um"]])
    if len(rows) != 1:
        raise ValueError(f"expected frames of one camera, found {len(rows)}")
    row = rows[0]
    detector = DetectorSettings(
        name="camera",
        ny=int(row["ny"]),
        nx=int(row["nx"]),
        pixel_um=float(row["pixel_um"]),
        frame_time=float(e["frame_time"][0]),
    )
    return Plane(detector, int(row["across"]), int(row["down"]), 1e3 * float(row["gap_mm"]))


def side_by_side(frames: Frames) -> Frames:
    """Each quadrant of each frame as a frame of its own: number k of n is frame times n + k.

    Parameters
    ----------
    frames : Frames
        Of a camera.

    Returns
    -------
    Frames
        Tables as of one detector. Particles are those that left most of some pixel of that
        quadrant; x, y are its pixels, and `hit` holds where they came in there. Charge of an
        X-ray that was read in the frame beside its own has no source.
    """
    plane = plane_of(frames)
    n, p = plane.number, frames.pixels
    particles, photons = frames.particles, frames.photons
    if particles is None or photons is None or frames.exposures is None:
        raise ValueError("expected frames with their truth")
    quadrant = p["quadrant"].astype(np.int64)
    pixels = widened(p, TRUE_PIXEL)
    pixels["frame"] = p["frame"] * n + quadrant
    source = p["source"].astype(np.int64)
    by_particle, by_photon = source >= 0, source <= -2
    pair, row = np.unique(source[by_particle] * n + quadrant[by_particle], return_inverse=True)
    which, where = np.divmod(pair, n)
    table = widened(particles[which], PARTICLE)
    table["frame"] = particles["frame"][which] * n + where
    local = np.stack([particles["x_mm"][which], particles["y_mm"][which]], 1) * 1e3
    local = local - plane.corner_um(where)
    table["x"], table["y"] = (local / plane.detector.pixel_um - 0.5).T
    table["hit"] &= ((local >= 0) & (local <= plane.side_um)).all(1)
    pixels["source"][by_particle] = row
    light = widened(photons, PHOTON)
    light["frame"] = photons["frame"] * n + photons["quadrant"]
    strange: Bools = by_photon.copy()
    strange[by_photon] = light["frame"][-2 - source[by_photon]] != pixels["frame"][by_photon]
    pixels["source"][strange] = -1
    exposures = widened(frames.exposures, EXPOSURE)
    for name in ("first_frame", "n_frames", "live_s"):
        exposures[name] *= n
    exposures["area_cm2"] /= n
    return Frames(
        pixels=pixels,
        shape=frames.shape,
        index=(frames.index[:, None] * n + np.arange(n)).ravel(),
        weight=np.repeat(frames.weight, n),
        frame_time=frames.frame_time,
        particles=table,
        photons=light,
        exposures=exposures,
    )


def one_quadrant(frames: Frames, quadrant: int) -> Frames:
    """Frames of one quadrant of a camera, as of one detector alone.

    Raises
    ------
    ValueError
        No such quadrant, or the frames are not of a camera.
    """
    n = plane_of(frames).number
    if not 0 <= quadrant < n:
        raise ValueError(f"expected a quadrant from 0 to {n - 1}, found {quadrant}")
    every = side_by_side(frames)
    chosen = every.select(every.index % n == quadrant)

    def back(table: Rows) -> Rows:
        table = table.copy()
        table["frame"] //= n
        return table

    assert chosen.particles is not None
    assert chosen.photons is not None
    assert frames.exposures is not None
    exposures = widened(frames.exposures, EXPOSURE)
    exposures["area_cm2"] /= n
    return replace(
        chosen,
        pixels=back(chosen.pixels),
        index=chosen.index // n,
        particles=back(chosen.particles),
        photons=back(chosen.photons),
        exposures=exposures,
    )


def check_camera(frames: Frames, path: str | PathLike[str] | None = None) -> None:
    """Check that rows are in order and point to what is there; see `frames.check`."""
    n = plane_of(frames).number
    pixels = widened(frames.pixels, TRUE_PIXEL)
    pixels["frame"] = frames.pixels["frame"] * n + frames.pixels["quadrant"]
    index: Ints = (frames.index[:, None] * n + np.arange(n)).ravel()
    check(
        replace(frames, pixels=pixels, index=index, weight=np.repeat(frames.weight, n)),
        path,
    )


def read_camera_frames(path: str | PathLike[str]) -> Frames:
    """Read a raw shard of a camera.

    Raises
    ------
    InputError
        It is not one: see `frames.read_frames`.
    """
    tables = {
        "pixels": CAMERA_PIXEL,
        "particles": CAMERA_PARTICLE,
        "photons": CAMERA_PHOTON,
        "exposures": CAMERA_EXPOSURE,
    }
    frames = frames_of_shard(path, tables)
    check_camera(frames, path)
    return frames
