"""Parts of all exposures, whatever the camera: see `exposure`."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..core.arrays import Bools, Floats, Rows
from ..core.detectors import DetectorSettings
from ..core.events import find_events
from ..core.frames import Frames
from .conditions import Conditions
from .deposits import INSIDE, FirstPass, Left
from .electrons import STEP
from .geometry import cosine_law
from .housing_electrons import Setup
from .materials import ALUMINIUM, SILICON
from .primaries import Primaries, entering_rate
from .tracks import library

#: First frame of an exposure: its number times this. No exposure has more frames.
STRIDE = 1 << 22


def make_setup(conditions: Conditions) -> Setup:
    """Housing and slab under the given conditions."""
    pixel = conditions.detector.pixel_um
    return Setup(conditions.geometry, library(ALUMINIUM), library(SILICON), min(STEP, 0.25 * pixel))


def number_of_frames(conditions: Conditions, hits: int) -> int:
    """Frames in which about that many cosmic rays cross the silicon."""
    g = conditions.geometry
    a, b, c = g.size
    share = 2 * (a * b + b * c + c * a) / g.area
    rate = share * entering_rate(g, ALUMINIUM, conditions.phi, conditions.helium)
    return int(np.clip(round(hits / (rate * conditions.detector.frame_time)), 1, STRIDE))


def flat_component(
    conditions: Conditions, base: DetectorSettings, live: float, rng: Generator
) -> tuple[Floats, Left]:
    """Electrons without context that stop at either surface: arrival times, energies left.

    They stand for what has no track anywhere near: Compton electrons of hard photons from the sky
    and the spacecraft. Flat in energy up to the largest of an event.
    """
    d, size = conditions.detector, conditions.geometry.size
    area = d.area_cm2 if conditions.camera is None else 1e-8 * size[0] * size[1]
    mean = conditions.flat * area * base.upper_keV * live
    n = int(rng.poisson(mean))
    time = np.sort(rng.random(n)) * live
    energy = rng.random(n) * base.upper_keV
    back = rng.random(n) < 0.5
    # They stop within a micrometre or two: at a third of their range, by the cosine law.
    normal = np.zeros((n, 3))
    normal[:, 2] = np.where(back, -1.0, 1.0)
    start = rng.random((n, 3)) * size
    start[:, 2] = np.where(back, size[2], 0.0)
    reach = library(SILICON).range_of(np.maximum(energy, 0.2)) / 3
    position = start + reach[:, None] * cosine_law(normal, rng)
    owner = np.arange(n)
    return time, Left(energy, position, owner, np.full(n, INSIDE, np.int8))


def candidates(
    conditions: Conditions, base: DetectorSettings, pixels: Rows, n_frames: int
) -> Bools:
    """Frames in which pixels make an event that passes, border included."""
    frames = Frames(
        pixels,
        (conditions.detector.ny, conditions.detector.nx),
        np.arange(n_frames),
        np.ones(n_frames, np.float32),
    )
    found = find_events(
        frames, split=base.split_keV, event=base.event_keV, upper=base.upper_keV, keep_border=True
    )
    out = np.zeros(n_frames, bool)
    out[found.events["frame"][found.events["valid"]]] = True
    return out


def places(
    conditions: Conditions, primaries: Primaries, first: FirstPass, flat: Left
) -> tuple[Floats, Bools]:
    """Where each source came nearest to the silicon, um, shape (n, 3), and whether it hit it.

    Nearest is where the way through the cavity comes closest to the slab's middle plane; for those
    that hit the slab it is where they enter.
    """
    g, p = conditions.geometry, primaries
    distance = g.to_housing(p.position, p.direction)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_plane = (0.5 * g.size[2] - p.position[:, 2]) / p.direction[:, 2]
    # 0 / 0: it starts in that plane and stays in it. Infinite: it never meets it, and is nearest
    # at an end of its way.
    to_plane = np.clip(np.where(np.isnan(to_plane), 0.0, to_plane), 0.0, distance)
    place = p.position + to_plane[:, None] * p.direction
    place[first.struck.row] = first.struck.start
    struck = np.zeros(len(p) + len(flat), bool)
    struck[first.struck.row] = True
    struck[len(p) :] = True
    return np.concatenate([place, flat.position]), struck
