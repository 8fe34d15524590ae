r"""From energy left at points in the silicon to measured pixels.

A cloud that drifts over d arrives with sigma(d)^2 = sigma0^2 + 2 (kT/q) d^2 / V and is cut by the
pixels' borders (error functions). A pixel with energy E is measured with variance
F w E + (ENC w)^2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..core.arrays import Floats, Ints, Rows
from ..core.detectors import FANO, PAIR, DetectorSettings
from ..core.frames import ORIGINS, TRUE_PIXEL
from ..core.records import Records

#: Clouds are followed to this many widths.
_REACH = 4.5
#: Shares of a cloud below this are left out, keV: a fiftieth of the noise.
_LEAST = 2e-4


@dataclass(frozen=True)
class Charge(Records):
    """Energy in pixels by frame: one row for each pixel (or pixel and source) with any.

    Attributes
    ----------
    frame : ndarray of int64
    pixel : ndarray of int64
        y nx + x.
    energy : ndarray, shape (n, 4)
        True, by `ORIGINS`, keV.
    source : ndarray of int64
        What left most of it.
    noise : ndarray
        What is measured beyond the true energy, keV; 0 until it is drawn.
    """

    frame: Ints
    pixel: Ints
    energy: Floats
    source: Ints
    noise: Floats

    @property
    def total(self) -> Floats:
        """True energy, keV."""
        total: Floats = self.energy.sum(1)
        return total


def cut(pitch: float, position: Floats, width: Floats) -> tuple[Ints, Floats]:
    """Pixels along one axis that clouds reach, and the shares that fall on them.

    Parameters
    ----------
    pitch : float
        Side of a pixel, um.
    position : ndarray, shape (n,)
        um from the detector's border.
    width : ndarray, shape (n,)
        Of the clouds, um.

    Returns
    -------
    first : ndarray of int64, shape (n,)
        First pixel; charge beyond the border goes to the outermost one.
    shares : ndarray, shape (n, k)
        Of the first and the k - 1 pixels behind it; sums are 1.
    """
    reach = _REACH * float(width.max(initial=0.0))
    number = int(np.ceil(2 * reach / pitch)) + 1
    if number == 2:
        # The nearest border decides.
        border = np.round(position / pitch)
        beyond = ndtr((position - border * pitch) / width)
        return border.astype(np.int64) - 1, np.stack([1 - beyond, beyond], 1)
    first = np.floor((position - reach) / pitch).astype(np.int64)
    edges = (first[:, None] + np.arange(1, number)) * pitch
    below = ndtr((edges - position[:, None]) / width[:, None])
    shares = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return first, shares


def collect(
    detector: DetectorSettings,
    energy: Floats,
    position: Floats,
    source: Ints,
    origin: NDArray[np.integer],
    frame_of: Ints,
) -> Charge:
    """Drift energy deposits into pixels.

    Parameters
    ----------
    detector : DetectorSettings
    energy : ndarray, shape (n,)
        keV.
    position : ndarray, shape (n, 3)
        x, y from the detector's corner, z from its readout side, um.
    source : ndarray of int, shape (n,)
        Numbers from 0.
    origin : ndarray of int, shape (n,)
        Index in `ORIGINS`.
    frame_of : ndarray of int
        Frame of each source.

    Returns
    -------
    Charge
        Sorted by frame and pixel, each once.
    """
    spread = drift(detector, energy, position, source, origin)
    n_pixels = detector.ny * detector.nx
    return merge(replace(spread, frame=frame_of[spread.source]), n_pixels)


def drift(
    detector: DetectorSettings,
    energy: Floats,
    position: Floats,
    source: Ints,
    origin: NDArray[np.integer],
) -> Charge:
    """Charge of each source in each pixel, without a frame: see `collect`."""
    width = detector.width(position[:, 2])
    first_x, share_x = cut(detector.pixel_um, position[:, 0], width)
    first_y, share_y = cut(detector.pixel_um, position[:, 1], width)
    parts = []
    for j in range(share_y.shape[1]):
        with_row = energy * share_y[:, j]
        some = np.flatnonzero(with_row > _LEAST)
        y = np.clip(first_y[some] + j, 0, detector.ny - 1)
        for i in range(share_x.shape[1]):
            given = with_row[some] * share_x[some, i]
            sel = given > _LEAST
            row = some[sel]
            x = np.clip(first_x[row] + i, 0, detector.nx - 1)
            parts.append((row, y[sel] * detector.nx + x, given[sel]))
    row, pixel, given = (np.concatenate(p) for p in zip(*parts, strict=True))
    n_pixels = detector.ny * detector.nx
    key, inverse = _group(source[row] * n_pixels + pixel)
    column = inverse * len(ORIGINS) + origin[row]
    by_origin = _sums(column, given, len(key) * len(ORIGINS)).reshape(-1, len(ORIGINS))
    which, place = np.divmod(key, n_pixels)
    return Charge(np.zeros_like(which), place, by_origin, which, np.zeros(len(key)))


def _group(key: Ints) -> tuple[Ints, Ints]:
    """Distinct keys, increasing, and the group of each row."""
    order = np.argsort(key)
    ordered = key[order]
    new = np.empty(len(key), bool)
    if len(key):
        new[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    group = np.cumsum(new) - 1
    inverse = np.empty(len(key), np.int64)
    inverse[order] = group
    return ordered[new], inverse


def _sums(index: Ints, values: Floats, number: int) -> Floats:
    """Sums of the values that share an index."""
    return np.bincount(index, values, number).astype(np.float64, copy=False)


def merge(charge: Charge, n_pixels: int) -> Charge:
    """Sum rows of the same pixel; the source that left most is its source, noise adds up."""
    key, inverse = _group(charge.frame * n_pixels + charge.pixel)
    n = len(key)
    energy = np.stack([_sums(inverse, column, n) for column in charge.energy.T], 1)
    # Largest contribution last within each group, so that it is what remains.
    order = np.argsort(charge.total, kind="stable")
    source = np.zeros(n, np.int64)
    source[inverse[order]] = charge.source[order]
    noise = _sums(inverse, charge.noise, n)
    frame, pixel = np.divmod(key, n_pixels)
    return Charge(frame, pixel, energy, source, noise)


@dataclass(frozen=True)
class Readout:
    """Measurement of charge: gains, offsets, noise and threshold.

    Attributes
    ----------
    detector : DetectorSettings
        Its noise and split threshold are those that hold.
    gain : ndarray, shape (nx,)
        Measured over true energy by column; 0 where a column is dead.
    offset : ndarray, shape (ny, nx)
        Offsets that are left, keV.
    """

    detector: DetectorSettings
    gain: Floats
    offset: Floats

    @classmethod
    def perfect(cls, detector: DetectorSettings) -> Readout:
        """No errors but noise."""
        d = detector
        return cls(detector, np.ones(d.nx), np.zeros((d.ny, d.nx)))

    def fluctuate(self, charge: Charge, rng: Generator, lit: Charge | None = None) -> Charge:
        """Draw the fluctuations of the charge and the noise of reading it.

        Parameters
        ----------
        charge : Charge
        rng : Generator
        lit : Charge, optional
            Pixels whose reading noise has been drawn already.
        """
        noise = np.sqrt(FANO * PAIR * charge.total) * rng.standard_normal(len(charge))
        reading = self.detector.noise_keV * rng.standard_normal(len(charge))
        if lit is not None:
            n = self.detector.ny * self.detector.nx
            reading[np.isin(charge.frame * n + charge.pixel, lit.frame * n + lit.pixel)] = 0.0
        return replace(charge, noise=noise + reading)

    def read(self, charge: Charge, frames: Ints, rng: Generator) -> Rows:
        """Measured pixels of frames, `TRUE_PIXEL`, sorted by (frame, y, x).

        Parameters
        ----------
        charge : Charge
            With its noise, each pixel once.
        frames : ndarray of int64
            Frames that are read, increasing.
        rng : Generator
            Of the pixels that hold noise alone.
        """
        d = self.detector
        pixels = np.concatenate([self.measure(charge), self.noise_pixels(frames, charge, rng)])
        order = np.argsort((pixels["frame"] * d.ny + pixels["y"]) * d.nx + pixels["x"])
        return pixels[order]

    def measure(self, charge: Charge) -> Rows:
        """Measured pixels above the threshold, `TRUE_PIXEL`, in the order of `charge`."""
        d = self.detector
        y, x = np.divmod(charge.pixel, d.nx)
        measured = self.gain[x] * (charge.total + charge.noise) + self.offset[y, x]
        above = (measured > d.split_keV) & (self.gain[x] > 0)
        pixels = np.zeros(int(above.sum()), TRUE_PIXEL)
        pixels["frame"], pixels["y"], pixels["x"] = charge.frame[above], y[above], x[above]
        pixels["energy"] = measured[above]
        for column, values in zip(ORIGINS, charge.energy[above].T, strict=True):
            pixels[column] = values
        pixels["source"] = charge.source[above]
        return pixels

    def noise_pixels(self, frames: Ints, charge: Charge, rng: Generator) -> Rows:
        """Pixels that noise alone lifts above the threshold, `TRUE_PIXEL`, source -1.

        Parameters
        ----------
        frames : ndarray of int64
            Frames that are read, increasing.
        charge : Charge
            Pixels that hold charge, which are left out.
        rng : Generator
        """
        d = self.detector
        sigma = self.gain[None, :] * d.noise_keV
        with np.errstate(divide="ignore"):
            chance = ndtr((self.offset - d.split_keV) / sigma).ravel()
        chance[np.broadcast_to(self.gain <= 0, self.offset.shape).ravel()] = 0.0
        total = np.cumsum(chance)
        number = rng.poisson(total[-1], len(frames))
        frame = np.repeat(frames, number)
        pixel = np.searchsorted(total, rng.random(len(frame)) * total[-1], side="right")
        pixel = np.minimum(pixel, len(chance) - 1)
        tail = rng.random(len(frame)) * chance[pixel]
        y, x = np.divmod(pixel, d.nx)
        energy = self.offset[y, x] - sigma[0, x] * ndtri(tail)
        return self.dark(frame, pixel, energy, charge)

    def dark(self, frame: Ints, pixel: Ints, energy: Floats, charge: Charge) -> Rows:
        """Noise pixels, `TRUE_PIXEL`, each once and none of those that hold charge.

        Parameters
        ----------
        frame, pixel : ndarray of int64, shape (n,)
        energy : ndarray, shape (n,)
            Measured, in the same order, keV.
        charge : Charge
        """
        d = self.detector
        y, x = np.divmod(pixel, d.nx)
        key = frame * (d.ny * d.nx) + pixel
        lit = charge.frame * (d.ny * d.nx) + charge.pixel
        key, first = np.unique(key, return_index=True)
        first = first[~np.isin(key, lit)]
        pixels = np.zeros(len(first), TRUE_PIXEL)
        pixels["frame"], pixels["y"], pixels["x"] = frame[first], y[first], x[first]
        pixels["energy"] = np.maximum(energy[first], np.nextafter(d.split_keV, 1))
        pixels["source"] = -1
        return pixels
