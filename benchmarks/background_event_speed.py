"""Frames per second of the event finder: sparse frames at the natural rate, and dense images.

    python benchmarks/background_event_speed.py [--frames 20000] [--images 200] [--json FILE]

sparse
    Frames of 5 ms of a 512 x 512 detector in the cosmic rays of solar minimum: half a track and a
    tenth of a photon each, as a table of pixels. Measured: `find_events` with clusters, patterns,
    grades and patches, of all frames at once.
dense
    The same frames as images with the noise of 3 electrons in each pixel. Measured: from the
    images to the events, the search for pixels above the threshold included.

The tracks are straight lines a few pixels wide: for the time it takes only their number and size
matter. CPU time of all threads of this process, the median of some rounds.

Goals: 5,000 sparse frames and 200 dense frames a second on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table, verdict
from common.timing import cpu_seconds

from physml.background.core.events import SPLIT, find_events, frames_to_sparse
from physml.background.core.frames import PIXEL, Frames
from physml.random import stream

SPARSE_GOAL, DENSE_GOAL = 5000.0, 200.0
#: The event finder depends on no weights and no simulator.
SCIENCES = ()
SIDE = 512
TRACKS, PHOTONS = 0.535, 0.1  # a frame
MEAN_LENGTH = 8.0  # pixels
NOISE = 3 * 3.71e-3  # keV
BLOCK = 50  # dense frames at once


def make_frames(n: int, seed: int) -> Frames:
    """Tracks and photons at the natural rate."""
    rng = stream(seed, "test", 0)
    parts = []
    tracks = rng.integers(0, n, rng.poisson(TRACKS * n))
    # Isotropic particles: length in the plane is thickness * tan(theta), cos(theta)^2 uniform.
    cos = np.sqrt(rng.uniform(0.01, 1, len(tracks)))
    length = np.minimum(3.46 * np.sqrt(1 - cos**2) / cos, 100.0)  # 450 um in pixels of 130 um
    angle, y, x = rng.uniform(0, 2 * np.pi, len(tracks)), *rng.uniform(0, SIDE, (2, len(tracks)))
    steps = (2 * np.maximum(length, 0.5)).astype(np.int64) + 1
    owner = np.repeat(np.arange(len(tracks)), steps)
    along = (np.arange(len(owner)) - np.repeat(np.cumsum(steps) - steps, steps)) / 2
    energy = 186.0 / cos[owner] / steps[owner] * rng.gamma(4.0, 0.25, len(owner))
    place = y[owner] + along * np.sin(angle[owner]), x[owner] + along * np.cos(angle[owner])
    photons = rng.integers(0, n, rng.poisson(PHOTONS * n))
    at = rng.uniform(0, SIDE, (2, len(photons)))
    deposits = [
        np.concatenate(values)
        for values in (
            (tracks[owner], photons),
            (place[0], at[0]),
            (place[1], at[1]),
            (energy, rng.uniform(0.5, 8, len(photons))),
        )
    ]
    for dy, dx, share in ((0, 0, 0.9), (1, 0, 0.05), (0, 1, 0.05)):  # the charge spreads
        parts.append((deposits[0], deposits[1] + dy, deposits[2] + dx, share * deposits[3]))
    frame, y, x, energy = (np.concatenate(values) for values in zip(*parts, strict=True))
    inside = (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE)
    key = (frame * SIDE + y.astype(np.int64)) * SIDE + x.astype(np.int64)
    key, pixel = np.unique(key[inside], return_inverse=True)
    energy = np.bincount(pixel, energy[inside]) + rng.normal(0, NOISE, len(key))
    pixels = np.empty(len(key), PIXEL)
    pixels["frame"], rest = np.divmod(key, SIDE * SIDE)
    pixels["y"], pixels["x"] = np.divmod(rest, SIDE)
    pixels["energy"] = energy
    pixels = pixels[energy > SPLIT]
    return Frames(pixels, (SIDE, SIDE), np.arange(n), np.ones(n, np.float32), 0.005)


def dense_seconds(frames: Frames, n: int, seed: int, rounds: int) -> float:
    """CPU time of n dense frames; making them is not in it."""
    rng = stream(seed, "test", 1)
    total = 0.0
    for first in range(0, n, BLOCK):
        numbers = range(first, min(first + BLOCK, n))
        images = rng.standard_normal((len(numbers), SIDE, SIDE), np.float32) * np.float32(NOISE)
        for image, number in zip(images, numbers, strict=True):
            image += frames.dense(number)
        index, weight = np.arange(len(images)), np.ones(len(images), np.float32)

        def work(images=images, index=index, weight=weight) -> None:
            pixels = frames_to_sparse(images)
            find_events(Frames(pixels, (SIDE, SIDE), index, weight, 0.005))

        total += cpu_seconds(work, rounds)
    return total


def rounded(rate: float) -> str:
    """Rate with three digits."""
    return f"{float(f'{rate:.3g}'):,.0f}"


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown from the numbers."""
    n = numbers
    rows = [
        [
            f"{name} frames",
            f"{n[count]:,}",
            rounded(n[name]),
            f"{goal:,.0f}",
            verdict(n[name] >= goal),
        ]
        for name, count, goal in (
            ("sparse", "frames", SPARSE_GOAL),
            ("dense", "images", DENSE_GOAL),
        )
    ]
    caption = (
        f"Frames per CPU second on one core, median of {n['rounds']} rounds; frames of 512 x 512 "
        f"with {n['pixels']:.1f} pixels, {n['clusters']:.2f} clusters and {n['valid']:.3f} valid "
        "events each."
    )
    head = ["events found in", "n", "frames a second", "goal", ""]
    return {
        "speed": f"{caption}\n\n{table(head, rows)}",
        "sparse": rounded(n["sparse"]),
        "dense": rounded(n["dense"]),
    }


def main() -> int:
    """Run and print."""
    parser = command(__doc__, "rounds", "seed", "json")
    parser.add_argument("--frames", type=int, default=20000, help="sparse frames")
    parser.add_argument("--images", type=int, default=200, help="dense frames")
    a = parse(parser)
    if not 1 <= a.images <= a.frames:
        parser.error("expected 1 <= images <= frames")
    frames = make_frames(a.frames, a.seed)
    found = find_events(frames)  # first call: imports
    sparse = a.frames / cpu_seconds(lambda: find_events(frames), a.rounds)
    dense = a.images / dense_seconds(frames, a.images, a.seed, a.rounds)
    numbers = {
        "sparse": sparse,
        "dense": dense,
        "frames": a.frames,
        "images": a.images,
        "rounds": a.rounds,
        "pixels": len(frames.pixels) / len(frames),
        "clusters": len(found.clusters) / len(frames),
        "valid": float(found.events["valid"].sum() / len(frames)),
    }
    write(a, numbers, tables=tables, sciences=SCIENCES)
    return 0 if sparse >= SPARSE_GOAL and dense >= DENSE_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
