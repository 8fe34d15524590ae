"""Sparse detector frames, with or without the truth behind them, and their file.

A frame is what the detector reads out in one go. Of its 262,144 pixels a few dozen hold charge,
so that only the pixels above the split threshold are kept, as rows of a table sorted by
(frame, y, x). The simulator adds what left the charge in each of them; data of a real detector
have the same layout without that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physml.exceptions import InputError
from physml.io.shards import Spec, read_shard

from .arrays import Ints, Rows, Singles
from .detectors import DetectorSettings

#: Measured pixel above the split threshold: energy in keV, after noise.
PIXEL = np.dtype([("frame", "i8"), ("y", "i2"), ("x", "i2"), ("energy", "f4")])
#: The same with the true deposits in keV by origin (the primary particle itself; secondaries born
#: outside or inside the silicon; X-rays), and what left most of it: a row of `Frames.particles`,
#: or -2 - (row of `Frames.photons`), or -1 for noise alone.
TRUE_PIXEL = np.dtype(
    [
        *PIXEL.descr,
        ("primary", "f4"),
        ("outside", "f4"),
        ("inside", "f4"),
        ("photon", "f4"),
        ("source", "i4"),
    ]
)
#: Columns of true deposits, in order.
ORIGINS = ("primary", "outside", "inside", "photon")
#: Kinds of primary particles.
PROTON, HELIUM, ELECTRON = 0, 1, 2
#: Primary particle: kind (0 proton, 1 helium, 2 electron of the flat independent component),
#: energy in MeV, whether it crossed the silicon itself, entry or nearest point in pixels.
PARTICLE = np.dtype(
    [
        ("frame", "i8"),
        ("kind", "u1"),
        ("energy", "f4"),
        ("hit", "?"),
        ("x", "f4"),
        ("y", "f4"),
        ("exposure", "i4"),
    ]
)
#: X-ray photon: energy in keV, where it came in in pixels, whether it left charge.
PHOTON = np.dtype(
    [
        ("frame", "i8"),
        ("energy", "f4"),
        ("x", "f4"),
        ("y", "f4"),
        ("detected", "?"),
        ("exposure", "i4"),
    ]
)
#: One set of conditions. `n_frames` counts all frames of the exposure, also those that were not
#: kept; `live_s` is their time; `gain` is what keV are multiplied with by mistake.
EXPOSURE = np.dtype(
    [
        ("exposure", "i4"),
        ("first_frame", "i8"),
        ("n_frames", "i8"),
        ("live_s", "f8"),
        ("frame_time", "f4"),
        ("phi", "f4"),
        ("standoff", "f4"),
        ("shield_mm", "f4"),
        ("gain", "f4"),
        ("enc", "f4"),
        ("threshold", "f4"),
        ("photon_rate", "f4"),
        ("area_cm2", "f4"),
        ("ny", "i4"),
        ("nx", "i4"),
        ("pixel_um", "f4"),
        ("thickness_um", "f4"),
    ]
)
_NONE = -1


def exposure_row(detector: DetectorSettings, n_frames: int, **values: float) -> Rows:
    """Table of one exposure.

    Parameters
    ----------
    detector : DetectorSettings
        As it was in this exposure: its frame time, noise, threshold and size are columns.
    n_frames : int
        Frames that were read out.
    **values : float
        Other columns of `EXPOSURE`; 0 where not given.

    Returns
    -------
    structured ndarray, shape (1,)
    """
    d = detector
    table = np.zeros(1, EXPOSURE)
    columns = {
        "n_frames": n_frames,
        "live_s": n_frames * d.frame_time,
        "frame_time": d.frame_time,
        "enc": d.enc,
        "threshold": d.split_keV,
        "area_cm2": d.area_cm2,
        "ny": d.ny,
        "nx": d.nx,
        "pixel_um": d.pixel_um,
        "thickness_um": d.thickness_um,
    }
    for name, value in (columns | values).items():
        table[name] = value
    return table


@dataclass(frozen=True)
class Frames:
    """Sparse frames of one detector.

    Attributes
    ----------
    pixels : structured ndarray, shape (n_pixels,)
        `PIXEL` or `TRUE_PIXEL`, sorted by (frame, y, x).
    shape : tuple of int
        Rows and columns of the detector.
    index : ndarray of int64, shape (n,)
        Numbers of the frames that are held, increasing; a frame need not have pixels.
    weight : ndarray of float32, shape (n,)
        1 / (probability that a frame like this one is held): weighted sums over the frames held
        estimate sums over all frames. 1 for real data.
    frame_time : float
        Seconds; nan where the exposures differ (then see `exposures`) or where it is not known.
    particles, photons, exposures : structured ndarray or None
        `PARTICLE`, `PHOTON`, `EXPOSURE`. Particles and photons are those of the frames held.
    """

    pixels: Rows
    shape: tuple[int, int]
    index: Ints
    weight: Singles
    frame_time: float = float("nan")
    particles: Rows | None = None
    photons: Rows | None = None
    exposures: Rows | None = None

    def __len__(self) -> int:
        """Number of frames held."""
        return len(self.index)

    @property
    def has_truth(self) -> bool:
        """True where the pixels have true deposits and sources."""
        return "source" in (self.pixels.dtype.names or ())

    @property
    def starts(self) -> Ints:
        """Rows of `pixels` where each frame begins, and their number at the end, shape (n + 1,)."""
        first = np.searchsorted(self.pixels["frame"], self.index, side="left")
        return np.append(first, len(self.pixels)).astype(np.int64)

    @property
    def frame_exposure(self) -> Ints:
        """Row of `exposures` of each frame, shape (n,); all 0 where there is no such table."""
        if self.exposures is None or len(self.exposures) == 0:
            return np.zeros(len(self), np.int64)
        order = np.argsort(self.exposures["first_frame"], kind="stable")
        first = self.exposures["first_frame"][order]
        return order[np.searchsorted(first, self.index, side="right") - 1]

    def position(self, frames: ArrayLike) -> Ints:
        """Places in `index` of frame numbers; -1 for those that are not held."""
        wanted = np.asarray(frames, np.int64)
        place = np.minimum(np.searchsorted(self.index, wanted), max(len(self) - 1, 0))
        if len(self) == 0:
            return np.full(wanted.shape, _NONE, np.int64)
        return np.where(self.index[place] == wanted, place, _NONE)

    def select(self, frames: ArrayLike) -> Frames:
        """Hold some of the frames only.

        Parameters
        ----------
        frames : array_like
            Frame numbers that are held, or a boolean array of shape (n,).

        Returns
        -------
        Frames
            Particles and photons of other frames are gone and `source` follows; all exposures
            stay.

        Raises
        ------
        KeyError
            A frame number is not held.
        """
        keep = np.asarray(frames)
        if keep.dtype != bool:
            place = self.position(keep)
            if (place < 0).any():
                raise KeyError(f"frame {int(keep.ravel()[np.argmax(place < 0)])} is not held")
            keep = np.zeros(len(self), bool)
            keep[place] = True
        index = self.index[keep]
        pixels = self.pixels[np.isin(self.pixels["frame"], index)]
        particles, particle_row = _cut(self.particles, index)
        photons, photon_row = _cut(self.photons, index)
        if self.has_truth:
            pixels["source"] = _translate(pixels["source"], particle_row, photon_row)
        return replace(
            self,
            pixels=pixels,
            index=index,
            weight=self.weight[keep],
            particles=particles,
            photons=photons,
        )

    def dense(self, frame: int) -> Singles:
        """One frame as an image in keV, shape (ny, nx); 0 below the threshold.

        Raises
        ------
        KeyError
            The frame is not held.
        """
        if self.position(frame) < 0:
            raise KeyError(f"frame {frame} is not held")
        image = np.zeros(self.shape, np.float32)
        first, last = np.searchsorted(self.pixels["frame"], [frame, frame + 1])
        rows = self.pixels[first:last]
        image[rows["y"], rows["x"]] = rows["energy"]
        return image

    @classmethod
    def from_dense(
        cls, images: ArrayLike, threshold: float, *, frame_time: float = float("nan")
    ) -> Frames:
        """Take the pixels above a threshold from images.

        Parameters
        ----------
        images : array_like, shape (n, ny, nx)
            Offset-subtracted frames, keV.
        threshold : float
            Split threshold, keV; pixels have to be above it.
        frame_time : float
            Seconds.
        """
        values = np.asarray(images)
        if values.ndim != 3:
            raise InputError.expected("frames", "axes (frame, y, x)", f"shape {values.shape}")
        frame, y, x = np.nonzero(values > threshold)
        pixels = np.empty(len(frame), PIXEL)
        pixels["frame"], pixels["y"], pixels["x"] = frame, y, x
        pixels["energy"] = values[frame, y, x]
        return cls(
            pixels=pixels,
            shape=(values.shape[1], values.shape[2]),
            index=np.arange(len(values), dtype=np.int64),
            weight=np.ones(len(values), np.float32),
            frame_time=frame_time,
        )

    def arrays(self) -> dict[str, Rows]:
        """Arrays with a row for each frame, for `write_shard`."""
        return {"index": self.index, "weight": self.weight, "frame_exposure": self.frame_exposure}

    def tables(self) -> dict[str, Rows]:
        """Tables for `write_shard`."""
        names = ("pixels", "particles", "photons", "exposures")
        return {n: table for n in names if (table := getattr(self, n)) is not None}


def _cut(table: Rows | None, index: Ints) -> tuple[Rows | None, Ints]:
    """Rows whose frame is held, and the new row of each old one (-1: gone)."""
    if table is None:
        return None, np.empty(0, np.int64)
    keep = np.isin(table["frame"], index)
    return table[keep], np.where(keep, np.cumsum(keep) - 1, _NONE)


def _translate(source: NDArray[np.int32], particle: Ints, photon: Ints) -> NDArray[np.int32]:
    """Rewrite sources for tables whose rows moved; what is gone becomes noise."""
    new = np.full(source.shape, _NONE, np.int64)
    by_particle, by_photon = source >= 0, source <= -2
    if len(particle):
        new[by_particle] = particle[source[by_particle]]
    if len(photon):
        row = photon[-2 - source[by_photon]]
        new[by_photon] = np.where(row >= 0, -2 - row, _NONE)
    return new.astype(np.int32)


def concatenate(parts: Sequence[Frames]) -> Frames:
    """Join frames of one detector shape, in increasing order of frame numbers.

    Raises
    ------
    ValueError
        No parts, shapes or kinds of tables differ, or frame numbers do not increase.
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    if len({p.shape for p in parts}) > 1 or len({p.pixels.dtype for p in parts}) > 1:
        raise ValueError("frames of different detectors, or with and without truth")
    index = np.concatenate([p.index for p in parts])
    if (np.diff(index) <= 0).any():
        raise ValueError("frame numbers must increase from part to part")
    pixels = [p.pixels for p in parts]
    if parts[0].has_truth:
        pixels = _renumbered(parts)
    times = {p.frame_time for p in parts}
    return Frames(
        pixels=np.concatenate(pixels),
        shape=parts[0].shape,
        index=index,
        weight=np.concatenate([p.weight for p in parts]),
        frame_time=times.pop() if len(times) == 1 else float("nan"),
        particles=_joined(p.particles for p in parts),
        photons=_joined(p.photons for p in parts),
        exposures=_joined(p.exposures for p in parts),
    )


def _joined(tables: Iterable[Rows | None]) -> Rows | None:
    found = list(tables)
    present = [t for t in found if t is not None]
    if len(present) not in (0, len(found)):
        raise ValueError("a table is there in some parts only")
    return np.concatenate(present) if present else None


def _renumbered(parts: Sequence[Frames]) -> list[Rows]:
    """Pixels whose sources are rows of the joined tables."""
    found, particle, photon = [], 0, 0
    for part in parts:
        pixels = part.pixels.copy()
        source = pixels["source"]
        pixels["source"] = source + np.where(source >= 0, particle, 0)
        pixels["source"] -= np.where(source <= -2, photon, 0).astype(np.int32)
        found.append(pixels)
        particle += 0 if part.particles is None else len(part.particles)
        photon += 0 if part.photons is None else len(part.photons)
    return found


#: Tables of a raw shard.
TABLES: Mapping[str, np.dtype[Any]] = {
    "pixels": TRUE_PIXEL,
    "particles": PARTICLE,
    "photons": PHOTON,
    "exposures": EXPOSURE,
}


def raw_spec(tables: Mapping[str, np.dtype[Any]] = TABLES) -> dict[str, Spec]:
    """Contents of a raw shard."""
    types = {"index": "i8", "weight": "f4", "frame_exposure": "i8", **tables}
    return {name: Spec(dtype, (None,)) for name, dtype in types.items()}


def read_frames(path: str | PathLike[str]) -> Frames:
    """Read a raw shard.

    Raises
    ------
    InputError
        It is not one: a table is missing or of another kind, frames are out of order, or rows
        point outside of their tables.
    """
    frames = frames_of_shard(path, TABLES)
    check(frames, Path(path))
    return frames


def frames_of_shard(path: str | PathLike[str], tables: Mapping[str, np.dtype[Any]]) -> Frames:
    """Read a shard with tables of given types, without checking what is in them.

    Raises
    ------
    InputError
        A table is missing or of another kind, or exposures have several shapes.
    """
    source = Path(path)
    shard = read_shard(source, raw_spec(tables))
    found = {name: shard[name].astype(dtype, copy=False) for name, dtype in tables.items()}
    exposures = found["exposures"]
    if len(exposures) == 0:
        raise InputError.expected(source, "at least one exposure", "none")
    shapes = {(int(e["ny"]), int(e["nx"])) for e in exposures}
    if len(shapes) > 1:
        raise InputError.expected(source, "exposures of one detector shape", f"{sorted(shapes)}")
    times = np.unique(exposures["frame_time"])
    return Frames(
        **found,
        shape=shapes.pop(),
        index=shard["index"].astype(np.int64, copy=False),
        weight=shard["weight"].astype(np.float32, copy=False),
        frame_time=float(times[0]) if len(times) == 1 else float("nan"),
    )


def check(frames: Frames, path: str | PathLike[str] | None = None) -> None:
    """Check that rows are in order and point to what is there.

    Raises
    ------
    InputError
        With the first thing that is wrong.
    """
    ny, nx = frames.shape
    p = frames.pixels
    if (np.diff(frames.index) <= 0).any():
        raise InputError.expected(path, "frame numbers that increase", "some that do not")
    if len(frames.weight) != len(frames.index):
        raise InputError.expected(
            path, f"{len(frames.index)} weights", f"{len(frames.weight)} of them"
        )
    if len(p) and (min(p["y"].min(), p["x"].min()) < 0 or p["y"].max() >= ny or p["x"].max() >= nx):
        raise InputError.expected(path, f"pixels within {ny} x {nx}", "some outside")
    place = (p["frame"] * ny + p["y"]) * nx + p["x"]
    if (np.diff(place) <= 0).any():
        raise InputError.expected(
            path, "each pixel once, sorted by (frame, y, x)", "rows out of order or doubled"
        )
    if not np.isin(p["frame"], frames.index).all():
        raise InputError.expected(path, "pixels of the frames listed in 'index'", "others")
    if frames.has_truth:
        n_particles = 0 if frames.particles is None else len(frames.particles)
        n_photons = 0 if frames.photons is None else len(frames.photons)
        source = p["source"]
        if len(p) and (source.max() >= n_particles or source.min() < -1 - n_photons):
            raise InputError.expected(path, "sources that are rows of their tables", "others")
