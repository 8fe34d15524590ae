"""Simulated exposures of a detector in orbit, a shard at a time.

All cosmic rays of an exposure are worked out together. Frames with an event candidate left by a
particle are kept, of the others only a share, with its inverse as their weight; frames in which
nothing but tracks of primaries can be are worked out only where they belong to that share.
X-rays fall on the frames that are kept, independently of the particles, so that weighted means are
without bias.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from physml.random import stream
from physml.stages.simulate import require_finite

from .core.detectors import DetectorSettings, load_detector
from .core.events import find_events
from .core.frames import ELECTRON, EXPOSURE, HELIUM, PARTICLE, PHOTON, Frames, concatenate
from .settings import SimulateSettings
from .simulator.charge import Charge, collect, merge
from .simulator.conditions import Conditions, draw, power_law
from .simulator.deposits import INSIDE, FirstPass, Left, first_pass, second_pass
from .simulator.deposits import PHOTON as BY_PHOTON
from .simulator.electrons import STEP
from .simulator.geometry import cosine_law
from .simulator.materials import ALUMINIUM, SILICON
from .simulator.photons import absorb
from .simulator.primaries import Primaries, draw_primaries
from .simulator.tracks import library
from .simulator.wall_electrons import Shell

if TYPE_CHECKING:
    from .settings import BackgroundSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: First frame of an exposure: its number times this. No exposure has more frames.
STRIDE = 1 << 22


def simulate_exposure(
    settings: SimulateSettings,
    seed: int,
    index: int,
    conditions: Conditions | None = None,
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
        With truth, in increasing order; `exposures` has one row.
    """
    rng = stream(seed, "simulate", index)
    base = _detector(settings.detector)
    drawn = draw(settings.conditions, base, rng)
    frames = expose(conditions or drawn, base, settings, index, rng)
    for name, values in (frames.arrays() | frames.tables()).items():
        require_finite(name, values, [index])
    return frames


@lru_cache(maxsize=8)
def _detector(name: str) -> DetectorSettings:
    return load_detector(name)


def make_shell(conditions: Conditions) -> Shell:
    """Wall and slab under the given conditions."""
    pixel = conditions.detector.pixel_um
    return Shell(conditions.geometry, library(ALUMINIUM), library(SILICON), min(STEP, 0.25 * pixel))


def expose(
    conditions: Conditions,
    base: DetectorSettings,
    settings: SimulateSettings,
    index: int,
    rng: Generator,
) -> Frames:
    """Simulate an exposure under given conditions; see `simulate_exposure`."""
    detector = conditions.detector
    shell = make_shell(conditions)
    n_frames = _number_of_frames(conditions, settings.hits)
    live = n_frames * detector.frame_time
    primaries = draw_primaries(
        shell.geometry, ALUMINIUM, conditions.phi, conditions.helium, live, rng
    )
    flat_time, flat = _flat_component(conditions, base, live, rng)
    frame_of = np.concatenate([primaries.time, flat_time])
    frame_of = np.minimum((frame_of / detector.frame_time).astype(np.int64), n_frames - 1)
    first = first_pass(shell, primaries, rng)
    sampled = rng.random(n_frames) < settings.keep
    worked = sampled.copy()
    if settings.thorough:
        worked[:] = True
    worked[frame_of[: len(primaries)][first.loose]] = True
    worked[frame_of[len(primaries) :]] = True
    left = second_pass(shell, primaries, first, worked[frame_of[: len(primaries)]], rng)
    charge = collect(
        detector,
        np.concatenate([left.energy, flat.energy]),
        np.concatenate([left.position, flat.position]),
        np.concatenate([left.owner, flat.owner + len(primaries)]),
        np.concatenate([left.origin, flat.origin]),
        frame_of,
    )
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
        exposures=_exposure(conditions, index, start, n_frames),
    )


def _number_of_frames(conditions: Conditions, hits: int) -> int:
    """Frames in which about that many cosmic rays cross the silicon."""
    from .simulator.primaries import entering_rate

    g = conditions.geometry
    a, b, c = g.size
    share = 2 * (a * b + b * c + c * a) / g.area
    rate = share * entering_rate(g, ALUMINIUM, conditions.phi, conditions.helium)
    return int(np.clip(round(hits / (rate * conditions.detector.frame_time)), 1, STRIDE))


def _flat_component(
    conditions: Conditions, base: DetectorSettings, live: float, rng: Generator
) -> tuple[Floats, Left]:
    """Electrons that come alone and stop at either surface: arrival times and what they leave.

    They stand for what has no track anywhere near: Compton electrons of hard photons from the sky
    and the spacecraft. Flat in energy up to the largest of an event.
    """
    d, size = conditions.detector, conditions.geometry.size
    mean = conditions.flat * d.area_cm2 * base.upper_keV * live
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


def _candidates(
    conditions: Conditions,
    base: DetectorSettings,
    charge: Charge,
    n_frames: int,
) -> NDArray[np.bool_]:
    """Frames in which the particles' charge alone makes an event that passes, border included."""
    pixels = conditions.readout.measure(charge)
    frames = Frames(
        pixels,
        (conditions.detector.ny, conditions.detector.nx),
        np.arange(n_frames),
        np.ones(n_frames, np.float32),
    )
    found = find_events(
        frames,
        split=base.split_keV,
        event=base.event_keV,
        upper=base.upper_keV,
        keep_border=True,
    )
    out = np.zeros(n_frames, bool)
    out[found.events["frame"][found.events["valid"]]] = True
    return out


def _x_rays(conditions: Conditions, kept: Ints, rng: Generator) -> tuple[NDArray[Any], Left]:
    """X-rays that fall on the frames that are kept, and what they leave (owner: photon)."""
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
        d.thickness_um,
        rng,
    )
    owner = on[absorbed.photon]
    photons["detected"][owner] = True
    origin = np.full(len(owner), BY_PHOTON, np.int8)
    return photons, Left(absorbed.energy, absorbed.position, owner, origin)


def _read(
    conditions: Conditions,
    charge: Charge,
    photons: NDArray[Any],
    light: Left,
    kept: Ints,
    n_particles: int,
    rng: Generator,
) -> NDArray[Any]:
    """Measured pixels of the frames that are kept; photons are sources from `n_particles` on."""
    d, readout = conditions.detector, conditions.readout
    frame = photons["frame"].astype(np.int64)
    added = collect(d, light.energy, light.position, light.owner, light.origin, frame)
    added = readout.fluctuate(added, rng, charge)
    both = Charge(
        np.concatenate([charge.frame, added.frame]),
        np.concatenate([charge.pixel, added.pixel]),
        np.concatenate([charge.energy, added.energy]),
        np.concatenate([charge.source, added.source + n_particles]),
        np.concatenate([charge.noise, added.noise]),
    )
    both = merge(both, d.ny * d.nx)
    lit = readout.measure(both)
    dark = readout.noise_pixels(kept, both, rng)
    pixels = np.concatenate([lit, dark])
    order = np.argsort((pixels["frame"] * d.ny + pixels["y"]) * d.nx + pixels["x"])
    return pixels[order]


def _particles(
    conditions: Conditions,
    primaries: Primaries,
    first: FirstPass,
    left: Left,
    flat: Left,
    frame_of: Ints,
    kept: Ints,
) -> tuple[NDArray[Any], Ints]:
    """Table of what left anything in the frames that are kept, and each source's row in it."""
    g, d, p = conditions.geometry, conditions.detector, primaries
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
    # Nearest point: where the way through the cavity comes closest to the slab's middle plane.
    distance = g.to_wall(p.position, p.direction)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_plane = (0.5 * g.size[2] - p.position[:, 2]) / p.direction[:, 2]
    # 0 / 0: it starts in that plane and stays in it. Infinite: it never meets it, and is nearest
    # at an end of its way.
    to_plane = np.clip(np.where(np.isnan(to_plane), 0.0, to_plane), 0.0, distance)
    place = p.position + to_plane[:, None] * p.direction
    place[first.struck.row] = first.struck.start
    struck = np.zeros(len(frame_of), bool)
    struck[first.struck.row] = True
    struck[len(p) :] = True
    table["hit"] = struck[there]
    place = np.concatenate([place, flat.position])[there] / d.pixel_um - 0.5
    table["x"], table["y"] = place[:, 0], place[:, 1]
    return table, row


def _renumbered(source: Ints, row: Ints, n_particles: int) -> Ints:
    """Sources as rows of the particles, -2 - rows of the photons, or -1."""
    by_particle = (source >= 0) & (source < n_particles)
    new = np.where(source >= n_particles, -2 - (source - n_particles), -1)
    new[by_particle] = row[source[by_particle]]
    return new


def _exposure(conditions: Conditions, index: int, start: int, n_frames: int) -> NDArray[Any]:
    c, d = conditions, conditions.detector
    table = np.zeros(1, EXPOSURE)
    values = {
        "exposure": index,
        "first_frame": start,
        "n_frames": n_frames,
        "live_s": n_frames * d.frame_time,
        "frame_time": d.frame_time,
        "phi": c.phi,
        "standoff": c.standoff,
        "shield_mm": c.shield,
        "gain": c.gain,
        "enc": d.enc,
        "threshold": d.split_keV,
        "photon_rate": c.photons,
        "area_cm2": d.area_cm2,
        "ny": d.ny,
        "nx": d.nx,
        "pixel_um": d.pixel_um,
        "thickness_um": d.thickness_um,
    }
    for name, value in values.items():
        table[name] = value
    return table


def run(*, settings: BackgroundSettings, shard: int, out: Path) -> None:
    """Simulate one shard and write it as HDF5.

    Parameters
    ----------
    settings : BackgroundSettings
    shard : int
        Number of the shard, from 0.
    out : Path
        HDF5 file to write.
    """
    from physml import provenance
    from physml.config import upstream
    from physml.io.shards import write_shard

    s = settings.simulate
    frames = concatenate([simulate_exposure(s, settings.seed, i) for i in s.indices(shard)])
    write_shard(
        out,
        frames.arrays(),
        tables=frames.tables(),
        provenance=provenance.record("simulate", upstream(settings, "simulate"), {}, {}),
    )
