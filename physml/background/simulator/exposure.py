"""Simulated exposures of a detector in orbit.

All cosmic rays of an exposure are worked out together. Frames with an event candidate left by a
particle are kept, of the others only a share, with its inverse as their weight; frames in which
nothing but tracks of primaries can be are worked out only where they belong to that share.
X-rays fall on the frames that are kept, independently of the particles, so that weighted means are
without bias.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from physml.random import stream
from physml.stages.simulate import require_finite

from ..core.arrays import Bools, Ints, Rows
from ..core.detectors import DetectorSettings, load_detector
from ..core.frames import ELECTRON, HELIUM, PARTICLE, PHOTON, Frames, exposure_row
from ..settings import SimulateSettings
from .camera_exposure import expose_camera
from .charge import Charge, collect, merge
from .conditions import Conditions, draw, power_law
from .deposits import PHOTON as BY_PHOTON
from .deposits import FirstPass, Left, first_pass, second_pass
from .exposure_parts import (
    STRIDE,
    candidates,
    flat_component,
    make_setup,
    number_of_frames,
    places,
)
from .field_free import diffuse
from .materials import ALUMINIUM
from .photons import absorb
from .primaries import Primaries, draw_primaries


def simulate_exposure(
    settings: SimulateSettings, seed: int, index: int, conditions: Conditions | None = None
) -> Frames:
    """Simulate one exposure.

    The result depends on the settings, the seed and the number only, and not on what else is
    simulated.

    Parameters
    ----------
    settings : SimulateSettings
    seed : int
        Root of the random streams.
    index : int
        Number of the exposure.
    conditions : Conditions, optional
        Instead of drawn ones.

    Returns
    -------
    Frames
        With truth, in increasing order; `exposures` has one row. Under `settings.camera` the
        tables are those of `core.camera_frames`.
    """
    rng = stream(seed, "simulate", index)
    base = _detector(settings.detector)
    drawn = draw(settings.conditions, base, rng, settings.camera)
    conditions = conditions or drawn
    with_camera = conditions.camera is not None
    frames = (expose_camera if with_camera else expose)(conditions, base, settings, index, rng)
    for name, values in (frames.arrays() | frames.tables()).items():
        require_finite(name, values, [index])
    return frames


_detector = lru_cache(maxsize=8)(load_detector)


def expose(
    conditions: Conditions,
    base: DetectorSettings,
    settings: SimulateSettings,
    index: int,
    rng: Generator,
) -> Frames:
    """Simulate an exposure under given conditions; see `simulate_exposure`.

    Parameters
    ----------
    conditions : Conditions
    base : DetectorSettings
        The detector as it is meant to be, with whose thresholds candidates are told.
    settings : SimulateSettings
    index : int
        Number of the exposure.
    rng : Generator
    """
    detector = conditions.detector
    setup = make_setup(conditions)
    n_frames = number_of_frames(conditions, settings.hits)
    live = n_frames * detector.frame_time
    primaries = draw_primaries(
        setup.geometry, ALUMINIUM, conditions.phi, conditions.helium, live, rng
    )
    flat_time, flat = flat_component(conditions, base, live, rng)
    frame_of = np.concatenate([primaries.time, flat_time])
    frame_of = np.minimum((frame_of / detector.frame_time).astype(np.int64), n_frames - 1)
    first = first_pass(setup, primaries, rng)
    sampled = rng.random(n_frames) < settings.keep
    worked = sampled | settings.thorough
    worked[frame_of[: len(primaries)][first.loose]] = True
    worked[frame_of[len(primaries) :]] = True
    left = second_pass(setup, primaries, first, worked[frame_of[: len(primaries)]], rng)
    every = Left.join([left, replace(flat, owner=flat.owner + len(primaries))])
    every = diffuse(detector, every, setup.geometry.size[:2], rng)
    charge = collect(detector, every.energy, every.position, every.owner, every.origin, frame_of)
    charge = conditions.readout.fluctuate(charge, rng)
    candidate = _candidates(conditions, base, charge, n_frames)
    kept = np.flatnonzero(candidate | sampled)
    weight = np.where(candidate[kept], 1.0, 1 / settings.keep).astype(np.float32)
    charge = charge[candidate[charge.frame] | sampled[charge.frame]]
    photons, light = _x_rays(conditions, kept, rng)
    pixels = _read(conditions, charge, photons, light, kept, len(frame_of), rng)
    particles, row = _particles(conditions, primaries, first, left, flat, frame_of, kept)
    pixels["source"] = _renumbered(pixels["source"], row, len(frame_of))
    start = index * STRIDE
    for table in (pixels, particles, photons):
        table["frame"] += start
    particles["exposure"] = photons["exposure"] = index
    return Frames(
        pixels=pixels,
        shape=(detector.ny, detector.nx),
        index=kept + start,
        weight=weight,
        frame_time=float(np.float32(detector.frame_time)),
        particles=particles,
        photons=photons,
        exposures=exposure_row(
            detector,
            n_frames,
            exposure=index,
            first_frame=start,
            phi=conditions.phi,
            standoff=conditions.standoff,
            shield_mm=conditions.shield,
            gain=conditions.gain,
            photon_rate=conditions.photons,
        ),
    )


def _candidates(
    conditions: Conditions, base: DetectorSettings, charge: Charge, n_frames: int
) -> Bools:
    """Frames in which the particles' charge alone makes an event that passes, border included."""
    return candidates(conditions, base, conditions.readout.measure(charge), n_frames)


def _x_rays(conditions: Conditions, kept: Ints, rng: Generator) -> tuple[Rows, Left]:
    """X-rays that fall on the frames that are kept, and energies they leave (owner: photon)."""
    d, c = conditions.detector, conditions
    frame = np.repeat(kept, rng.poisson(c.photons, len(kept)))
    n = len(frame)
    photons = np.zeros(n, PHOTON)
    photons["frame"] = frame
    photons["energy"] = power_law(rng, n, c.index, c.energies)
    x, y = rng.uniform(-0.5, d.nx - 0.5, n), rng.uniform(-0.5, d.ny - 0.5, n)
    share, spot_x, spot_y, width = c.spot
    pointed = rng.random(n) < share
    bend = rng.standard_normal((2, n))
    x = np.where(pointed, spot_x + width * bend[0], x)
    y = np.where(pointed, spot_y + width * bend[1], y)
    photons["x"], photons["y"] = x, y
    lands = (np.abs(x - 0.5 * (d.nx - 1)) < 0.5 * d.nx) & (
        np.abs(y - 0.5 * (d.ny - 1)) < 0.5 * d.ny
    )
    on = np.flatnonzero(lands)
    absorbed = absorb(
        photons["energy"][on].astype(np.float64),
        (x[on] + 0.5) * d.pixel_um,
        (y[on] + 0.5) * d.pixel_um,
        d.silicon_um,
        rng,
        front=d.lit == "front",
    )
    owner = on[absorbed.photon]
    photons["detected"][owner] = True
    origin = np.full(len(owner), BY_PHOTON, np.int8)
    left = Left(absorbed.energy, absorbed.position, owner, origin)
    return photons, diffuse(d, left, c.geometry.size[:2], rng)


def _read(
    conditions: Conditions,
    charge: Charge,
    photons: Rows,
    light: Left,
    kept: Ints,
    n_particles: int,
    rng: Generator,
) -> Rows:
    """Measured pixels of the frames that are kept; photons are sources from `n_particles` on."""
    d, readout = conditions.detector, conditions.readout
    frame = photons["frame"].astype(np.int64)
    added = collect(d, light.energy, light.position, light.owner, light.origin, frame)
    added = readout.fluctuate(added, rng, charge)
    both = Charge.join([charge, replace(added, source=added.source + n_particles)])
    return readout.read(merge(both, d.ny * d.nx), kept, rng)


def _particles(
    conditions: Conditions,
    primaries: Primaries,
    first: FirstPass,
    left: Left,
    flat: Left,
    frame_of: Ints,
    kept: Ints,
) -> tuple[Rows, Ints]:
    """Table of particles that left anything in the frames kept, and each source's row in it."""
    d, p = conditions.detector, primaries
    there = np.zeros(len(frame_of), bool)
    there[left.owner] = True
    there[len(p) :] = True
    there &= np.isin(frame_of, kept)
    row = np.where(there, np.cumsum(there) - 1, -1)
    table = np.zeros(int(there.sum()), PARTICLE)
    table["frame"] = frame_of[there]
    nucleons = np.where(p.kind == HELIUM, 4, 1)
    kind = np.concatenate([p.kind, np.full(len(flat.energy), ELECTRON, np.uint8)])
    energy = np.concatenate([nucleons * p.outside, flat.energy]) / 1e3
    table["kind"], table["energy"] = kind[there], energy[there]
    place, struck = places(conditions, p, first, flat)
    table["hit"] = struck[there]
    place = place[there] / d.pixel_um - 0.5
    table["x"], table["y"] = place[:, 0], place[:, 1]
    return table, row


def _renumbered(source: Ints, row: Ints, n_particles: int) -> Ints:
    """Sources as rows of the particles, -2 - rows of the photons, or -1."""
    by_particle = (source >= 0) & (source < n_particles)
    new = np.where(source >= n_particles, -2 - (source - n_particles), -1)
    new[by_particle] = row[source[by_particle]]
    return new
