"""Inputs, targets, symmetries and the assembly of detections."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from astropy.table import Table

from physml.cavities.core.ellipse import draw_labels, row_mask
from physml.cavities.inference import crops as cr
from physml.cavities.inference.channels import CHANNELS, channels
from physml.cavities.inference.detector import COLUMNS, CavityDetector
from physml.cavities.inference.networks import DECODED, CavityNet, DecoderNet
from physml.cavities.inference.proposals import pad, suppress, turn_decoded
from physml.cavities.learning.augmentation import (
    TABLE,
    columns,
    dihedral,
    dihedral_table,
    flat_field,
    thinned,
)
from physml.cavities.learning.calibrate import platt
from physml.cavities.learning.image_sets import CavityImages
from physml.cavities.learning.losses import CavityLoss, targets
from physml.cavities.settings import LossSettings, NetworkSettings, SimulateSettings
from physml.cavities.simulator.batch import simulate_batch
from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.training.initialise import initialise

SMALL = NetworkSettings(widths=(8, 8, 16), decoder_widths=(8, 8))


@pytest.fixture(scope="module")
def batch():
    settings = SimulateSettings.model_validate({"cavities": {"none": 0.0}})
    return simulate_batch(settings, 21, range(12))


@pytest.fixture(scope="module")
def images(batch):
    from physml.cavities.learning.prepared import prepare_batch

    arrays = prepare_batch(batch, 21)
    extra = {k: getattr(batch, k) for k in ("mask", "cavities", "index", "cluster")}
    return CavityImages(arrays | extra, rethin=0.5, flatten=0.5)


@pytest.fixture(scope="module")
def detector():
    network = initialise(lambda: CavityNet(SMALL), 1)
    decoder = initialise(lambda: DecoderNet(SMALL), 2)
    return CavityDetector(network, decoder, {"network": SMALL.model_dump(mode="json")})


def test_residual_channels_are_significances():
    rng = np.random.default_rng(0)
    model = torch.full((4, 96, 96), 6.0)
    counts = torch.from_numpy(rng.poisson(6.0, (4, 96, 96)).astype(np.float32))
    x = channels(counts, model, torch.ones_like(model), torch.zeros_like(model, dtype=torch.bool))
    assert x.shape == (4, len(CHANNELS), 96, 96)
    for name in ("residual", "residual_5", "residual_13"):
        got = 2 * x[:, CHANNELS.index(name)]
        assert float(got.std()) == pytest.approx(1.0, abs=0.12)


def test_box_sums_are_those_of_a_convolution():
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(rng.poisson(2.0, (2, 64, 80)).astype(np.float32))
    model = torch.from_numpy(rng.uniform(1, 3, (2, 64, 80)).astype(np.float32))
    x = channels(counts, model, torch.ones_like(model), torch.zeros_like(model, dtype=torch.bool))
    for side in (5, 13):
        ones = torch.ones(1, 1, side, side)
        box = lambda t, o=ones: torch.conv2d(t[:, None], o, padding=o.shape[-1] // 2)[:, 0]  # noqa: E731
        truth = box(counts - model) / (box(model) + 0.05).sqrt() / 2
        got = x[:, CHANNELS.index(f"residual_{side}")]
        assert torch.allclose(got, truth.clamp(-8, 8), atol=1e-4)


def test_invalid_pixels_tell_nothing():
    counts, model = torch.full((1, 64, 64), 5.0), torch.full((1, 64, 64), 3.0)
    invalid = torch.zeros(1, 64, 64, dtype=torch.bool)
    invalid[:, 20:40, 20:40] = True
    seen = channels(counts, model, torch.ones_like(model), invalid)
    other = torch.where(invalid, torch.full_like(counts, 900.0), counts)
    assert torch.equal(seen, channels(other, model, torch.ones_like(model), invalid))


@pytest.mark.parametrize("symmetry", range(8))
def test_table_and_pixels_turn_alike(batch, symmetry):
    turns = torch.full((len(batch.mask),), symmetry)
    turned_masks = dihedral(torch.from_numpy(batch.mask), turns).numpy()
    moved_tables = dihedral_table(torch.from_numpy(columns(batch.cavities)), turns, 128).numpy()
    checked = 0
    for image, table, turned, moved in zip(
        batch.mask, batch.cavities, turned_masks, moved_tables, strict=True
    ):
        assert np.array_equal(turned, np.rot90(image.T if symmetry > 3 else image, symmetry % 4))
        inside = table["visible"] & (table["a"] < 14) & (table["a"] > 4)
        inside &= (np.abs(table["x"] - 63.5) < 45) & (np.abs(table["y"] - 63.5) < 45)
        for k in np.flatnonzero(inside):
            t = dict(zip(TABLE, moved[k].tolist(), strict=True))
            row = {"semi_major": t["a"] + 2, "semi_minor": t["b"] + 2, "theta": t["theta"]}
            here = row_mask(row | {"x": t["x"], "y": t["y"]}, image.shape)
            mine = turned == k + 1
            assert (mine & ~here).sum() <= 0.02 * mine.sum()
            checked += 1
    assert checked >= 5


def test_crops_turn_as_images_do():
    x = torch.randn(2, 3, 9, 9)
    for s in range(8):
        assert torch.equal(cr.turn(cr.turn(x, s), cr.inverse(s)), x)
        assert torch.equal(cr.turn(x, s)[:, 0], dihedral(x[:, 0], torch.full((2,), s)))
        out = torch.randn(4, len(DECODED))
        back = turn_decoded(turn_decoded(out, s), cr.inverse(s))
        assert torch.allclose(back, out)


def test_a_crop_is_centred_on_its_candidate_and_marks_the_outside():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    maps = torch.stack([x, y, *[torch.zeros(64, 64)] * 5])[None]
    where = torch.tensor([0, 0])
    px, py = torch.tensor([30.0, 2.0]), torch.tensor([20.0, 33.0])
    crop = cr.cut(maps, where, px, py, torch.tensor([5.0, 5.0]), 40)
    assert float(crop[0, 0].mean()) == pytest.approx(30.0, abs=1e-3)
    assert float(crop[0, 1].mean()) == pytest.approx(20.0, abs=1e-3)
    step = crop[0, 0, 0, 1] - crop[0, 0, 0, 0]
    assert float(step) == pytest.approx(2 * cr.REACH * 5 / 40, rel=1e-3)
    assert not crop[0, -1].any()
    assert crop[1, -1, :, 0].all()
    assert not crop[1, -1, :, -1].any()


def test_targets_mark_centres_and_sizes(batch):
    made = targets(torch.from_numpy(batch.mask), torch.from_numpy(columns(batch.cavities)))
    table = batch.cavities
    for row, slot in zip(*np.nonzero(table["visible"]), strict=True):
        t = table[row, slot]
        ix, iy = round(float(t["x"])), round(float(t["y"]))
        if 0 <= ix < 128 and 0 <= iy < 128:
            assert float(made["centre"][row, iy, ix]) > 0.8
        here = batch.mask[row, ::2, ::2] == slot + 1
        if here.any():
            got = made["sizes"][row, :2][:, torch.from_numpy(here)].mean(1)
            assert np.exp(got.numpy()) * 10 == pytest.approx([t["a"], t["b"]], rel=1e-4)
    assert torch.equal(made["cavity"] > 0, torch.from_numpy(batch.mask > 0))


def test_augmented_batches_follow_from_their_random_stream(images):
    rng = lambda: np.random.default_rng(5)  # noqa: E731
    one, two = (images.batch(np.arange(6), rng(), True) for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    plain = images.batch(np.arange(6), rng(), False)
    assert not torch.equal(one["image"], plain["image"])
    # The data set itself is never changed.
    again = images.batch(np.arange(6), rng(), False)
    assert all(torch.equal(again[k], plain[k]) for k in plain)


def test_flat_field_divides_by_the_exposure():
    counts, model = torch.full((2, 8, 8), 4.0), torch.full((2, 8, 8), 2.0)
    exposure = torch.full((2, 8, 8), 0.5)
    exposure[:, 0] = 0.1
    invalid = torch.zeros((2, 8, 8), dtype=torch.bool)
    made = flat_field(counts, model, exposure, invalid, torch.tensor([True, False]))
    for before, after in zip((counts, model, exposure, invalid), made, strict=True):
        assert torch.equal(before[1], after[1])
    counts, model, exposure, invalid = (field[0] for field in made)
    assert invalid[0].all()
    assert not invalid[1:].any()
    assert (counts[1:] == 8).all()
    assert (model[1:] == 4).all()
    assert (exposure == 1).all()


def test_thinned_counts_are_binomial():
    rng = np.random.default_rng(3)
    counts = rng.choice([0, 1, 7, 3000], (200, 200)).astype(np.uint16)
    made = thinned(counts, 0.3, rng)
    assert made.dtype == counts.dtype
    assert (made <= counts).all()
    for n in (1, 7, 3000):
        here = made[counts == n].astype(float)
        error = np.sqrt(0.21 * n / len(here))
        assert here.mean() == pytest.approx(0.3 * n, abs=4 * error)
        assert here.var() == pytest.approx(0.21 * n, rel=0.1)


def test_a_share_of_a_batch_is_that_of_the_whole(images):
    indices = np.array([7, 0, 3, 11, 3, 9])
    rng = lambda: np.random.default_rng(8)  # noqa: E731
    whole = images.batch(indices, rng(), True)
    assert not torch.equal(whole["image"], images.batch(indices, rng(), False)["image"])
    for rank in range(3):
        share = images.finish(images.part(indices, rng(), True, slice(rank, None, 3)))
        for name, values in whole.items():
            assert torch.equal(values[rank::3], share[name]), name


def test_images_from_the_disk_are_those_in_memory(images, tmp_path):
    from physml.io.shards import write_shard

    arrays = dict(images.arrays)
    tables = {"cavities": arrays.pop("cavities")}
    write_shard(tmp_path / "a.h5", arrays, tables=tables, provenance={})
    near, far = (CavityImages.read(tmp_path / "a.h5", in_memory=n) for n in (1 << 30, 0))
    assert (near.streams, far.streams) == (False, True)
    keep = np.arange(len(near)) % 3 > 0
    for one, other in ((near, far), (near.view(keep), pickle.loads(pickle.dumps(far.view(keep))))):
        one.rethin = other.rethin = one.flatten = other.flatten = 0.5
        indices = np.array([5, 1, 1, 7])
        a, b = (x.batch(indices, np.random.default_rng(1), True) for x in (one, other))
        assert all(torch.equal(a[k], b[k]) for k in a)
    some = far.view(keep).first(3)
    assert not some.streams
    assert np.array_equal(some.arrays["index"], near.arrays["index"][keep][:3])
    assert np.array_equal(some.arrays["counts"], near.arrays["counts"][keep][:3])


def test_candidates_from_the_disk_are_those_in_memory(detector, images, tmp_path, monkeypatch):
    from physml.cavities.learning.crop_sets import collect
    from physml.training import data

    detector.card["network"] = SMALL.model_dump(mode="json")
    near = collect(detector, images, tmp_path / "maps")
    assert not near.streams
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    far = collect(detector, images, tmp_path / "maps")
    assert far.streams
    assert len(near) == len(far) > 10
    indices = np.random.default_rng(0).permutation(len(near))[:10]
    rng = lambda: np.random.default_rng(2)  # noqa: E731
    whole, other = (c.batch(indices, rng(), True) for c in (near, pickle.loads(pickle.dumps(far))))
    assert all(torch.equal(whole[k], other[k]) for k in whole)
    share = far.part(indices, rng(), True, slice(1, None, 2))
    assert all(torch.equal(whole[k][1::2], share[k]) for k in whole)
    far.remove()
    assert not list(tmp_path.iterdir())


def test_loss_is_small_for_the_truth_and_has_gradients(images):
    made = images.batch(np.arange(8), np.random.default_rng(0), False)

    class Oracle(torch.nn.Module):
        def forward(self, x):
            cavity = 16 * made["cavity"] - 8
            centre = torch.logit(made["centre"].clamp(1e-4, 1 - 1e-4))
            sizes = torch.cat([made["sizes"], torch.full_like(made["sizes"][:, :2], -6.0)], 1)
            return torch.stack([cavity, centre], 1), sizes

    loss = CavityLoss(LossSettings())
    good = loss(Oracle(), made)
    network = initialise(lambda: CavityNet(SMALL), 3)
    bad = loss(network, made)
    assert float(good["bce"]) < 0.01
    assert float(good["dice"]) < 0.02
    assert float(good["loss"]) < float(bad["loss"].detach())
    bad["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_maps_do_not_care_about_the_orientation_of_the_image(detector, images):
    """Averaged over the symmetries of the square, the maps turn with the image exactly."""
    detector.precision = None
    x = images.batch(np.arange(2), np.random.default_rng(0), False)["image"]
    with torch.no_grad():
        straight = detector.average_maps(x)
        turned = detector.average_maps(cr.turn(x, 5))
    assert torch.allclose(cr.turn(straight.cavity, 5), turned.cavity, atol=1e-5)
    assert torch.allclose(cr.turn(straight.sizes[:, :2], 5), turned.sizes[:, :2], atol=1e-4)


def test_detection_of_an_untrained_network_is_well_formed(detector, batch):
    counts = batch.counts[:2, :, :100].astype(float)
    counts[0, 50, 50] = -3  # background-subtracted images have negative pixels
    found = detector.detect(counts, batch.exposure[:2, :, :100])
    for d in found:
        assert d.probability.shape == d.labels.shape == (128, 100)
        assert np.isfinite(d.probability).all()
        assert d.table.colnames == COLUMNS
        assert d.labels.max() <= len(d.table)
        assert list(d.table["probability"]) == sorted(d.table["probability"], reverse=True)


def test_too_small_an_image_is_refused(detector):
    with pytest.raises(ValueError, match="64"):
        detector.detect(np.ones((1, 40, 128)))


def test_padding_is_marked_invalid_and_undone():
    image = pad(torch.rand(1, 7, 100, 90), 16)
    assert image.shape[-2:] == (112, 96)
    assert bool((image[:, -1, 100:] == 1).all())


def test_the_more_probable_of_two_that_overlap_stays():
    rows = [(40.0, 40.0, 0.9), (41.0, 40.5, 0.5), (80.0, 40.0, 0.3)]
    table = Table(
        {
            "x": [r[0] for r in rows],
            "y": [r[1] for r in rows],
            "semi_major": [10.0] * 3,
            "semi_minor": [8.0] * 3,
            "radius": [9.0] * 3,
            "theta": [0.3] * 3,
            "probability": [r[2] for r in rows],
        }
    )
    kept = suppress(table, (128, 128))
    assert list(kept["probability"]) == [0.9, 0.3]
    labels = draw_labels(kept, (128, 128))
    assert (labels == 1).sum() == pytest.approx(np.pi * 80, rel=0.05)


def test_platt_scaling_finds_the_true_slope():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 20_000)
    true = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logit - 0.7)))
    assert platt(logit, true) == pytest.approx((0.5, -0.7), abs=0.05)
    assert platt(logit, np.ones(20_000, bool)) == (1.0, 0.0)


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_weights(path, {"a": torch.zeros(2)}, {"pipeline": "background"})
    with pytest.raises(InputError, match="cavities"):
        CavityDetector.load(path)
    card = {"pipeline": "cavities", "network": SMALL.model_dump(mode="json")}
    path = tmp_path / "broken.safetensors"
    save_weights(path, {"unet.a": torch.zeros(2)}, card)
    with pytest.raises(InputError, match=str(path)):
        CavityDetector.load(path)


def test_candidates_belong_to_the_cavity_they_sit_on(batch):
    from physml.cavities.inference.proposals import Candidates
    from physml.cavities.learning.crop_sets import assign

    table = batch.cavities
    row, slot = (int(v[0]) for v in np.nonzero(table["visible"]))
    t = table[row, slot]
    x, y, r = (torch.tensor([float(t[k])] * 3) for k in ("x", "y", "radius"))
    shift = torch.tensor([0.3, 2.0, 0.0]) * r
    size = torch.tensor([1.2, 1.0, 3.0])
    some = Candidates(torch.full((3,), row), x + shift, y, r * size, torch.ones(3))
    truth = assign(some, table, batch.index)
    assert float(truth[0, 6]) == 1
    assert truth[0, :2].tolist() == pytest.approx([t["x"], t["y"]], rel=1e-5)
    assert truth[0, 2:4].exp().tolist() == pytest.approx([t["a"], t["b"]], rel=1e-4)
    # Twice the radius away, or three times too large: another cavity's, or nobody's.
    others = [k for k in np.flatnonzero(table[row]["visible"]) if k != slot]
    if not others:
        assert truth[1:, 6].tolist() == [0, 0]
    assert truth[:, 8].tolist() == [batch.index[row]] * 3


def test_training_can_start_from_shipped_weights(tmp_path):
    from physml.training.warm_start import warm_start

    network, decoder = CavityNet(SMALL), DecoderNet(SMALL)
    weights = {CavityNet.part + k: v for k, v in network.state_dict().items()}
    weights |= {DecoderNet.part + k: v for k, v in decoder.state_dict().items()}
    path = tmp_path / "both.safetensors"
    card = {"pipeline": "cavities", "lineage": [{"sha256": "f" * 64, "date": "then"}]}
    save_weights(path, weights, card)
    for made, source in ((CavityNet(SMALL), network), (DecoderNet(SMALL), decoder)):
        lineage = warm_start(made, path)
        assert next(a["sha256"] for a in lineage) == "f" * 64
        assert len(lineage) == 2
        for name, value in source.state_dict().items():
            assert torch.equal(made.state_dict()[name], value)
