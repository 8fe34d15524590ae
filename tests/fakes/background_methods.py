"""A detector whose answer is known, on frames of the toy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fakes.background import toy_exposure
from physml.background.core.events import find_events, nearest_particle
from physml.background.core.frames import concatenate
from physml.background.inference.housing import Housing

RETENTION = (0.98, 0.9)


class Compass:
    """Says background where a particle is near; without context it knows nothing.

    Its cut rejects what is nearer than `radius`, whatever was promised.
    """

    limit = 24
    retentions = (0.8, 0.999)
    standoff = 10.0
    standoffs = np.array([10.0])

    def at(self, standoff):
        return self

    def settled(self, parts, *, standoff=None, enough=None):
        return self, Housing(self.standoffs, np.zeros(1), 0)

    def __init__(self, radius: float = 12.0):
        self.radius = radius
        self.card = {"version": "compass"}

    def probability(self, distance):
        near = np.where(np.isfinite(distance), distance, 1e3)
        return 1 / (1 + np.exp((near - self.radius) / 4))

    def classify(self, frames, found=None, *, context=True, **_):
        found = find_events(frames) if found is None else found
        distance, _ = nearest_particle(found, frames)
        m = len(found.events)
        p = self.probability(distance) if context else np.full(m, 0.5) + 1e-6 * np.arange(m) / m
        p = np.where(found.events["valid"], p, 1.0)
        busy = np.bincount(
            frames.position(found.clusters["frame"]),
            found.clusters["particle"],
            minlength=len(frames),
        )
        p_frame = np.column_stack([busy == 0, busy > 0, np.zeros(len(busy))]).astype(float)
        return SimpleNamespace(
            found=found,
            p_bkg=p,
            p_frame=p_frame,
            d_mip=np.where(np.isfinite(distance), distance, np.nan),
            rate=np.ones(m),
        )

    def threshold(self, energy, retention, band=None, rate=None):
        return np.full(np.shape(energy), 0.5)

    def logits(self, m):
        """Logits by the number of particles in the set: context without distances."""
        particles = np.add.reduceat(m.feature[:, 1], m.start[:-1])
        return np.repeat(particles, m.sizes), np.zeros((len(m), 3))

    def calibrated(self, logit):
        return np.asarray(logit)


def toy(seed: int, exposures: int = 4, n: int = 400, **how):
    rng = np.random.default_rng(seed)
    how = {"reach": 8.0, "tracks": 0.4, "photons": 1.0} | how
    return concatenate([toy_exposure(k, n, rng=rng, **how) for k in range(exposures)])
