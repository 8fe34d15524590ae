"""Readout of a camera's quadrants: their own maps, noise that rows share, crosstalk.

`Charge.frame` is frame times number of quadrants + quadrant throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr, ndtri

from ..core.arrays import Floats, Ints, Rows
from ..core.camera import CameraSettings
from ..core.detectors import PAIR, DetectorSettings
from ..core.frames import TRUE_PIXEL
from .charge import Charge, Readout, merge

#: Crosstalk below this is left out, keV: a tenth of a split threshold of 50 eV.
FAINTEST = 5e-3
#: Levels of the common noise of a row at which chances are worked out, in its standard deviations.
_LEVELS = np.linspace(-5.0, 5.0, 41)
#: Rows whose noise pixels are drawn together.
_BLOCK = 8192


@dataclass(frozen=True)
class CameraReadout:
    """Readouts of all quadrants.

    Attributes
    ----------
    camera : CameraSettings
    quadrants : tuple of Readout
        Of one detector, with maps of their own.
    """

    camera: CameraSettings
    quadrants: tuple[Readout, ...]

    @property
    def detector(self) -> DetectorSettings:
        """One quadrant."""
        return self.quadrants[0].detector

    def fluctuate(self, charge: Charge, rng: Generator, lit: Charge | None = None) -> Charge:
        """Draw fluctuations and noise: see `Readout.fluctuate`."""
        return self.quadrants[0].fluctuate(charge, rng, lit)

    def measure(self, charge: Charge) -> Rows:
        """Measured pixels above the threshold, in no order; see `Readout.measure`."""
        n = len(self.quadrants)
        which = charge.frame % n
        parts = [r.measure(charge[which == q]) for q, r in enumerate(self.quadrants)]
        return np.concatenate(parts)

    def crosstalk(self, charge: Charge, rng: Generator) -> Charge:
        """Charge with the ghosts of bright pixels; each pixel once.

        A ghost is measured, not left: it is part of `noise`. One in the empty has noise of its own.
        """
        c, d = self.camera, self.detector
        signal = c.crosstalk * (charge.total + charge.noise)
        from_ = charge[signal > FAINTEST]
        signal = signal[signal > FAINTEST]
        if len(from_) == 0:
            return charge
        y, x = np.divmod(from_.pixel, d.nx)
        ghosts = []
        if c.crosstalk_to == "columns":
            steps = [(0 * y, 0 * x - 1), (0 * y, 0 * x + 1)]
        else:
            quadrant = from_.frame % len(self.quadrants)
            ahead = c.phase(d, quadrant, y + 1) < c.phase(d, quadrant, y)
            steps = [(np.where(ahead, -1, 1), 0 * x)]
        for dy, dx in steps:
            there = (x + dx >= 0) & (x + dx < d.nx) & (y + dy >= 0) & (y + dy < d.ny)
            ghost = replace(
                from_,
                pixel=(y + dy) * d.nx + x + dx,
                energy=np.zeros_like(from_.energy),
                noise=signal,
            )
            ghosts.append(ghost[there])
        n_pixels = d.ny * d.nx
        shown = merge(Charge.join(ghosts), n_pixels)
        own = self.fluctuate(replace(shown, noise=np.zeros(len(shown))), rng, charge)
        shown = replace(shown, noise=shown.noise + own.noise)
        return merge(Charge.join([charge, shown]), n_pixels)

    def read(self, charge: Charge, frames: Ints, rng: Generator) -> Rows:
        """Measured pixels of frames, `TRUE_PIXEL`, sorted by (frame, y, x).

        Parameters
        ----------
        charge : Charge
            With its noise, each pixel once.
        frames : ndarray of int64
            Frames of the camera that are read, increasing.
        rng : Generator
        """
        d, n = self.detector, len(self.quadrants)
        if self.camera.crosstalk > 0:
            charge = self.crosstalk(charge, rng)
        parts = []
        for q, readout in enumerate(self.quadrants):
            own, theirs = charge[charge.frame % n == q], frames * n + q
            if self.camera.common_mode > 0:
                sigma = self.camera.common_mode * PAIR
                shift = sigma * rng.standard_normal((len(frames), d.ny))
                row = np.searchsorted(theirs, own.frame)
                own = replace(own, noise=own.noise + shift[row, own.pixel // d.nx])
                dark = _noise_in_rows(readout, theirs, shift, sigma, own, rng)
            else:
                dark = readout.noise_pixels(theirs, own, rng)
            parts += [readout.measure(own), dark]
        pixels = np.concatenate(parts)
        return pixels[np.lexsort((pixels["x"], pixels["y"], pixels["frame"]))]


def _noise_in_rows(
    readout: Readout, frames: Ints, shift: Floats, sigma: float, charge: Charge, rng: Generator
) -> Rows:
    """Pixels that noise alone lifts above the threshold where rows are shifted as a whole."""
    d = readout.detector
    gain = readout.gain[None, :]
    width = np.maximum(gain * d.noise_keV, 1e-9)

    def rates(y: Ints, common: Floats) -> Floats:
        """Rates of which at least one is drawn with the chance of a pixel to be above."""
        below = (readout.offset[y] + gain * common[:, None] - d.split_keV) / width
        return np.where(gain > 0, -np.log(ndtr(-below)), 0.0)

    # Expected number in each row at each level of the common noise, then what was drawn.
    every = np.arange(d.ny)
    table = np.stack([rates(every, np.full(d.ny, s * sigma)).sum(1) for s in _LEVELS], 1)
    place = (np.clip(shift / sigma, *_LEVELS[[0, -1]]) - _LEVELS[0]) / (_LEVELS[1] - _LEVELS[0])
    lower = np.minimum(place.astype(np.int64), len(_LEVELS) - 2)
    part = place - lower
    log = np.log(np.maximum(table, 1e-300))
    mean = np.exp((1 - part) * log[every, lower] + part * log[every, lower + 1])
    row = np.repeat(np.arange(mean.size), rng.poisson(mean).ravel())
    if len(row) == 0:
        return np.zeros(0, TRUE_PIXEL)
    which, y = np.divmod(row, d.ny)
    common = shift[which, y]
    x, energy = np.empty(len(row), np.int64), np.empty(len(row))
    for first in range(0, len(row), _BLOCK):
        part_of = slice(first, first + _BLOCK)
        rate = rates(y[part_of], common[part_of])
        total = np.cumsum(rate, 1)
        drawn = rng.random(len(rate)) * total[:, -1]
        x[part_of] = np.minimum((total < drawn[:, None]).sum(1), d.nx - 1)
        chance = -np.expm1(-rate[np.arange(len(rate)), x[part_of]])
        tail = rng.random(len(chance)) * chance
        middle = readout.offset[y[part_of], x[part_of]]
        middle = middle + readout.gain[x[part_of]] * common[part_of]
        energy[part_of] = middle - width[0, x[part_of]] * ndtri(np.maximum(tail, 1e-300))
    return readout.dark(frames[which], y * d.nx + x, energy, charge)
