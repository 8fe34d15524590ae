"""Simulated exposures of a camera: several detectors in one housing, read at once or row by row.

As `exposure`, with one draw of cosmic rays over the common plane. A frame in which any detector has
an event candidate left by a particle is kept for all of them; those that are kept as its
neighbours have weight 0. Under default settings it does what `exposure` does, with the same random
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ..core.arrays import Floats, Ints, Rows
from ..core.camera_frames import CAMERA_PARTICLE, CAMERA_PHOTON, CAMERA_PIXEL, camera_row, widened
from ..core.detectors import DetectorSettings
from ..core.frames import ELECTRON, HELIUM, Frames
from ..settings import SimulateSettings
from .camera_readout import CameraReadout
from .charge import Charge, merge
from .conditions import Conditions, power_law
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
from .fluorescence import line_photons
from .materials import ALUMINIUM
from .photons import absorb
from .primaries import Primaries, draw_primaries
from .sweeps import gather, mark, moved_rows, seen, widen


@dataclass(frozen=True)
class _Sources:
    """Particles of an exposure: cosmic rays, then electrons without context.

    Attributes
    ----------
    primaries : Primaries
    first : FirstPass
    flat : Left
    time : ndarray, shape (n,)
        When each came, in frame times.
    """

    primaries: Primaries
    first: FirstPass
    flat: Left
    time: Floats


def expose_camera(
    conditions: Conditions,
    base: DetectorSettings,
    settings: SimulateSettings,
    index: int,
    rng: Generator,
) -> Frames:
    """Simulate an exposure of a camera; arguments as of `exposure.expose`.

    Returns
    -------
    Frames
        With the tables of `core.camera_frames`.
    """
    camera, detector = conditions.camera, conditions.detector
    assert camera is not None
    setup = make_setup(conditions)
    n_frames, k = number_of_frames(conditions, settings.hits), camera.number
    # The last rows of the last frame are read up to a frame time after its first.
    live = (n_frames + camera.rolling) * detector.frame_time
    primaries = draw_primaries(
        setup.geometry, ALUMINIUM, conditions.phi, conditions.helium, live, rng
    )
    flat_time, flat = flat_component(conditions, base, live, rng)
    time = np.concatenate([primaries.time, flat_time]) / detector.frame_time
    time = np.minimum(time, np.nextafter(n_frames + camera.rolling, 0))
    first, n = first_pass(setup, primaries, rng), len(primaries)
    lines = line_photons(setup.geometry, primaries, camera.lines, rng)
    sources = _Sources(primaries, first, flat, time)
    sampled = rng.random(n_frames) < settings.keep
    worked = sampled | settings.thorough
    small = np.concatenate([first.loose, np.ones(len(flat), bool)])
    small[lines.owner] = True
    worked = widen(worked | mark(camera, time[small], n_frames), camera.neighbours)
    wanted = seen(camera, time[:n], worked)
    left = second_pass(setup, primaries, first, wanted, rng)
    parts = [left, replace(flat, owner=flat.owner + n), lines[wanted[lines.owner]]]
    every = diffuse(detector, Left.join(parts), setup.geometry.size[:2], rng)
    readout = CameraReadout(camera, (conditions.readout, *conditions.others))
    shift = moved_rows(camera, detector, len(time), rng)
    charge, pairs = gather(camera, detector, every, time, shift, worked)
    charge = readout.fluctuate(charge, rng)
    candidate = candidates(conditions, base, _sorted(readout.measure(charge)), n_frames * k)
    candidate = np.any(candidate.reshape(n_frames, k), axis=1)
    chosen = widen(candidate | sampled, camera.neighbours)
    kept = np.flatnonzero(chosen)
    weight = np.where(candidate, 1.0, np.where(sampled, 1 / settings.keep, 0.0))[kept]
    photons, light, light_time = _x_rays(conditions, kept, index, rng)
    shift = moved_rows(camera, detector, len(photons), rng)
    added, _ = gather(camera, detector, light, light_time, shift, chosen)
    charge = charge[chosen[charge.frame // k]]
    added = readout.fluctuate(added, rng, charge)
    both = Charge.join([charge, replace(added, source=added.source + len(time))])
    pixels = readout.read(merge(both, detector.ny * detector.nx), kept, rng)
    pairs = pairs[chosen[pairs % n_frames]]
    table = _pixels(pixels, k, pairs, n_frames, photons, len(time))
    particles = _particles(conditions, sources, pairs, n_frames)
    start = index * STRIDE
    for rows in (table, particles, photons):
        rows["frame"] += start
    particles["exposure"] = photons["exposure"] = index
    return Frames(
        pixels=table,
        shape=(detector.ny, detector.nx),
        index=kept + start,
        weight=weight.astype(np.float32),
        frame_time=float(np.float32(detector.frame_time)),
        particles=particles,
        photons=photons,
        exposures=camera_row(
            camera,
            detector,
            n_frames,
            exposure=index,
            first_frame=start,
            phi=conditions.phi,
            standoff=conditions.standoff,
            shield_mm=conditions.shield,
            gain=conditions.gain,
            photon_rate=conditions.photons * k,
        ),
    )


def _sorted(pixels: Rows) -> Rows:
    return pixels[np.lexsort((pixels["x"], pixels["y"], pixels["frame"]))]


def _x_rays(
    conditions: Conditions, kept: Ints, index: int, rng: Generator
) -> tuple[Rows, Left, Floats]:
    """X-rays on the frames that are kept, energies they leave, and their times in frame times."""
    d, c, camera = conditions.detector, conditions, conditions.camera
    assert camera is not None
    plane = camera.plane(d)
    frame = np.repeat(kept, rng.poisson(c.photons * plane.number, len(kept)))
    n = len(frame)
    photons = np.zeros(n, CAMERA_PHOTON)
    photons["frame"] = frame
    photons["energy"] = power_law(rng, n, c.index, c.energies)
    x, y = rng.uniform(-0.5, d.nx - 0.5, n), rng.uniform(-0.5, d.ny - 0.5, n)
    share, spot_x, spot_y, width = c.spot
    pointed = rng.random(n) < share
    bend = rng.standard_normal((2, n))
    x = np.where(pointed, spot_x + width * bend[0], x)
    y = np.where(pointed, spot_y + width * bend[1], y)
    quadrant = np.zeros(n, np.int64)
    if plane.number > 1:
        # A source lies in one quadrant, and in another one in the next exposure.
        quadrant = np.where(pointed, index % plane.number, rng.integers(0, plane.number, n))
    photons["x"], photons["y"], photons["quadrant"] = x, y, quadrant
    lands = (np.abs(x - 0.5 * (d.nx - 1)) < 0.5 * d.nx) & (
        np.abs(y - 0.5 * (d.ny - 1)) < 0.5 * d.ny
    )
    on = np.flatnonzero(lands)
    corner = plane.corner_um(quadrant[on])
    absorbed = absorb(
        photons["energy"][on].astype(np.float64),
        (x[on] + 0.5) * d.pixel_um + corner[:, 0],
        (y[on] + 0.5) * d.pixel_um + corner[:, 1],
        d.silicon_um,
        rng,
        front=d.lit == "front",
    )
    owner = on[absorbed.photon]
    photons["detected"][owner] = True
    origin = np.full(len(owner), BY_PHOTON, np.int8)
    left = Left(absorbed.energy, absorbed.position, owner, origin)
    time = frame.astype(np.float64)
    if camera.rolling:
        row = np.clip(np.rint(y), 0, d.ny - 1).astype(np.int64)
        time += camera.phase(d, quadrant, row) + rng.random(n)
    return photons, diffuse(d, left, c.geometry.size[:2], rng), time


def _pixels(
    pixels: Rows, k: int, pairs: Ints, n_frames: int, photons: Rows, n_particles: int
) -> Rows:
    """Pixels with frame, quadrant and rows of the tables; photons are sources from the last on."""
    out = widened(pixels, CAMERA_PIXEL)
    frame, out["quadrant"] = np.divmod(pixels["frame"], k)
    out["frame"] = frame
    source = pixels["source"].astype(np.int64)
    by_particle = (source >= 0) & (source < n_particles)
    out["source"][by_particle] = np.searchsorted(
        pairs, source[by_particle] * n_frames + frame[by_particle]
    )
    by_photon = source >= n_particles
    row = source[by_photon] - n_particles
    # Two rows of one X-ray may be read in two frames, and it is listed in one of them.
    same = photons["frame"][row] == frame[by_photon]
    out["source"][by_photon] = np.where(same, -2 - row, -1)
    return out


def _particles(conditions: Conditions, sources: _Sources, pairs: Ints, n_frames: int) -> Rows:
    """Table of the particles that left anything in the frames kept, a row for each such frame."""
    d, p = conditions.detector, sources.primaries
    which, frame = np.divmod(pairs, n_frames)
    table = np.zeros(len(pairs), CAMERA_PARTICLE)
    table["frame"], table["primary"] = frame, which
    table["time"] = sources.time[which] * d.frame_time
    nucleons = np.where(p.kind == HELIUM, 4, 1)
    kind = np.concatenate([p.kind, np.full(len(sources.flat), ELECTRON, np.uint8)])
    energy = np.concatenate([nucleons * p.outside, sources.flat.energy]) / 1e3
    table["kind"], table["energy"] = kind[which], energy[which]
    place, struck = places(conditions, p, sources.first, sources.flat)
    table["hit"] = struck[which]
    table["x_mm"], table["y_mm"] = 1e-3 * place[which, 0], 1e-3 * place[which, 1]
    pixel = place[which] / d.pixel_um - 0.5
    table["x"], table["y"] = pixel[:, 0], pixel[:, 1]
    return table
