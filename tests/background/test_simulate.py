"""Simulated exposures: the same however they are cut into shards, consistent, without bias."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.detectors import DetectorSettings, detector_names, load_detector
from physml.background.core.events import find_events, truth
from physml.background.core.frames import ELECTRON, HELIUM, ORIGINS, check, concatenate, read_frames
from physml.background.settings import BackgroundSettings, ConditionsPrior, SimulateSettings
from physml.background.simulate import run
from physml.background.simulator.charge import collect
from physml.background.simulator.conditions import draw, power_law
from physml.background.simulator.deposits import first_pass, second_pass
from physml.background.simulator.exposure import _candidates, make_setup, simulate_exposure
from physml.background.simulator.materials import ALUMINIUM
from physml.background.simulator.primaries import draw_primaries
from physml.exceptions import InputError, SettingsError
from physml.random import stream

SMALL = SimulateSettings(n_samples=4, shard_size=2, hits=300, keep=0.05)


@pytest.fixture(scope="module")
def exposures():
    return [simulate_exposure(SMALL, 7, k) for k in range(4)]


@pytest.fixture(scope="module")
def everything():
    """All frames of two exposures, kept without importance sampling."""
    settings = SimulateSettings(hits=600, keep=1.0)
    return concatenate([simulate_exposure(settings, 8, k) for k in range(2)])


def settings(**simulate) -> BackgroundSettings:
    return BackgroundSettings(seed=7, simulate={**SMALL.model_dump(), **simulate})


def test_an_exposure_is_the_same_every_time(exposures) -> None:
    again = simulate_exposure(SMALL, 7, 2)
    for name, table in exposures[2].tables().items():
        np.testing.assert_array_equal(table, again.tables()[name])
    np.testing.assert_array_equal(exposures[2].weight, again.weight)


def test_seeds_and_numbers_make_a_difference(exposures) -> None:
    assert len({len(e.pixels) for e in exposures}) > 1
    assert len(simulate_exposure(SMALL, 8, 2).pixels) != len(exposures[2].pixels)


@pytest.mark.parametrize("size", [1, 3])
def test_shards_of_any_size_hold_the_same(tmp_path, exposures, size: int) -> None:
    s = settings(shard_size=size)
    paths = []
    for shard in range(s.simulate.n_shards):
        paths.append(tmp_path / f"{shard}.h5")
        run(settings=s, shard=shard, out=paths[-1])
    found = concatenate([read_frames(p) for p in paths])
    expected = concatenate(exposures)
    for name, table in expected.tables().items():
        np.testing.assert_array_equal(table, found.tables()[name])
    np.testing.assert_array_equal(expected.index, found.index)


def test_a_shard_knows_where_it_comes_from(tmp_path) -> None:
    from physml.io.shards import read_provenance

    path = tmp_path / "raw.h5"
    run(settings=settings(n_samples=1), shard=0, out=path)
    record = read_provenance(path)
    assert record["settings"]["simulate"]["hits"] == 300


def test_rows_are_in_order_and_point_to_what_is_there(exposures) -> None:
    for e in exposures:
        check(e)
        assert e.has_truth
        assert set(np.unique(e.particles["frame"])) <= set(e.index)
        assert set(np.unique(e.photons["frame"])) <= set(e.index)
        source = e.pixels["source"]
        by_particle, by_photon = source >= 0, source <= -2
        frame = e.pixels["frame"]
        np.testing.assert_array_equal(e.particles["frame"][source[by_particle]], frame[by_particle])
        np.testing.assert_array_equal(e.photons["frame"][-2 - source[by_photon]], frame[by_photon])


def test_source_goes_with_the_true_energies(exposures) -> None:
    pixels = concatenate(exposures).pixels
    by_particle, by_photon = pixels["source"] >= 0, pixels["source"] <= -2
    from_particles = pixels["primary"] + pixels["outside"] + pixels["inside"]
    assert (from_particles[by_particle] > 0).all()
    assert (pixels["photon"][by_photon] > 0).all()
    dark = pixels[pixels["source"] == -1]
    assert sum(dark[name].sum() for name in ORIGINS) == 0
    # Measured and true energies differ by noise and gain only.
    total = from_particles + pixels["photon"]
    lit = total > 1
    assert np.abs(pixels["energy"][lit] / total[lit] - 1).max() < 0.3
    assert pixels["energy"].min() > 0.045


def test_weights_count_all_frames() -> None:
    s = SimulateSettings(hits=400, keep=0.1)
    share = []
    for k in range(8):
        e = simulate_exposure(s, 9, k)
        assert set(np.unique(e.weight)) <= {np.float32(1), np.float32(10)}
        share.append(e.weight.sum() / e.exposures["n_frames"][0])
    assert np.mean(share) == pytest.approx(1, abs=0.1)


def test_frames_with_a_particle_event_are_all_kept(everything) -> None:
    sparse = concatenate(
        [simulate_exposure(SimulateSettings(hits=600, keep=0.02), 8, k) for k in range(2)]
    )
    # Other random numbers follow the choice of frames, so that only rates can be compared.
    rate = []
    for frames in (everything, sparse):
        found = find_events(frames)
        background = truth(found, frames)["label"] == 1
        weight = frames.weight[frames.position(found.events["frame"])]
        rate.append(float((weight * (found.events["valid"] & background)).sum()))
        alone = found.events["valid"] & background & (frames.weight.max() > 1)
        assert not alone.any() or np.median(weight[alone]) == 1
    assert rate[1] == pytest.approx(rate[0], abs=5 * np.sqrt(rate[0]))


def test_nothing_small_is_missed_by_the_first_pass() -> None:
    """What the first pass takes for one connected track never makes a candidate."""
    missed = number = 0
    for k in range(3):
        base = load_detector("wfi")
        conditions = draw(ConditionsPrior(nominal=1.0), base, stream(1, "test", k))
        setup, rng = make_setup(conditions), stream(2, "test", k)
        g = setup.geometry
        p = draw_primaries(g, ALUMINIUM, conditions.phi, 0.1, 40.0, rng)
        first = first_pass(setup, p, rng)
        left = second_pass(setup, p, first, np.ones(len(p), bool), rng)
        alone = np.arange(len(p))  # each primary in a frame of its own
        charge = collect(
            conditions.detector, left.energy, left.position, left.owner, left.origin, alone
        )
        charge = conditions.readout.fluctuate(charge, rng)
        candidate = _candidates(conditions, base, charge, len(p))
        missed += int((candidate & ~first.loose).sum())
        number += int(candidate.sum())
    assert number > 100
    assert missed <= number // 100


def test_photons_do_not_know_of_the_particles(everything) -> None:
    per_frame = np.bincount(
        everything.position(everything.photons["frame"]), minlength=len(everything)
    )
    struck = np.zeros(len(everything), bool)
    struck[everything.position(everything.particles["frame"])] = True
    exposure = everything.frame_exposure
    for k in range(2):
        with_, without = per_frame[(exposure == k) & struck], per_frame[(exposure == k) & ~struck]
        error = np.sqrt(with_.var() / len(with_) + without.var() / len(without))
        assert abs(with_.mean() - without.mean()) < 5 * error
        rate = everything.exposures["photon_rate"][k]
        assert per_frame[exposure == k].mean() == pytest.approx(rate, rel=0.2)


def test_particles_of_all_kinds(everything) -> None:
    kinds, counts = np.unique(everything.particles["kind"], return_counts=True)
    assert kinds.tolist() == [0, HELIUM, ELECTRON]
    assert counts[1] / counts[0] == pytest.approx(0.1, rel=0.6)
    hit = everything.particles["hit"]
    on = everything.particles[hit]
    assert 0.7 < hit.mean() < 0.99
    assert (np.abs(on["x"] - 255.5) <= 256.01).all()
    tracks = np.bincount(everything.pixels["source"][everything.pixels["source"] >= 0])
    assert tracks.max() > 5


def test_exposure_row(exposures) -> None:
    row = exposures[1].exposures[0]
    assert row["exposure"] == 1
    assert row["live_s"] == pytest.approx(row["n_frames"] * row["frame_time"], rel=1e-6)
    assert row["area_cm2"] == pytest.approx(44.3, rel=1e-3)
    assert exposures[1].index.min() >= row["first_frame"]
    assert exposures[1].index.max() < row["first_frame"] + row["n_frames"]


def test_conditions_stay_in_their_ranges() -> None:
    prior, base = ConditionsPrior(), load_detector("wfi")
    drawn = [draw(prior, base, stream(3, "test", k)) for k in range(40)]
    for c in drawn:
        assert 0.35 <= c.phi <= 0.8
        assert 3 <= c.standoff <= 30
        assert 0.4 <= c.detector.frame_time / 5e-3 <= 4
        assert c.detector.split_keV >= 4.2 * c.detector.noise_keV * (1 - 1e-12)
        assert c.detector.split_keV >= 0.05
    nominal = [c.detector.enc == base.enc for c in drawn]
    assert 5 < sum(nominal) < 35
    assert any((c.readout.gain == 0).any() for c in drawn)


def test_equal_ends_fix_a_condition() -> None:
    prior = ConditionsPrior(phi=(0.4, 0.4), standoff=(15, 15), gain=(1, 1))
    c = draw(prior, load_detector("wfi"), stream(3, "test", 0))
    assert (c.phi, c.gain) == (0.4, 1)
    assert c.standoff == pytest.approx(15)


@pytest.mark.parametrize("index", [-0.5, 1.0, 2.0])
def test_power_law(index: float) -> None:
    e = power_law(np.random.default_rng(4), 50_000, index, (0.2, 15.0))
    assert 0.2 <= e.min() <= e.max() <= 15
    a = 1 - index
    share = np.log(2 / 0.2) / np.log(75) if a == 0 else (2**a - 0.2**a) / (15**a - 0.2**a)
    assert (e < 2).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", ["wfi", "wfi_fast", "axis", "acis"])
def test_shipped_detectors_simulate(name: str) -> None:
    assert name in detector_names()
    detector = load_detector(name)
    s = SimulateSettings(detector=name, hits=60, keep=0.5)
    frames = simulate_exposure(s, 1, 0)
    check(frames)
    assert frames.shape == (detector.ny, detector.nx)
    assert len(frames.pixels) > 0
    assert detector.area_cm2 == pytest.approx(
        detector.ny * detector.nx * detector.pixel_um**2 * 1e-8
    )


def test_a_detector_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nny: 64\nnx: 32\npixel_um: 0.1 mm\n")
    detector = load_detector(path)
    assert (detector.ny, detector.nx) == (64, 32)
    assert detector.pixel_um == pytest.approx(100)
    assert simulate_exposure(SimulateSettings(detector=str(path), hits=20), 1, 0).shape == (64, 32)


@pytest.mark.parametrize("name", ["wfy", "", "no/such.yaml", "../secret"])
def test_unknown_detectors_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="wfi"):
        load_detector(name)


def test_bad_detector_files_are_refused(tmp_path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("nx: 512\npixels: 130\n")
    with pytest.raises(SettingsError, match="pixels"):
        load_detector(path)


@pytest.mark.parametrize(
    "change",
    [
        {"phi": (0.8, 0.3)},
        {"phi": (0.0, 0.3)},
        {"standoff": (-1, 3)},
        {"helium": 2},
        {"fi": (0.3, 0.4)},
        {"bad_columns": 0},
    ],
)
def test_bad_conditions_are_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        ConditionsPrior(**change)


def test_keep_has_to_be_a_share() -> None:
    for keep in (0, 1.5):
        with pytest.raises(ValueError):
            SimulateSettings(keep=keep)


def test_a_shard_beyond_the_last_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError):
        run(settings=settings(), shard=9, out=tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_default_detector_is_the_wfi() -> None:
    assert DetectorSettings() == load_detector("wfi")
