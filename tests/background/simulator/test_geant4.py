"""The Geant4 set in frames, and the simulator beside it. Nothing is tuned here."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.events import Found, find_events, truth
from physml.background.core.frames import Frames, check, concatenate
from physml.background.settings import ConditionsPrior, SimulateSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.background.simulator.geant4 import Deposited, assemble, read_particles, read_photons
from physml.exceptions import InputError

AREA = 44.3


class Survey:
    """Numbers of the sheet for one set of frames."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.live = float(frames.exposures["live_s"].sum())
        self.found: Found = find_events(frames, keep_border=True)
        e, t = self.found.events, truth(self.found, frames)
        self.weight = frames.weight[frames.position(e["frame"])].astype(float)
        self.background = (t["label"] == 1) & (t["source"] >= 0)
        self.survives = self.background & e["valid"] & (e["energy"] > 0.3)
        self.energy, self.source = e["energy"], t["source"]

    def rate(self, low: float, high: float) -> float:
        """Survivors, 1/cm2/s/keV."""
        band = self.survives & (self.energy > low) & (self.energy <= high)
        return float(self.weight[band].sum() / (self.live * AREA * (high - low)))

    def with_track(self) -> float:
        """Share of the survivors with a cluster above 15 keV of the same primary."""
        p, cluster = self.frames.pixels, self.found.pixel_cluster
        big = cluster >= 0
        big[big] = self.found.clusters["energy"][cluster[big]] > 15
        has = np.zeros(len(self.frames.particles), bool)
        has[p["source"][big & (p["source"] >= 0)]] = True
        w = self.weight[self.survives]
        return float((w * has[self.source[self.survives]]).sum() / w.sum())

    def track_percentiles(self, column: str) -> np.ndarray:
        """Quartiles of the clusters above 15 keV."""
        c = self.found.clusters
        big = c["energy"] > 15
        w = self.frames.weight[self.frames.position(c["frame"])][big].astype(float)
        order = np.argsort(c[column][big], kind="stable")
        share = np.cumsum(w[order]) / w.sum()
        return c[column][big][order][np.searchsorted(share, [0.25, 0.5, 0.75])].astype(float)


def simulate(standoff: float, exposures: int) -> Survey:
    """Protons only, 2 cm of aluminium, 5 ms."""
    fixed = ConditionsPrior(
        phi=(0.4, 0.4),
        helium=0.0,
        standoff=(standoff, standoff),
        gap=(11.72, 11.72),
        shield=(20, 20),
        frame_time=(1, 1),
        gain=(1, 1),
        column_gain=(0, 0),
        offset=(0, 0),
        nominal=1.0,
        cloud=(1, 1),
        bias=(1, 1),
        bad=0.0,
        flat=(0, 0),
        photons=(1e-6, 1e-6),
        bright=0.0,
    )
    settings = SimulateSettings(hits=6000, keep=0.03, conditions=fixed)
    return Survey(concatenate([simulate_exposure(settings, 21, k) for k in range(exposures)]))


@pytest.fixture(scope="module")
def far() -> Survey:
    return simulate(14.775, 5)


@pytest.fixture(scope="module")
def near() -> Survey:
    return simulate(4.775, 3)


def test_survivors_far_from_the_housing(far: Survey) -> None:
    # Geant4, the sheet: 5.3, 4.1, 3.1, 2.7 e-3, good to about 30 %.
    for (low, high), expected in {
        (2, 7): 4.1e-3, (7, 10): 3.1e-3, (10, 15): 2.7e-3,
    }.items():  # fmt: skip
        assert far.rate(low, high) == pytest.approx(expected, rel=0.3)
    # Slow electrons: Geant4 has a third fewer of them.
    assert far.rate(0.3, 2) == pytest.approx(5.3e-3, rel=0.5)


def test_rejected_share(far: Survey) -> None:
    w = far.weight
    rejected = 1 - w[far.survives].sum() / w[far.background].sum()
    assert rejected == pytest.approx(0.9795, abs=0.006)


def test_survivors_with_a_track_of_their_primary(far: Survey, near: Survey) -> None:
    assert far.with_track() == pytest.approx(0.45, abs=0.07)
    assert near.with_track() == pytest.approx(0.73, abs=0.07)


def test_primaries_a_frame(far: Survey) -> None:
    p = far.frames.particles
    w = far.frames.weight[far.frames.position(p["frame"])].astype(float)
    assert w.sum() / far.frames.weight.sum() == pytest.approx(0.535, rel=0.15)


@pytest.fixture(scope="module")
def deposited(shared_data) -> tuple[Deposited, Deposited]:
    folder = shared_data / "detector" / "geant4"
    return read_particles(folder), read_photons(folder)


def test_what_the_files_hold(deposited) -> None:
    particles, photons = deposited
    assert len(particles) == 115_534
    assert particles.exposure == pytest.approx(1080.18)
    assert (particles.energy >= 0).all()
    assert len(photons) == 99_622
    assert photons.energy[:, :3].sum() == 0
    total = np.bincount(photons.source, photons.energy.sum(1), len(photons))
    assert np.median(total / photons.incident) == pytest.approx(1, abs=0.01)


def test_frames_at_the_natural_rate(deposited) -> None:
    frames = assemble(*deposited, seed=1, photon_rate=0.2, seconds=100.0)
    check(frames)
    assert len(frames) == pytest.approx(20_000, rel=0.01)
    assert len(frames.particles) / len(frames) == pytest.approx(0.535, rel=0.03)
    assert len(frames.photons) / len(frames) == pytest.approx(0.2, rel=0.1)
    survey = Survey(frames)
    w = survey.weight
    rejected = 1 - w[survey.survives].sum() / w[survey.background].sum()
    assert rejected == pytest.approx(0.9795, abs=0.004)
    assert survey.rate(2, 7) == pytest.approx(4.1e-3, rel=0.3)
    # Energies are the photons' own, to noise.
    pixels = frames.pixels
    alone = (pixels["source"] <= -2) & (pixels["energy"] > 1)
    np.testing.assert_allclose(pixels["energy"][alone], pixels["photon"][alone], atol=0.6)


def test_tracks_of_the_simulator_look_like_those_of_geant4(deposited, far: Survey) -> None:
    theirs = Survey(assemble(deposited[0], None, seed=2, seconds=150.0))
    # The highest of these percentiles scatters by a few percent from draw to draw, and rounding,
    # which differs between processors, makes another draw.
    for column, tolerance in (("energy", 0.08), ("n_pixels", 0.2)):
        np.testing.assert_allclose(
            far.track_percentiles(column), theirs.track_percentiles(column), rtol=tolerance
        )


def test_the_same_seed_gives_the_same_frames(deposited) -> None:
    one = assemble(*deposited, seed=3, seconds=5.0)
    two = assemble(*deposited, seed=3, seconds=5.0)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    other = assemble(*deposited, seed=4, seconds=5.0)
    assert len(other.pixels) != len(one.pixels) or (other.pixels != one.pixels).any()


def test_other_frame_times_and_no_photons(deposited) -> None:
    frames = assemble(deposited[0], None, frame_time=0.02, seconds=20.0)
    assert len(frames) == pytest.approx(1000, rel=0.01)
    assert len(frames.photons) == 0
    assert len(frames.particles) / len(frames) == pytest.approx(4 * 0.535, rel=0.1)


def test_more_seconds_than_there_are(deposited) -> None:
    with pytest.raises(InputError, match="at most"):
        assemble(deposited[0], None, seconds=1e5)


def test_missing_or_foreign_files(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_particles(tmp_path)
    (tmp_path / "xray.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="numpy archive"):
        read_photons(tmp_path)
    np.savez(tmp_path / "far_shield.npz", prim=np.zeros(3))
    with pytest.raises(InputError, match="no y"):
        read_particles(tmp_path)
