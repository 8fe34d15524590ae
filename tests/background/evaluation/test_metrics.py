"""Numbers of the evaluation on events whose answer is known, and the worth of a cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from fakes.background import toy_exposure
from fakes.background_events import frames_of, with_truth

from physml.background.core.events import find_events
from physml.background.core.frames import concatenate
from physml.background.evaluation import metrics
from physml.background.evaluation.context_ablation import event_rows, exchange_frames, isolated
from physml.background.evaluation.exposure_saved import (
    Region,
    Telescope,
    cosmic_background,
    exposure_time,
    faintest_source,
    time_saved,
    worked_example,
)
from physml.background.evaluation.features import context_features, local_features
from physml.background.evaluation.metrics import BANDS, Events, Resampling


def events_of(energy, background, *, weight=1.0, frame=None, x=100.0, y=100.0) -> Events:
    energy = np.asarray(energy, float)
    m = len(energy)
    return Events(
        energy=energy,
        background=np.asarray(background, bool),
        weight=np.broadcast_to(np.asarray(weight, float), m).copy(),
        frame=np.arange(m) if frame is None else np.asarray(frame),
        x=np.broadcast_to(np.asarray(x, float), m).copy(),
        y=np.broadcast_to(np.asarray(y, float), m).copy(),
        origin=np.where(background, 1, 3),
        row=np.arange(m),
    )


def resampling_of(events, replicas=300):
    return Resampling(events.frame, replicas, np.random.default_rng(0))


def test_valid_events_know_what_they_are_and_what_they_stand_for():
    images = np.zeros((2, 9, 9), np.float32)
    images[0, 4, 4] = 2.0  # a photon
    images[1, 4, 4] = 3.0  # an electron born outside
    images[1, 4, 6] = 40.0  # a particle: no valid event
    photon, outside = images.copy(), images.copy()
    photon[1], outside[0] = 0, 0
    frames = with_truth(frames_of(images), photon=photon, outside=outside)
    frames.weight[:] = [20, 1]
    events = metrics.valid_events(find_events(frames), frames)
    assert events.background.tolist() == [False, True]
    assert events.weight.tolist() == [20, 1]
    assert events.origin.tolist() == [3, 1]
    assert np.allclose(events.energy, [2, 3])
    assert len(events[events.background]) == 1


def test_the_interval_of_a_share_is_the_binomial_one():
    rng = np.random.default_rng(1)
    n, p = 4000, 0.3
    hit = (rng.random(n) < p).astype(float)
    summary = metrics.summarise(Resampling(np.arange(n), 2000, rng).ratio(hit, np.ones(n)))
    assert summary["value"] == pytest.approx(hit.mean())
    half = (summary["high"] - summary["low"]) / 2
    assert half == pytest.approx(1.96 * np.sqrt(p * (1 - p) / n), rel=0.1)


def test_events_of_one_frame_are_drawn_together():
    """Ten copies of each event in its frame must not make the interval narrower."""
    rng = np.random.default_rng(2)
    hit = (rng.random(500) < 0.4).astype(float)
    widths = []
    for copies in (1, 10):
        frame = np.repeat(np.arange(500), copies)
        drawn = Resampling(frame, 1000, np.random.default_rng(3))
        found = metrics.summarise(drawn.ratio(np.repeat(hit, copies), np.ones(len(frame))))
        widths.append(found["high"] - found["low"])
    assert widths[0] == pytest.approx(widths[1], rel=1e-3)


def test_a_share_of_nothing_is_none():
    events = events_of([1.0, 2.0], [False, False])
    found = metrics.at_threshold(events, np.array([True, False]), resampling_of(events))
    assert found["0.3-10"]["removed"] == {"value": None, "low": None, "high": None}


def test_a_fixed_cut_counts_matched_weights():
    """Photons at 1 keV are lost, those at 5 keV stay: the background's energies count."""
    energy = np.concatenate([np.full(90, 1.0), np.full(10, 5.0), np.full(1, 1.0), np.full(3, 5.0)])
    background = np.arange(104) >= 100
    events = events_of(energy, background)
    rejected = (energy < 2) & ~background
    rejected[101] = True  # one of three background events at 5 keV
    found = metrics.at_threshold(events, rejected, resampling_of(events))
    assert found["0.3-10"]["retention"]["value"] == pytest.approx(3 / 4)
    assert found["0.3-10"]["removed"]["value"] == pytest.approx(1 / 4)
    assert found["2-7"]["retention"]["value"] == 1
    assert found["2-7"]["removed"]["value"] == pytest.approx(1 / 3)
    assert found["0.3-2"]["retention"]["value"] == 0


def test_removed_at_a_retention_is_that_of_two_normal_distributions():
    from scipy.stats import norm

    rng = np.random.default_rng(4)
    background = np.arange(40_000) >= 20_000
    score = rng.normal(2.0 * background)
    events = events_of(np.exp(rng.uniform(np.log(0.3), np.log(10), 40_000)), background)
    found = metrics.at_retention(events, score, (0.98, 0.9), replicas=100, seed=0)
    assert set(found) == set(BANDS)
    for r in (0.98, 0.9):
        summary = found["0.3-10"][f"{r:g}"]
        assert summary["value"] == pytest.approx(norm.sf(norm.ppf(r) - 2), abs=0.02)
        assert summary["low"] < summary["value"] < summary["high"]


def test_the_difference_of_two_scores_is_paired():
    rng = np.random.default_rng(5)
    background = np.arange(6000) >= 3000
    good, noise = rng.normal(2.0 * background), rng.normal(size=6000)
    events = events_of(np.exp(rng.uniform(-1, 2, 6000)), background)

    def difference(one, other):
        resampling = resampling_of(events)
        return metrics.removed_difference(events, one, other, 0.95, "0.3-10", resampling)

    assert difference(good, good) == {"value": 0, "low": 0, "high": 0}
    gain = difference(good, noise)
    assert gain["low"] > 0.4
    assert difference(noise, good)["value"] == pytest.approx(-gain["value"])


def test_rates_are_per_area_time_and_energy():
    events = events_of(np.full(200, 3.0), np.arange(200) < 100, weight=2.0)
    rejected = {0.98: np.arange(200) < 50}
    found = metrics.rates(events, rejected, 10.0, 4.0, resampling_of(events))
    assert found["2-7"]["graded"]["value"] == pytest.approx(200 / (10 * 4 * 5))
    assert found["2-7"]["0.98"]["value"] == pytest.approx(100 / (10 * 4 * 5))
    assert found["7-10"]["graded"]["value"] == 0


@pytest.mark.parametrize("shift", [0.0, 0.15])
def test_calibration_error_is_the_shift(shift):
    rng = np.random.default_rng(6)
    p = rng.uniform(0.2, 0.8, 60_000)
    events = events_of(np.full(len(p), 3.0), rng.random(len(p)) < p)
    found = metrics.calibration(events, p + shift, np.ones(len(p)), resampling_of(events, 50))
    assert found["error"]["value"] == pytest.approx(shift, abs=0.008)
    assert sum(found["count"]) == len(p)


def test_calibration_uses_the_weights():
    """Half of the events at p = 0.5 are background only if they count as given."""
    background = np.arange(300) < 100
    events = events_of(np.full(300, 3.0), background)
    for weight, error in ((np.where(background, 2.0, 1.0), 0), (np.ones(300), 1 / 6)):
        found = metrics.calibration(events, np.full(300, 0.5), weight, resampling_of(events, 50))
        assert found["error"]["value"] == pytest.approx(error, abs=1e-6)


def test_losses_in_bins_of_energy():
    energy = np.repeat([0.4, 4.0], 100)
    events = events_of(energy, np.zeros(200, bool))
    rejected = (np.arange(200) % 10 == 0) & (energy > 1)
    edges = metrics.ENERGY_EDGES
    bins = metrics.kept_in_bins(events, rejected, energy, edges, resampling_of(events))
    kept = {b["low"]: b["retention"]["value"] for b in bins}
    assert kept[0.3] == 1
    assert kept[3.0] == pytest.approx(0.9)
    assert kept[7.0] is None


def test_an_even_loss_is_called_even_and_a_slope_is_not():
    rng = np.random.default_rng(7)
    n = 60_000
    x, y = rng.uniform(0, 511, (2, n))
    events = events_of(np.full(n, 3.0), np.zeros(n, bool), x=x, y=y)
    even = metrics.kept_map(events, rng.random(n) < 0.05, (512, 512))
    assert even["cells"] == 64
    assert even["p_value"] > 1e-3
    assert even["scatter"] < 0.004
    slope = metrics.kept_map(events, rng.random(n) < 0.1 * x / 511, (512, 512))
    assert slope["p_value"] < 1e-6
    # The standard deviation of 0.1 x over cells is 0.1 / sqrt(12).
    assert slope["scatter"] == pytest.approx(0.1 / np.sqrt(12), rel=0.15)
    columns = np.mean(slope["retention"], axis=0)
    assert columns[0] > columns[-1] + 0.06


def test_distance_from_the_border():
    events = events_of([1.0, 1.0], [False, False], x=[3.0, 60.0], y=[50.0, 90.0])
    assert metrics.border_distance(events, (100, 100)).tolist() == [3, 9]


def test_frames_with_a_particle_are_counted_by_weight():
    frame_class = np.array([0, 0, 1, 1, 2, 3])
    weight = np.array([10.0, 10, 1, 1, 2, 50])
    graded = np.array([False, False, True, False, True, True])
    p = np.array(
        [[0.9, 0.1, 0], [0.3, 0.7, 0], [0.1, 0.9, 0], [0.2, 0.8, 0], [0.6, 0, 0.4], [0, 1, 0]]
    )
    found = metrics.frame_metrics(frame_class, weight, graded, p, kept=0.5, replicas=50, seed=0)
    assert found["frames"] == 5
    assert found["with_particle"] == 3
    assert found["grading"]["found"]["value"] == pytest.approx(3 / 4)
    assert found["grading"]["missed_found"]["value"] == 0
    assert found["most_probable"]["found"]["value"] == pytest.approx(2 / 4)
    assert found["most_probable"]["missed_found"]["value"] == 1
    assert found["most_probable"]["false"]["value"] == pytest.approx(0.5)
    # At a loss of half the X-ray frames the cut may go down to the lowest of the particles.
    assert found["at_loss"]["found"]["value"] == 1
    assert found["at_loss"]["false"]["value"] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(8)
    exposures = [
        toy_exposure(k, 500, rng=rng, tracks=tracks, reach=6.0)
        for k, tracks in enumerate((0.5, 3.0))
    ]
    frames = concatenate(exposures)
    frames.weight[::2] = 4.0
    found = find_events(frames)
    events = metrics.valid_events(found, frames)
    events = events[isolated(found, events)]
    moved, of = exchange_frames(frames, found, events, np.random.default_rng(9))
    again = find_events(moved)
    return frames, found, events, moved, of, again


def test_moved_events_stay_what_they_are(toy):
    frames, found, events, moved, of, again = toy
    row = event_rows(moved, again, events[of], found)
    assert (row >= 0).all()
    before = events.row[of]
    assert np.array_equal(again.patches[row], found.patches[before])
    assert np.array_equal(local_features(again)[row], local_features(found)[before])
    assert np.array_equal(moved.weight, events.weight[of].astype(np.float32))
    # Each stays in its exposure.
    before = frames.frame_exposure[frames.position(events.frame[of])]
    assert np.array_equal(moved.exposures["exposure"][moved.frame_exposure], before)


def test_a_strangers_context_says_nothing(toy):
    """Electrons lie near their track, photons do not; afterwards both lie alike."""
    frames, found, events, moved, of, again = toy
    row = event_rows(moved, again, events[of], found)
    # Of one exposure, and where tracks are: the toy has none near the border.
    use = frames.frame_exposure[frames.position(events.frame)] == 1
    use &= metrics.border_distance(events, frames.shape) > 25

    def near(table, sparse, rows, order):
        with np.errstate(invalid="ignore"):
            close = context_features(table, sparse)[rows, 0] < 15
        kind, here = events.background[order], use[order]
        return close[kind & here].mean(), close[~kind & here].mean()

    before = near(found, frames, events.row, slice(None))
    assert before[0] > before[1] + 0.3
    after = near(again, moved, row, of)
    assert after[0] == pytest.approx(after[1], abs=0.05)


def test_contexts_come_by_weight(toy):
    """Half of the frames count four times as much and are drawn four times as often."""
    frames, _, events, moved, of, _ = toy
    first = frames.frame_exposure[frames.position(events.frame[of])] == 1

    def brightest(table, k):
        rows = table.pixels[table.starts[k] : table.starts[k + 1]]
        return rows[["y", "x", "energy"]][rows["energy"].argmax()].item() if len(rows) else None

    # Crowded frames hold 3 tracks, so nearly each can be recognised by its brightest pixel.
    known = {brightest(frames, k): frames.weight[k] for k in range(len(frames))}
    drawn = [known.get(brightest(moved, k)) for k in np.flatnonzero(first)]
    heavy = [weight == 4 for weight in drawn if weight is not None]
    assert len(heavy) > 300
    assert np.mean(heavy) == pytest.approx(0.8, abs=0.06)


def test_time_and_faintest_source_are_inverse():
    region = Region(source=0.01, sky=0.03, particles=0.1, background_area=3.0, systematic=0.01)
    for cut in ({}, {"retention": 0.98, "removed": 0.5}):
        t = exposure_time(region, 5, **cut)
        assert faintest_source(region, 5, t, **cut) == pytest.approx(region.source, rel=1e-9)


def test_a_faint_source_on_particles_alone_needs_the_time_of_the_closed_form():
    region = Region(source=1e-6, sky=0.0, particles=1.0)
    saved = time_saved(region, 5, retention=0.98, removed=0.4)
    assert 1 - saved == pytest.approx(0.6 / 0.98**2, rel=1e-4)


def test_significance_is_that_of_simulated_counts():
    """Poisson counts of source and background regions, cut, reach the promised significance."""
    region = Region(source=0.02, sky=0.03, particles=0.2, background_area=4.0)
    q, kept, gone = 5.0, 0.95, 0.5
    t = exposure_time(region, q, retention=kept, removed=gone)
    rng = np.random.default_rng(10)
    b = (kept * region.sky + (1 - gone) * region.particles) * t
    n = rng.poisson(kept * region.source * t + b, 40_000)
    off = rng.poisson(4 * b, 40_000) / 4
    assert (n - off).mean() / (n - off).std() == pytest.approx(q, rel=0.02)


def test_a_systematic_error_hides_faint_sources_for_good():
    region = Region(source=0.005, sky=0.0, particles=1.0, systematic=0.002)
    assert exposure_time(region, 5) == np.inf
    assert np.isfinite(exposure_time(region, 5, retention=0.98, removed=0.8))
    assert time_saved(region, 5, retention=0.98, removed=0.8) == 1
    hidden = Region(source=0.0001, sky=0.0, particles=1.0, systematic=0.002)
    assert np.isnan(time_saved(hidden, 5, retention=0.98, removed=0.5))


def test_a_cut_that_only_costs_photons_costs_time():
    region = Region(source=0.01, sky=0.05, particles=0.1)
    assert time_saved(region, 5, retention=0.9, removed=0.0) < 0
    assert time_saved(region, 5, retention=1.0, removed=0.0) == 0


@pytest.mark.parametrize("cut", [{"retention": 0}, {"retention": 1.2}, {"removed": -0.1}])
def test_shares_that_are_none_are_refused(cut):
    with pytest.raises(ValueError, match="expected a retention"):
        exposure_time(Region(1, 1, 1), 5, **cut)


def test_the_cosmic_background_has_its_known_flux():
    """Hickox & Markevitch (2006): (1.7 +- 0.2)e-11 erg /cm2/s/deg2 in 2-8 keV."""
    edges = np.linspace(2, 8, 2001)
    photons = [cosmic_background((a, b)) for a, b in pairwise(edges)]
    flux = np.sum(np.array(photons) * (edges[:-1] + edges[1:]) / 2) * 1.602e-9
    assert flux * (np.pi / 180) ** 2 == pytest.approx(1.7e-11, rel=0.12)
    assert Telescope().cm2_per_arcmin2 == pytest.approx(0.3491**2, rel=1e-3)


def test_the_worked_example_saves_more_at_a_better_cut():
    found = worked_example(0.02, {0.98: (0.5, 0.45, 0.55), 0.99: (0.35, 0.3, np.nan)})
    by = {row["retention"]: row for row in found["rows"]}
    assert by[0.98]["saved"]["low"] < by[0.98]["saved"]["value"] < by[0.98]["saved"]["high"]
    assert by[0.99]["saved"]["value"] < by[0.98]["saved"]["value"]
    assert by[0.99]["saved"]["high"] is None
    assert by[0.98]["seconds"] == pytest.approx(found["seconds"] * (1 - by[0.98]["saved"]["value"]))
    # What no exposure time mends, the cut does.
    assert by[0.98]["faintest_systematic"] < by[0.98]["faintest"] < 1
