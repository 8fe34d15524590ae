"""Shards to weights to scored events: what a trained detector says, promises and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure, write_toy_shards

from physml.background import preprocess, train
from physml.background.core import frame_class
from physml.background.core.events import find_events, truth
from physml.background.core.frames import concatenate
from physml.background.inference.cuts import Scores, Thresholds, bilinear, fit_thresholds
from physml.background.inference.detector import BackgroundDetector, merge_sets
from physml.background.inference.event_level import EventLevel, fit_event_level
from physml.background.inference.housing import measure
from physml.background.inference.inputs import members, particle_rate
from physml.background.learning.calibrate import calibration_error, rate_edges
from physml.background.learning.energy_matching import energy_matching, removed_at_retention
from physml.background.learning.prepared import prepare, prepared_spec
from physml.background.settings import BackgroundSettings
from physml.exceptions import InputError, SettingsError
from physml.io.shards import read_shard
from physml.io.weights import load_weights, save_weights
from physml.stages.preprocess import SPLITS

SETTINGS = {
    "seed": 5,
    "preprocess": {"valid": 0.25, "test": 0.1, "windows": 300},
    "train": {
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 5e-3,
        "network": {"width": 16, "heads": 2, "blocks": 1, "pair_width": 8, "patch_channels": 4},
        "calibrate": {
            "photons": 1500,
            "energies": [0.3, 1, 3, 12],
            "standoffs": [6, 15],
            "observations": 2,
            "observation_hits": 60,
        },
        "source_method": {"epochs": 1, "widths": [4, 4, 4], "hidden": 8},
    },
}


@pytest.fixture(scope="module")
def settings() -> BackgroundSettings:
    return BackgroundSettings.model_validate(SETTINGS)


@pytest.fixture(scope="module")
def data(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    raw = write_toy_shards(folder, shards=4, exposures=4, seed=1, n=500)
    preprocess.run(settings=settings, raw=raw, out=folder / "prepared", threads=1)
    return folder / "prepared"


@pytest.fixture(scope="module")
def weights(settings, data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    train.run(settings=settings, data=data, out=path)
    return path


@pytest.fixture(scope="module")
def detector(weights) -> BackgroundDetector:
    return BackgroundDetector.load(weights)


@pytest.fixture(scope="module")
def fresh():
    """Exposures that no split has seen."""
    parts = [toy_exposure(k, 1500, rng=np.random.default_rng(k)) for k in (90, 91)]
    frames = concatenate(parts)
    return frames, find_events(frames)


@pytest.fixture(scope="module")
def classified(detector, fresh):
    return detector.classify(*fresh)


@pytest.fixture(scope="module")
def matched(fresh):
    """Label and energy-matched weight of the events in 0.4-10 keV."""
    frames, found = fresh
    label, events = truth(found, frames)["label"], found.events
    valid = events["valid"].astype(float)
    return label, energy_matching(events["energy"], label, valid, band=(0.4, 10.0))


@pytest.fixture(scope="module")
def without_context(detector, fresh, matched):
    """Share of the background removed at 95 %, by each event alone."""
    p = detector.classify(*fresh, context=False).p_bkg
    return removed_at_retention(p, *matched, 0.95)[0].value


def test_splits_share_no_exposure_and_lose_none(data):
    spec = prepared_spec()
    seen = [set(read_shard(data / f"{s}.h5", spec)["exposure"]) for s in SPLITS]
    assert set.union(*seen) == set(range(16))
    assert sum(map(len, seen)) == 16


def test_sets_are_numbered_through(data):
    for split in SPLITS:
        number = read_shard(data / f"{split}.h5", prepared_spec())["set"]
        assert number[0] == 0
        assert set(np.diff(number)) <= {0, 1}


@pytest.mark.slow
def test_data_do_not_depend_on_processes(settings, data, tmp_path):
    raw = write_toy_shards(tmp_path, shards=4, exposures=4, seed=1, n=500)
    preprocess.run(settings=settings, raw=raw[::-1], out=tmp_path / "two", threads=2, mem_mb=3000)
    spec = prepared_spec()
    for split in SPLITS:
        one, two = (read_shard(f / f"{split}.h5", spec) for f in (data, tmp_path / "two"))
        assert all(one[name].tobytes() == two[name].tobytes() for name in spec)


def test_a_split_without_exposures_is_refused(settings, tmp_path):
    raw = write_toy_shards(tmp_path, shards=1, exposures=1, seed=1, n=50)
    with pytest.raises(SettingsError, match="simulate more"):
        preprocess.run(settings=settings, raw=raw, out=tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()


def test_context_tells_background(classified, matched, without_context):
    with_context = removed_at_retention(classified.p_bkg, *matched, 0.95)[0].value
    assert with_context > without_context + 0.15
    assert without_context > 0.1  # doubles are told from singles without any context


def test_another_frames_context_is_worth_nothing(detector, fresh, matched, without_context):
    """Events moved elsewhere, frame by frame: not better than each event by itself."""
    frames, found = fresh
    m = members(found, frames, detector.limit)
    rng = np.random.default_rng(3)
    place = m.place.copy()
    event = m.event >= 0
    place[event, :2] = place[rng.permutation(np.flatnonzero(event)), :2]
    logit, _ = detector.logits(replace(m, place=place))
    p = np.ones(len(found.clusters))
    p[m.cluster] = logit
    exchanged = removed_at_retention(p[found.events["cluster"]], *matched, 0.95)[0].value
    assert exchanged < without_context + 0.1


def test_probabilities_do_not_depend_on_batches(detector, classified, fresh):
    frames, found = fresh
    other = detector.classify(frames, found, batch=7)
    assert np.allclose(classified.p_bkg, other.p_bkg, atol=1e-6)
    assert np.allclose(classified.p_frame, other.p_frame, atol=1e-6, equal_nan=True)


def test_frames_are_classified_by_themselves(detector, fresh):
    """Given the rate, a frame's probabilities do not depend on the others of a block."""
    frames, found = fresh
    whole = detector.classify(frames, found, rate=0.5)
    part = frames.select(frames.index[100:130])
    cut = detector.classify(part, rate=0.5)
    mine = np.isin(found.events["frame"], part.index)
    assert np.allclose(whole.p_bkg[mine], cut.p_bkg, atol=1e-6)
    assert np.allclose(whole.p_frame[100:130], cut.p_frame, atol=1e-6, equal_nan=True)


def test_what_is_classified_is_well_formed(classified, fresh):
    (frames, found), c = fresh, classified
    assert c.p_bkg.shape == c.d_mip.shape == c.rate.shape == (len(found.events),)
    assert ((c.p_bkg >= 0) & (c.p_bkg <= 1)).all()
    particle = found.clusters["particle"][found.events["cluster"]]
    assert (c.p_bkg[particle] == 1).all()
    some = np.isfinite(c.p_frame[:, 0])
    held = np.isin(frames.index, found.clusters["frame"])
    assert np.array_equal(some, held)
    assert np.allclose(c.p_frame[some].sum(1), 1)
    assert (c.d_mip[particle] == 0).all()
    without = ~np.isin(found.events["frame"], found.clusters["frame"][found.clusters["particle"]])
    assert np.array_equal(np.isnan(c.d_mip), without)
    on = found.pixel_event >= 0
    assert np.array_equal(c.p_pixel[on], c.p_bkg[found.pixel_event[on]])


def test_frames_with_particles_are_found(classified, fresh):
    frames, p = fresh[0], classified.p_frame
    place = frames.position(frames.pixels["frame"])
    of_frame = frame_class.classes(place, frames.pixels, len(frames))
    with_particle = np.isin(of_frame, (frame_class.PARTICLE, frame_class.BOTH))
    assert (p[with_particle, 1:].sum(1) > 0.5).mean() > 0.97
    assert (p[of_frame == frame_class.XRAY, 0] > 0.5).mean() > 0.9


def test_probabilities_are_calibrated(detector, classified, matched):
    label, weight = matched
    used = weight > 0
    p = classified.p_bkg[used]
    logit = np.log(p / (1 - p))
    # 3,000 events in 20 bins: an error of 0.015 is nothing but chance.
    assert calibration_error(logit, label[used], weight[used]) < 0.06
    assert detector.card["calibration"]["ece"] < 0.05


def test_promised_retention_is_kept(detector, classified, fresh):
    (frames, found), c = fresh, classified
    events = found.events
    photon = events["valid"] & (truth(found, frames)["label"] == 0)
    for retention in (0.9, 0.98):
        cut = detector.threshold(events["energy"], retention, rate=c.rate)
        n = photon.sum()
        kept = (c.p_bkg <= cut)[photon].mean()
        # Statistics of the photons here and of those the cut was made from.
        sigma = np.sqrt(retention * (1 - retention) * (1 / n + 1 / 1500))
        assert kept == pytest.approx(retention, abs=3 * sigma)
        band = (0.5, 10.0)
        inside = photon & (events["energy"] > band[0]) & (events["energy"] < band[1])
        cut = detector.threshold(events["energy"], retention, band, c.rate)
        assert len(np.unique(np.round(cut, 12))) <= 2  # one for each exposure's rate
        assert (c.p_bkg <= cut)[inside].mean() == pytest.approx(retention, abs=4 * sigma)


def test_retentions_that_were_not_promised_are_refused(detector):
    low, high = detector.retentions
    for wrong in (0.0, low - 0.01, high + 1e-4, 1.2):
        with pytest.raises(ValueError, match="retention"):
            detector.threshold([1.0], wrong)


def test_weights_of_something_else_are_refused(weights, tmp_path):
    path = tmp_path / "other.safetensors"
    save_weights(path, {"a": torch.zeros(2)}, {"pipeline": "cavities"})
    with pytest.raises(InputError, match="background"):
        BackgroundDetector.load(path)
    state, card = load_weights(weights)
    state.pop("events.head.0.weight")
    broken = tmp_path / "broken.safetensors"
    save_weights(broken, state, card)
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        BackgroundDetector.load(broken)


def test_card_describes_the_weights(weights):
    text = weights.with_suffix(".md").read_text()
    card = load_weights(weights)[1]
    assert card["version"] in text
    assert "98.0 %" in text
    assert "particles missed by grading found" in text
    assert json.dumps(card["thresholds"])


def test_training_starts_from_earlier_weights(settings, data, weights, tmp_path):
    changed = {"init": str(weights), "epochs": 1, "learning_rate": 1e-4}
    changed["source_method"] = SETTINGS["train"]["source_method"] | {"epochs": 0}
    short = BackgroundSettings.model_validate(SETTINGS | {"train": SETTINGS["train"] | changed})
    train.run(settings=short, data=data, out=tmp_path / "next.safetensors")
    old, new = (load_weights(p)[1] for p in (weights, tmp_path / "next.safetensors"))
    assert len(new["lineage"]) == 1
    assert new["training"]["valid_loss"] < old["training"]["history"][0]["valid_loss"]
    assert "source_method" not in new


def test_cuts_are_the_quantiles_of_what_they_were_made_from():
    """Scores whose distribution is known in closed form at each energy and rate."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Scores:
        energy, rate = np.exp(rng.uniform(np.log(0.3), np.log(10), n)), rng.choice([0.3, 1, 3], n)
        return Scores(rng.logistic(np.log(energy) + 0.5 * np.log(rate)), energy, rate)

    table = fit_thresholds(
        draw(200_000),
        draw(200_000),
        retention=(0.8, 0.9, 0.98, 0.99),
        energy_edges=np.geomspace(0.3, 10, 8),
        rate_edges=(0.1, 0.6, 2, 5),
        spectrum=(np.array([1.0, 5.0]), np.array([1.0, 3.0])),
    )
    # 84 cells, each with an error of up to 0.006.
    assert np.abs(table.measured - table.retention[:, None, None]).max() < 0.02
    energy, rate = np.array([0.6, 2.0, 6.0]), np.array([0.3, 1.0, 3.0])
    for retention in (0.85, 0.95, 0.985):  # between the knots as well
        expected = np.log(energy) + 0.5 * np.log(rate) + np.log(retention / (1 - retention))
        assert table.logit(energy, retention, rate=rate) == pytest.approx(expected, abs=0.2)
    again = Thresholds.from_dict(json.loads(json.dumps(table.as_dict())))
    assert np.array_equal(again.logit(energy, 0.9), table.logit(energy, 0.9))


def test_one_cut_for_a_band_keeps_the_share_of_the_band():
    rng = np.random.default_rng(1)

    def draw(n: int) -> Scores:
        energy = np.exp(rng.uniform(np.log(1), np.log(8), n))
        return Scores(rng.logistic(2 * np.log(energy)), energy, np.ones(n))

    background = np.exp(rng.uniform(np.log(1), np.log(8), 5000))
    table = fit_thresholds(
        draw(100_000),
        draw(1_000),
        retention=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99),
        energy_edges=np.geomspace(1, 8, 13),
        rate_edges=(0.5, 2),
        spectrum=(background, np.ones(5000)),
    )
    cut = table.logit([2.0, 7.0], 0.95, band=(1.0, 8.0))
    assert cut[0] == cut[1]
    test = draw(100_000)
    assert (test.logit < cut[0]).mean() == pytest.approx(0.95, abs=0.006)


def test_bilinear_interpolation_is_exact_for_a_plane_and_constant_outside():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 2.0])
    table = 2 * x[:, None] - 3 * y + 1
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 3, 50), rng.uniform(-1, 2, 50)
    assert bilinear(x, y, table, u, v) == pytest.approx(2 * u - 3 * v + 1)
    assert bilinear(x, y, table, np.array([9.0]), np.array([-5.0])) == pytest.approx([10.0])


def test_bins_of_the_rate_are_in_order():
    edges = rate_edges(np.random.default_rng(0).exponential(1, 100))
    assert len(edges) > 2
    assert (np.diff(edges) > 0).all()
    assert len(rate_edges(np.full(10, 0.5))) == 2


def test_event_level_finds_the_odds_of_grades():
    rng = np.random.default_rng(0)
    n = 40_000
    label = rng.integers(0, 2, n)
    energy = np.exp(rng.uniform(np.log(0.3), np.log(10), n))
    double = np.where(label == 1, 0.6, 0.2)
    asca = np.where(rng.random(n) < double, 2, 0)
    epic = np.where(asca == 2, rng.integers(1, 5, n), 0)
    made = fit_event_level(energy, asca, epic, label, np.ones(n))
    for e in (0.5, 2.0, 8.0):
        assert made.probability([e, e], [2, 0])[0] == pytest.approx(0.75, abs=0.03)
        assert made.probability([e, e], [2, 0])[1] == pytest.approx(1 / 3, abs=0.03)
        assert made.probability([e], [3], "epic")[0] == pytest.approx(0.75, abs=0.06)
    again = EventLevel.from_dict(json.loads(json.dumps(made.as_dict())))
    assert again.probability([1.0], [0]) == made.probability([1.0], [0])


def test_unknown_grades_are_refused(detector):
    assert detector.classify_events([1.0, 3.0], [0, 6]).shape == (2,)
    with pytest.raises(ValueError, match="grades 0 to 7"):
        detector.classify_events([1.0], [8])
    with pytest.raises(ValueError, match="asca"):
        detector.classify_events([1.0], [0], "rmf")


def test_classes_of_frames_in_several_sets_are_joined():
    p = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    frame, joined = merge_sets(np.array([0, 2, 2, 5]), p)
    assert frame.tolist() == [0, 2, 5]
    assert joined[[0, 2]].tolist() == p[[0, 3]].tolist()
    no_xray, no_particle = 0.1 * 0.2, 0.8 * 0.2
    xray, particle = 1 - no_xray, 1 - no_particle
    expected = np.array([xray * no_particle, no_xray * particle, xray * particle])
    assert joined[1] == pytest.approx(expected / expected.sum())


def test_a_frame_with_very_many_events_is_classified(detector):
    crowd = toy_exposure(7, 2, rng=np.random.default_rng(0), photons=3000, size=512, tracks=3)
    c = detector.classify(crowd)
    assert np.isfinite(c.p_bkg).all()
    assert np.isfinite(c.p_frame).all()
    assert (c.p_frame[:, 2] > 0.9).all()


def test_injected_xrays_fall_where_they_are_put(detector, fresh):
    from physml.background.inference.injection import make_library, put

    frames, found = fresh
    some = frames.select(frames.index[:400])
    arrays = prepare(some, find_events(some), 24)
    rng = np.random.default_rng(0)
    library = make_library(arrays, 100, np.array([0.3, 1, 3, 12]), rng)
    assert len(library) > 60
    m = members(found, frames, detector.limit)
    chosen = np.array([3, -1, 5])
    size = np.where(chosen >= 0, m.sizes[chosen], 0)
    xy = np.array([[5.0, 6.0], [50.0, 60.0], [0.0, 0.0]])
    xy[2] = m.place[m.start[5], :2]  # on top of a cluster
    made = put(m, chosen, size, library, np.array([0, 1, 2]), xy, np.zeros(3))
    n = np.arange(3)
    assert np.array_equal(made.place[n, made.slot, :2], xy.astype(np.float32))
    assert made.present.sum(1).tolist() == (size + 1).tolist()
    assert not made.free[2]
    assert np.isfinite(detector.injected_logits(made)).all()


def test_what_patches_say_is_worked_out_once(detector, fresh):
    """The patch network knows no stand-off: run once for all of them it gives the same evidence."""

    class Repeated(BackgroundDetector):
        def embedded(self, m, batch=8192):
            return m

    frames, found = fresh
    rate = particle_rate(found, frames)
    likelihoods = []
    for kind in (BackgroundDetector, Repeated):
        one = kind(detector.network, detector.card)
        likelihoods.append(measure(one, [(frames, found, rate)], 300))
    first, second = likelihoods
    np.testing.assert_allclose(first.log_likelihood, second.log_likelihood, atol=1e-6)
    np.testing.assert_allclose(first.xrays.logit, second.xrays.logit, atol=1e-6)
    m = members(found, frames)
    assert detector.embedded(m).patch.ndim == 2
    assert detector.embedded(detector.embedded(m)).patch.ndim == 2
