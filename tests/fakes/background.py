"""A toy detector: straight tracks, photons, and electrons that come near tracks.

Crude, fast and independent of the simulator: what tests of the learning need is truth, a context
that matters by a known amount, and exposures that differ.
"""

from __future__ import annotations

import numpy as np

from physml.background.core.frames import EXPOSURE, PARTICLE, PHOTON, TRUE_PIXEL, Frames

SIZE = 128


def toy_exposure(
    number: int,
    n: int = 400,
    *,
    rng: np.random.Generator,
    tracks: float = 0.5,
    electrons: float = 0.5,
    photons: float = 1.0,
    reach: float = 12.0,
    size: int = SIZE,
) -> Frames:
    """Frames of one exposure: `tracks` a frame, each with an electron at a distance of `reach`.

    Electrons and photons have the same spectrum; electrons leave doubles more often. A share
    1 - `electrons` of the tracks has none.
    """
    first = number * 1_000_000
    track_frame = np.repeat(np.arange(n), rng.poisson(tracks, n))
    m = len(track_frame)
    x, y = rng.uniform(20, size - 20, (2, m))
    angle = rng.uniform(0, 2 * np.pi, m)
    step = np.arange(8)
    rows = []

    def add(frame, px, py, energy, primary, outside, photon, source):
        rows.append((frame, py, px, energy, primary, outside, photon, source))

    tx = np.round(x[:, None] + step * np.cos(angle)[:, None])
    ty = np.round(y[:, None] + step * np.sin(angle)[:, None])
    e = rng.uniform(5, 25, tx.shape)
    who = np.broadcast_to(np.arange(m)[:, None], tx.shape)
    frames = np.broadcast_to(track_frame[:, None], tx.shape)
    add(frames, tx, ty, e, e, 0 * e, 0 * e, who)
    # What joins steps that meet at a corner only.
    add(frames[:, 1:], tx[:, :-1], ty[:, 1:], *[e[:, 1:]] * 2, *[0 * e[:, 1:]] * 2, who[:, 1:])

    has = rng.random(m) < electrons
    distance, turn = reach * np.sqrt(-2 * np.log(rng.random(m))), rng.uniform(0, 2 * np.pi, m)
    ex, ey = x + distance * np.cos(turn), y + distance * np.sin(turn)
    has &= (ex > 2) & (ex < size - 3) & (ey > 2) & (ey < size - 3)
    _event(add, track_frame[has], ex[has], ey[has], 0.7, rng, np.flatnonzero(has), False)

    photon_frame = np.repeat(np.arange(n), rng.poisson(photons, n))
    k = len(photon_frame)
    px, py = rng.uniform(3, size - 4, (2, k))
    photon_energy = _event(add, photon_frame, px, py, 0.3, rng, np.arange(k), True)

    columns = [np.concatenate([np.ravel(r[i]) for r in rows]) for i in range(8)]
    frame, py_, px_, energy, primary, outside, photon, source = columns
    key = (frame.astype(np.int64) * size + py_.astype(np.int64)) * size + px_.astype(np.int64)
    keys, inverse = np.unique(key, return_inverse=True)
    pixels = np.zeros(len(keys), TRUE_PIXEL)
    pixels["frame"], rest = np.divmod(keys, size * size)
    pixels["y"], pixels["x"] = np.divmod(rest, size)
    for name, values in (
        ("energy", energy),
        ("primary", primary),
        ("outside", outside),
        ("photon", photon),
    ):
        pixels[name] = np.bincount(inverse, values)
    order = np.argsort(energy)  # the brightest comes last and stays
    pixels["source"][inverse[order]] = source[order]
    noisy = pixels["energy"] + 0.011 * rng.standard_normal(len(pixels))
    pixels["energy"] = np.maximum(noisy, 0.06)
    pixels["frame"] += first
    particles = np.zeros(m, PARTICLE)
    particles["frame"], particles["x"], particles["y"] = track_frame + first, x, y
    particles["energy"], particles["hit"], particles["exposure"] = 1000, True, number
    xrays = np.zeros(k, PHOTON)
    xrays["frame"], xrays["x"], xrays["y"] = photon_frame + first, px, py
    xrays["energy"], xrays["detected"], xrays["exposure"] = photon_energy, True, number
    exposure = np.zeros(1, EXPOSURE)
    values = {
        "exposure": number,
        "first_frame": first,
        "n_frames": n,
        "live_s": n * 5e-3,
        "frame_time": 5e-3,
        "phi": 0.4,
        "standoff": 15.0,
        "shield_mm": 20.0,
        "gain": 1.0,
        "enc": 3.0,
        "threshold": 0.05,
        "photon_rate": photons,
        "area_cm2": 44.3,
        "ny": size,
        "nx": size,
        "pixel_um": 130.0,
        "thickness_um": 450.0,
    }
    for name, value in values.items():
        exposure[name] = value
    return Frames(
        pixels=pixels,
        shape=(size, size),
        index=first + np.arange(n, dtype=np.int64),
        weight=np.ones(n, np.float32),
        frame_time=5e-3,
        particles=particles,
        photons=xrays,
        exposures=exposure,
    )


def _event(add, frame, x, y, double, rng, source, xray):
    """Singles and doubles; the energies, log-uniform from 0.3 to 12 keV."""
    n = len(frame)
    energy = np.exp(rng.uniform(np.log(0.3), np.log(12), n))
    x, y = np.round(x), np.round(y)
    split = np.where(rng.random(n) < double, rng.uniform(0.25, 0.45, n), 0.0)
    direction = rng.integers(0, 4, n)
    dx, dy = np.array([1, 0, -1, 0])[direction], np.array([0, 1, 0, -1])[direction]
    two = split > 0
    for part, share in (((x, y), 1 - split), ((x + dx, y + dy), split)):
        some = share > 0 if part[0] is x else two
        e = (energy * share)[some]
        zero = 0 * e
        who = (-2 - source if xray else source)[some]
        add(
            *(frame[some], part[0][some], part[1][some], e, zero),
            *((zero, e) if xray else (e, zero)),
            who,
        )
    return energy


def write_toy_shards(folder, shards: int, exposures: int, seed: int, **how) -> list:
    """Write raw shards of toy exposures, as `physml background simulate` would."""
    from physml.background.core.frames import concatenate
    from physml.io.shards import write_shard

    paths = []
    for shard in range(shards):
        parts = [
            toy_exposure(k, rng=np.random.default_rng([seed, k]), **how)
            for k in range(shard * exposures, (shard + 1) * exposures)
        ]
        frames = concatenate(parts)
        path = folder / f"{shard}.h5"
        write_shard(path, frames.arrays(), provenance={"stage": "toy"}, tables=frames.tables())
        paths.append(path)
    return paths
