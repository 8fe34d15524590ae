"""Inputs, sets, weights, augmentation, calibration and training of the background pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure

from physml.background.core.events import find_events, truth
from physml.background.core.frame_class import BOTH, NEITHER, PARTICLE, XRAY, classes
from physml.background.core.frames import TRUE_PIXEL, Frames, concatenate
from physml.background.inference.detector import BackgroundDetector
from physml.background.inference.inputs import FEATURES, group, members, particle_rate, upright
from physml.background.inference.network import EventNet
from physml.background.learning.event_sets import BackgroundLoss, EventSets, balanced, by_size
from physml.background.learning.prepared import cluster_truth, exposures_of, prepare
from physml.background.settings import AugmentSettings, LossSettings, NetworkSettings
from physml.io.shards import PackedArray, write_shard
from physml.stages.preprocess import split_of
from physml.training.initialise import initialise

SMALL = NetworkSettings(width=16, heads=2, blocks=1, pair_width=8, patch_channels=4)
#: No augmentation; tests turn one on.
STILL = AugmentSettings(move=0, rate=0, standoff=0, gain=0, thin=0, drop=0, alone=0)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return toy_exposure(3, 300, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def found(frames):
    return find_events(frames)


@pytest.fixture(scope="module")
def sets(frames, found) -> EventSets:
    return EventSets(prepare(frames, found, 24))


def batch(sets, n, seed=0, augmented=False):
    """Batch of the first sets."""
    return sets.batch(np.arange(n), np.random.default_rng(seed), augmented)


def augmented(sets, **how) -> tuple[EventSets, dict, dict]:
    """Sets with augmentation of one kind; a batch of all without and one with it."""
    varied = EventSets(sets.arrays, augment=STILL.model_copy(update=how))
    return varied, batch(varied, len(varied)), batch(varied, len(varied), augmented=True)


def test_a_share_of_a_batch_is_that_of_the_whole(sets):
    varied = EventSets(sets.arrays)  # with the recipe's augmentation
    indices = np.random.default_rng(1).permutation(len(varied))[:21]
    rng = lambda: np.random.default_rng(8)  # noqa: E731
    whole = varied.batch(indices, rng(), True)
    for name, values in varied.batch(indices, rng(), False).items():
        if name in ("feature", "patch", "place", "present"):
            assert not torch.equal(values, whole[name]), name
    for rank in range(3):
        share = varied.part(indices, rng(), True, slice(rank, None, 3))
        for name, values in whole.items():
            assert torch.equal(values[rank::3], share[name]), name


def test_sets_on_the_disk_are_those_in_memory(sets, tmp_path):
    write_shard(tmp_path / "a.h5", sets.arrays, provenance={})
    near, far = (EventSets.read(tmp_path / "a.h5", in_memory=n) for n in (1 << 30, 0))
    on_disk = {n for n, v in far.arrays.items() if isinstance(v, PackedArray)}
    assert on_disk == {"feature", "patch"}
    indices = np.random.default_rng(1).permutation(len(near))[:17]
    one, other = (x.batch(indices, np.random.default_rng(3), True) for x in (near, far))
    assert all(torch.equal(one[k], other[k]) for k in one)
    far.will_need(indices)


def turned(frames: Frames, symmetry: int) -> Frames:
    """Frames after one of the symmetries of the square."""
    pixels = frames.pixels.copy()
    y, x = pixels["y"].copy(), pixels["x"].copy()
    if symmetry >= 4:
        y, x = x, y
    for _ in range(symmetry % 4):
        y, x = x, frames.shape[0] - 1 - y
    pixels["y"], pixels["x"] = y, x
    order = np.lexsort((pixels["x"], pixels["y"], pixels["frame"]))
    return replace(frames, pixels=pixels[order])


@pytest.mark.parametrize("symmetry", range(8))
def test_upright_patches_do_not_depend_on_orientation(symmetry):
    rng = np.random.default_rng(1)
    patches = rng.exponential(1, (200, 5, 5)).astype(np.float32)
    patches[rng.random(patches.shape) < 0.6] = 0
    other = patches.transpose(0, 2, 1) if symmetry >= 4 else patches
    other = np.rot90(other, symmetry % 4, (1, 2))
    assert np.array_equal(upright(patches), upright(other))
    # A rearrangement of pixels and nothing else.
    values = [np.sort(p.reshape(200, -1)) for p in (upright(patches), patches)]
    assert np.array_equal(*values)


@pytest.mark.parametrize("symmetry", range(1, 8))
def test_network_does_not_care_how_frames_are_turned(frames, symmetry):
    few = frames.select(frames.index[:80])
    detector = BackgroundDetector(initialise(lambda: EventNet(SMALL), 1), {})
    straight, other = detector.classify(few), detector.classify(turned(few, symmetry))
    assert np.allclose(straight.p_frame, other.p_frame, atol=1e-5, equal_nan=True)
    # Events come in another order: compare them by frame and energy.
    keys = [
        np.lexsort((c.found.events["energy"], c.found.events["frame"])) for c in (straight, other)
    ]
    assert np.allclose(straight.p_bkg[keys[0]], other.p_bkg[keys[1]], atol=1e-5)


def test_members_are_the_clusters_with_their_events(frames, found):
    m = members(found, frames)
    # Valid events are described alike all over the detector.
    assert not m.feature[m.event >= 0, FEATURES.index("border")].any()
    assert len(m.feature) == len(found.clusters)
    assert sorted(m.cluster) == list(range(len(found.clusters)))
    assert m.query.all()
    is_event = m.event >= 0
    assert np.array_equal(is_event, found.clusters["valid"][m.cluster])
    assert np.array_equal(found.events["cluster"][m.event[is_event]], m.cluster[is_event])
    energy = 10.0 ** m.feature[:, FEATURES.index("log_energy")]
    assert np.allclose(energy, found.clusters["energy"][m.cluster], rtol=1e-5)
    of_set = np.repeat(m.frame, m.sizes)
    assert np.array_equal(frames.index[of_set], found.clusters["frame"][m.cluster])


def test_crowded_frames_are_cut_into_sets_of_neighbours():
    rng = np.random.default_rng(2)
    n = 5000
    frame = np.sort(np.where(rng.random(n) < 0.98, 7, rng.integers(0, 100, n)))
    x, y = rng.uniform(0, 512, (2, n))
    particle = rng.random(n) < 0.05
    order, query, start, of_frame = group(frame, x, y, particle, 24)
    sizes = np.diff(start)
    assert sizes.max() <= 24
    assert np.array_equal(np.sort(order[query]), np.arange(n))  # each is scored once
    assert np.array_equal(frame[order], np.repeat(of_frame, sizes))
    assert particle[order[~query]].all()
    number = np.repeat(np.arange(len(sizes)), sizes)
    crowded = np.flatnonzero(of_frame == 7)
    assert len(crowded) > 200
    for s in crowded[::50]:
        mine = order[(number == s) & query]
        shown = order[(number == s) & ~query]
        centre = x[mine].mean(), y[mine].mean()
        others = np.setdiff1d(np.flatnonzero(particle & (frame == 7)), mine)
        distance = np.hypot(x[others] - centre[0], y[others] - centre[1])
        assert len(shown) == 12
        assert set(shown) == set(others[np.argsort(distance)[:12]])
        assert np.ptp(x[mine]) < 150


def test_frames_without_anything_make_no_sets(frames):
    empty = replace(frames.select(frames.index[:5]), pixels=frames.pixels[:0])
    m = members(find_events(empty), empty)
    assert len(m) == 0
    assert m.feature.shape == (0, len(FEATURES))


def test_particle_rate_is_that_of_each_exposure():
    rng = np.random.default_rng(0)
    parts = [toy_exposure(k, 2000, rng=rng, tracks=rate) for k, rate in enumerate((0.2, 1.0))]
    frames = concatenate(parts)
    assert particle_rate(find_events(frames), frames) == pytest.approx([0.2, 1.0], rel=0.1)


def test_distances_are_told_in_standard_pixels(frames, found):
    exposures = frames.exposures.copy()
    exposures["pixel_um"] = 65
    fine = members(found, replace(frames, exposures=exposures))
    coarse = members(found, frames)
    assert np.allclose(fine.place[:, :2], 0.5 * coarse.place[:, :2])
    assert np.array_equal(fine.place[:, 2:], coarse.place[:, 2:])


def test_truth_of_clusters_is_that_of_their_events(frames, found):
    label = cluster_truth(found, frames)
    assert np.array_equal(label[found.events["cluster"]], truth(found, frames)["label"])


def test_noise_makes_no_particle_of_a_frame():
    """Noise above the split threshold is nothing; a pixel may belong to no frame."""
    pixels = np.zeros(6, TRUE_PIXEL)
    pixels["photon"] = [2.0, 0, 0, 2.0, 0, 3.0]
    pixels["primary"] = [0, 30.0, 0.06, 0, 30.0, 0]
    pixels["outside"] = [0, 20.0, 0, 0, 20.0, 0]
    place = np.array([0, 1, 2, 3, 3, -1])
    assert classes(place, pixels, 5).tolist() == [XRAY, PARTICLE, NEITHER, BOTH, NEITHER]


def test_exposures_are_taken_apart():
    parts = [toy_exposure(k, 50, rng=np.random.default_rng(k)) for k in (4, 9)]
    apart = dict(exposures_of(concatenate(parts)))
    assert list(apart) == [4, 9]
    for part in parts:
        number = int(part.exposures["exposure"][0])
        assert np.array_equal(apart[number].pixels, part.pixels)
        assert len(apart[number].exposures) == 1


def test_splits_are_what_they_were():
    splits = [split_of(k, 1, 0.2, 0.1) for k in range(2000)]
    assert {k: s for k, s in enumerate(splits[:20]) if s != "train"} == {
        2: "test", 9: "valid", 18: "test", 19: "valid"
    }  # fmt: skip
    assert splits.count("valid") / 2000 == pytest.approx(0.2, abs=0.03)
    assert splits.count("test") / 2000 == pytest.approx(0.1, abs=0.03)


def test_photons_weigh_as_much_as_background_at_each_energy(sets):
    a, w = sets.arrays, sets.event_weight
    for low, high in ((0.4, 1.0), (1.0, 3.0), (3.0, 10.0)):
        inside = (a["energy"] > low) & (a["energy"] < high)
        photon = w[inside & (a["label"] == 0)].sum()
        background = w[inside & (a["label"] == 1)].sum()
        assert photon == pytest.approx(background, rel=0.1)
    assert w.sum() == pytest.approx(len(sets), rel=1e-3)
    assert not w[~a["event"]].any()


def test_neither_energy_nor_exposure_tells_background():
    """A bright source of soft photons, a faint one of hard photons, the same particles."""
    rng = np.random.default_rng(0)
    n = (8000, 1000, 2000, 2000)
    label = np.repeat([0, 0, 1, 1], n)
    exposure = np.repeat([3, 9, 3, 9], n)
    slope = np.repeat([0.2, 0.6, 0.4, 0.4], n)
    energy = 0.3 * np.exp(np.log(40) * rng.random(sum(n)) ** (0.2 / slope))
    weight = np.repeat([1.0, 50.0, 1.0, 1.0], n)
    w = balanced(energy, label, weight, exposure)
    assert set(w[label == 1]) - {0} == {1}
    for number in (3, 9):
        mine = exposure == number
        assert w[mine & (label == 0)].sum() == pytest.approx(w[mine & (label == 1)].sum(), rel=0.01)
    for low, high in ((0.4, 1), (1, 3), (3, 11)):
        inside = (energy > low) & (energy < high)
        ratio = w[inside & (label == 0)].sum() / w[inside & (label == 1)].sum()
        assert ratio == pytest.approx(1, rel=0.03)


def test_what_has_no_counterpart_does_not_count():
    energy = np.array([1.0, 1.0, 2.0, 5.0, 1.0])
    label, exposure = np.array([0, 1, 1, 0, 1]), np.array([1, 1, 1, 1, 2])
    assert balanced(energy, label, np.ones(5), exposure).tolist() == [1, 1, 0, 0, 0]


def test_large_weights_are_clipped(frames, found):
    arrays = prepare(frames, found, 24)
    arrays["weight"] = arrays["weight"].copy()
    photon = np.flatnonzero(arrays["event"] & (arrays["label"] == 0))
    arrays["weight"][photon[0]] = 1e6
    sets = EventSets(arrays, LossSettings(largest_weight=5))
    some = sets.event_weight[sets.event_weight > 0]
    assert some.max() <= 5.01 * some.mean()
    assert sets.event_weight.sum() == pytest.approx(len(sets), rel=1e-3)


def test_augmented_batches_follow_from_their_random_stream(sets):
    plain = batch(sets, 40, 5)
    one, two = (batch(sets, 40, 5, augmented=True) for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["feature"], plain["feature"])
    # The data set itself is never changed.
    again = batch(sets, 40, 5)
    assert all(torch.equal(again[k], plain[k]) for k in plain)
    assert all(len(v) == 40 for v in plain.values())


def test_gain_moves_energies_and_patches_together(sets):
    _, plain, other = augmented(sets, gain=0.1)
    here = plain["present"] & (plain["patch"].sum((2, 3)) > 0)
    shift = (other["feature"] - plain["feature"])[..., FEATURES.index("log_energy")][here]
    factor = (other["patch"].sum((2, 3)) / plain["patch"].sum((2, 3)))[here]
    assert torch.allclose(10**shift, factor, rtol=1e-4)
    assert 0.05 < float(shift.std() * np.log(10)) < 0.2


def test_resampling_changes_no_mean(sets):
    arrays = sets.arrays | {"weight": sets.arrays["weight"].copy()}
    arrays["weight"][arrays["set"] % 5 == 0] = 40
    plain, often = EventSets(arrays), EventSets(arrays, resample=True)
    assert len(often) == pytest.approx(len(plain), rel=0.3)
    one, two = (batch(d, len(d)) for d in (plain, often))
    # What is not resampled by its own weight has more of the noise of rounding.
    for name, noise in (("event_weight", 0.03), ("cluster_weight", 0.3), ("frame_weight", 0.2)):
        means = [float(b[name].sum()) / len(b["id"]) for b in (one, two)]
        assert means[0] == pytest.approx(means[1], rel=noise)
    # Where weights are large they become the same for all.
    spread = [b["event_weight"].sum(1)[b["event_weight"].sum(1) > 0] for b in (one, two)]
    assert spread[1].std() < 0.5 * spread[0].std()


def test_xrays_move_and_nothing_else(sets):
    _, plain, other = augmented(sets, move=1)
    moved = (plain["place"] != other["place"]).any(2)
    xray = plain["present"] & (plain["label"] == 0) & (plain["feature"][..., 0] > 0)
    assert not (moved & ~xray).any()
    assert moved.sum() > 0.8 * xray.sum()
    assert torch.equal(plain["place"][..., 2:], other["place"][..., 2:])
    assert torch.equal(plain["feature"], other["feature"])
    # Never onto a track: its middle stays far from every event.
    track = plain["present"] & (plain["feature"][..., FEATURES.index("particle")] > 0)
    distance = torch.cdist(other["place"][..., :2], other["place"][..., :2])
    pairs = moved[:, :, None] & track[:, None, :]
    assert float(distance[pairs].min()) > 2


def test_thinning_spares_events_and_particles(sets):
    arrays = sets.arrays | {"feature": sets.arrays["feature"].copy()}
    arrays["feature"][::3, FEATURES.index("event")] = 0
    some = EventSets(arrays)
    _, plain, other = augmented(some, thin=1, threshold=(14.0, 15.0), drop=0.5)
    kind = plain["feature"][..., [FEATURES.index("event"), FEATURES.index("particle")]].amax(2) > 0
    assert torch.equal(other["present"] & kind, plain["present"] & kind)
    faint = plain["present"] & ~kind
    assert faint.sum() > 10
    assert not (other["present"] & faint).any()


def test_lonely_events_count_for_those_that_were_hidden(sets):
    lonely, plain, _ = augmented(sets, alone=1)
    batches = [batch(lonely, len(lonely), k, augmented=True) for k in range(20)]
    for b in batches:
        assert int(b["present"].sum(1).max()) == 1
        assert bool((b["feature"][..., FEATURES.index("blind")] == 1).all())
        assert not b["cluster_weight"].any()
        assert not b["frame_weight"].any()
    mean = np.mean([float(b["event_weight"].sum()) for b in batches])
    assert mean == pytest.approx(float(plain["event_weight"].sum()), rel=0.05)


def test_sets_are_shared_out_by_size():
    present = torch.zeros(10, 8, dtype=torch.bool)
    sizes = [1, 1, 2, 8, 3, 1, 2, 1, 5, 0]
    for row, size in enumerate(sizes):
        present[row, :size] = True
    parts = by_size(present)
    rows = torch.cat([rows for rows, _ in parts])
    assert sorted(rows.tolist()) == list(range(10))
    for rows, size in parts:
        assert not present[rows][:, size:].any()
    assert parts[0][1] < parts[-1][1] == 8


def test_loss_does_not_depend_on_how_sets_are_shared_out(sets, monkeypatch):

    network = initialise(lambda: EventNet(SMALL), 3).eval()  # without dropout
    loss = BackgroundLoss(LossSettings())
    parts = {k: float(v.detach()) for k, v in loss(network, batch(sets, 60)).items()}
    monkeypatch.setattr(by_size, "__defaults__", (1,))
    whole = {k: float(v.detach()) for k, v in loss(network, batch(sets, 60)).items()}
    assert parts == pytest.approx(whole, rel=1e-4)


def test_loss_of_the_truth_is_small(sets):
    given = batch(sets, 100)
    # Sets are told apart by their first member.
    rows = {tuple(f.tolist()): i for i, f in enumerate(given["feature"][:, 0])}

    def oracle(patch, feature, place, present):
        found = torch.tensor([rows[tuple(f.tolist())] for f in feature[:, 0]])
        label = given["label"][found][:, : present.shape[1]]
        frame = torch.nn.functional.one_hot(given["frame_class"][found], 3).float()
        return 16 * label - 8, 16 * frame

    good = BackgroundLoss(LossSettings())(oracle, given)
    assert all(float(v) < 0.01 for v in good.values())
    network = initialise(lambda: EventNet(SMALL), 3)
    bad = BackgroundLoss(LossSettings())(network, given)
    assert float(bad["loss"].detach()) > 0.3
    bad["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
