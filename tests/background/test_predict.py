"""From frames to events: what is kept and why, from any input, in any block, in flat memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from fakes.background_detector import (
    CAMERA,
    CUTS,
    RETENTIONS,
    RuleDetector,
    event_table,
    exposure_table,
    register,
    scene,
    write_cube,
    write_dense,
    write_events,
    write_sparse,
)
from fakes.background_events import frames_of

import physml
from physml.background.core.events import find_events
from physml.background.core.frames import PIXEL
from physml.background.data.frames import source as readers
from physml.background.inference.blocks import Rates
from physml.background.inference.retention import Correction
from physml.background.predict import BackgroundPredictor
from physml.background.results.event_rows import EXTRAPOLATED, REJECTED
from physml.background.results.summary import summarise
from physml.exceptions import InputError

COLUMNS = (
    *("TIME", "FRAME", "RAWX", "RAWY", "DETX", "DETY", "X", "Y", "PHA", "PI", "PATTERN", "FLAG"),
    *("P_BKG", "P_FRAME", "D_MIP", "WEIGHT"),
)


def dark_frames(n, *lit, side=(CAMERA.ny, CAMERA.nx)):
    """Frames in which only some pixels, given as (place, energy), are lit."""
    images = np.zeros((n, *side), np.float32)
    for place, energy in lit:
        images[place] = energy
    return images


@pytest.fixture(scope="module")
def seen():
    return scene(60)


@pytest.fixture(scope="module")
def predictor():
    return BackgroundPredictor(RuleDetector())


@pytest.fixture(scope="module")
def result(seen, predictor):
    return predictor.predict(seen.images, retention=0.98, detector=CAMERA)


def test_the_columns_of_the_sheet(result):
    assert set(COLUMNS) <= set(result.events.colnames)
    assert isinstance(result.events, Table)
    units = {name: result.events[name].unit for name in ("TIME", "ENERGY", "D_MIP")}
    assert {k: str(v) for k, v in units.items()} == {"TIME": "s", "ENERGY": "keV", "D_MIP": "pix"}
    assert all(result.events[name].info.description for name in COLUMNS)


def test_every_photon_is_an_event_and_no_track_is(result, seen):
    e = result.events
    frame, y, x, energy = seen.photons[np.lexsort(seen.photons.T[[2, 1, 0]])].T
    np.testing.assert_array_equal((e["FRAME"], e["RAWY"] - 1, e["RAWX"] - 1), (frame, y, x))
    np.testing.assert_allclose(e["ENERGY"], energy, rtol=1e-6)
    np.testing.assert_array_equal(e["PI"], np.floor(energy / 0.01))
    assert result.tally.invalid == len(seen.tracks)


def test_times_are_the_middle_of_frames_in_order(result):
    e = result.events
    np.testing.assert_allclose(e["TIME"], (e["FRAME"] + 0.5) * 0.005)
    assert (np.diff(e["TIME"]) >= 0).all()


def test_distances_to_tracks_and_what_follows_from_them(result, seen):
    """Distance by hand; the rule rejects where exp(-d/40) > 0.6."""
    e = result.events
    for row in e:
        tracks = seen.tracks[seen.tracks[:, 0] == row["FRAME"]]
        if len(tracks) == 0:
            assert np.isnan(row["D_MIP"])
            assert row["P_FRAME"] == 0
            continue
        x = tracks[:, 2][:, None] + np.arange(8)
        d = np.hypot(x - (row["RAWX"] - 1), tracks[:, 1][:, None] - (row["RAWY"] - 1)).min()
        assert row["D_MIP"] == pytest.approx(d, rel=1e-5)
        assert row["P_FRAME"] == 1
        assert bool(row["FLAG"] & REJECTED) == (np.exp(-d / 40) > 0.6)
    assert 0 < result.counts["rejected"] < result.counts["kept"]


def test_weights_undo_the_cut(result):
    e, c = result.events, result.correction
    rejected = (e["FLAG"] & REJECTED) > 0
    assert (e["WEIGHT"][rejected] == 0).all()
    kept = e[~rejected]
    expected = 1 / np.select([kept["ENERGY"] < 2, kept["ENERGY"] < 7], [0.98, 0.978], 0.98)
    np.testing.assert_allclose(kept["WEIGHT"], expected, rtol=1e-6)
    assert c.at(3.0, 0.5) == pytest.approx(0.978)
    assert len(result.kept) == len(kept)


@pytest.mark.parametrize(("retention", "cut"), zip(RETENTIONS, CUTS, strict=True))
def test_a_lower_promise_rejects_more(retention, cut, seen, predictor, result):
    other = predictor.predict(seen.images, retention=retention, detector=CAMERA)
    if retention < 0.98:
        assert other.counts["rejected"] >= result.counts["rejected"]
        assert other.counts["rejected"] > 0
    rejected = (other.events["FLAG"] & REJECTED) > 0
    np.testing.assert_array_equal(rejected, other.events["P_BKG"] > cut)


INPUTS = {
    "table": lambda s, path: Table(s.pixels),
    "rows": lambda s, path: s.pixels[::-1],
    "dense file": lambda s, path: write_dense(path / "f.h5", s.images),
    "sparse file": lambda s, path: write_sparse(
        path / "f.h5", s.pixels, exposure_table(60), index=np.arange(60)
    ),
    "cube": lambda s, path: write_cube(path / "c.fits", s.images),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_the_same_events_from_any_input(kind, seen, predictor, result, tmp_path):
    other = predictor.predict(INPUTS[kind](seen, tmp_path), detector=CAMERA)
    for name in COLUMNS:
        np.testing.assert_allclose(
            other.events[name], result.events[name], rtol=1e-6, err_msg=name, equal_nan=True
        )


@pytest.mark.parametrize("size", [1, 13])
def test_the_same_events_in_any_blocks(size, seen, predictor, result, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_BYTES", size * 4 * CAMERA.ny * CAMERA.nx)
    monkeypatch.setattr(readers, "BLOCK_ROWS", 4 * size)
    for given in (seen.images, seen.pixels):
        other = predictor.predict(given, detector=CAMERA)
        # Weights go by the rate of tracks, which is learnt as frames go by.
        for name in set(COLUMNS) - {"WEIGHT"}:
            np.testing.assert_array_equal(other.events[name], result.events[name], err_msg=name)


def test_empty_frames_make_no_events_but_time(predictor):
    images = dark_frames(400, ((123, 40, 40), 5.0))
    result = predictor.predict(images, detector=CAMERA)
    assert len(result.events) == 1
    assert result.live_time == pytest.approx(2.0)
    assert result.tally.particles[0] == 400


def test_only_tracks_and_no_events(predictor, tmp_path):
    images = dark_frames(30, ((10, 40, slice(30, 50)), 20.0))
    result = predictor.predict(images, detector=CAMERA)
    assert len(result.events) == 0
    assert "no events" in repr(result)
    result.write(tmp_path / "out")
    assert (tmp_path / "out" / "overview.png").stat().st_size > 0


def test_weights_of_a_simulation_are_carried(seen, predictor, tmp_path):
    weight = np.linspace(1, 3, 60).astype("f4")
    path = write_sparse(tmp_path / "f.h5", seen.pixels, index=np.arange(60), weight=weight)
    e = predictor.predict(path, detector=CAMERA).events
    np.testing.assert_allclose(e["W_FRAME"], weight[e["FRAME"]])
    rejected = (e["FLAG"] & REJECTED) > 0
    assert (e["WEIGHT"][rejected] == 0).all()
    assert (e["WEIGHT"][~rejected] > e["W_FRAME"][~rejected]).all()


def test_energies_outside_of_the_promise_are_flagged(predictor):
    images = dark_frames(30, ((3, 40, 40), 0.15), ((4, 40, 40), 0.25), ((5, 40, 40), 9.0))
    result = predictor.predict(images, detector=CAMERA)
    np.testing.assert_array_equal((result.events["FLAG"] & EXTRAPOLATED) > 0, [True, False, False])
    promise = summarise(result)["promise"]
    assert promise["energies_keV"] == [0.2, 15.0]
    assert promise["events_outside_of_them"] == 1


def test_saturated_pixels_and_bad_neighbours_are_flagged(predictor):
    adu = dark_frames(30, ((3, 40, 40), 255), ((4, 60, 60), 100), ((5, 60, 60), 50)).astype("u1")
    bad = dark_frames(1, ((0, 61, 60), 1))[0] > 0
    result = predictor.predict(adu, detector=CAMERA, gain=0.05, bad=bad)
    np.testing.assert_array_equal(result.events["FLAG"] & 15, [8, 2, 2])


def test_what_is_outside_of_the_training_is_said(seen, predictor):
    camera = CAMERA.model_copy(update={"pixel_um": 55.0, "thickness_um": 300.0})
    result = predictor.predict(seen.images, detector=camera, frame_time=1.0)
    text = " | ".join(result.untrained)
    for part in (
        "96 x 128 pixels, trained on 512 x 512",
        "pixels of 55 um, trained on 130 um",
        "silicon of 300 um, trained on 450 um",
        "a frame time of 1 s, trained on 0.002 - 0.02 s",
    ):
        assert part in text


def test_nothing_is_outside_for_what_was_simulated(predictor):
    track, photon = np.s_[::2, 100, 100:140], np.s_[1::2, 200, 200]
    images = dark_frames(40, (track, 20.5), (photon, 3.0), side=(512, 512))
    assert predictor.predict(images).untrained == []


def test_rates_are_learnt_and_forgotten():
    frames = frames_of(dark_frames(100, (np.s_[:50, 10, 10:20], 20.0), side=(32, 32)))
    rates, found = Rates(), find_events(frames)
    assert rates.update(found, frames) == pytest.approx([(50 + 2) / (100 + 4)])
    for _ in range(50):
        last = rates.update(found, frames)
    assert last == pytest.approx([0.5], abs=1e-3)
    empty = frames_of(np.zeros((100, 32, 32)))
    found = find_events(empty)
    for _ in range(1500):
        last = rates.update(found, empty)
    assert last[0] < 0.01


def test_the_correction_lies_between_the_retentions_of_the_table():
    c = Correction.from_thresholds(RuleDetector().thresholds, 0.94)
    np.testing.assert_allclose(c.retention[0], [0.94, 0.938, 0.94])
    np.testing.assert_allclose(c.retention[1], [0.939, 0.937, 0.939])
    value, error = c.of([0.5, 0.5, 5.0, 5.0])
    np.testing.assert_allclose(value, [0.9395, 0.9375, 0.9395])
    np.testing.assert_allclose(error, 5e-4 / np.sqrt(2))
    bands = {band: v for band, v, _ in c.bands([0.5])}
    assert bands[(2.0, 7.0)] == pytest.approx(0.938)
    # 0.3-10 keV, flat in log energy.
    w = np.log([2 / 0.3, 3.5, 10 / 7])
    assert bands[(0.3, 10.0)] == pytest.approx(np.average([0.94, 0.938, 0.94], weights=w))


def test_an_event_list_gets_probabilities_and_no_cut(predictor, tmp_path):
    hdu = event_table(100)
    result = predictor.predict(write_events(tmp_path / "e.fits", hdu))
    e = result.events
    expected = RuleDetector().classify_events(hdu.data["energy"] / 1000, hdu.data["grade"])
    np.testing.assert_allclose(e["P_BKG"], expected, rtol=1e-6)
    assert (e["WEIGHT"] == 1).all()
    assert np.isnan((e["D_MIP"], e["P_FRAME"])).all()
    assert not result.with_frames
    assert "by energy and grade alone" in result.summary
    assert any("no cut is made" in r for r in result.remarks)
    assert any("CHANDRA ACIS" in t for t in result.untrained)


def test_model_load(monkeypatch, seen):
    register(monkeypatch)
    monkeypatch.setattr(
        BackgroundPredictor, "load", classmethod(lambda cls, path=None: cls(RuleDetector()))
    )
    events = physml.Model.load("background").predict(seen.images, 0.98, detector=CAMERA).events
    assert len(events) == len(seen.photons)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random tensors, which knows nothing but is complete."""
    import torch

    from physml.background.inference.cuts import CutTables
    from physml.background.inference.network import EventNet
    from physml.background.settings import NetworkSettings
    from physml.io.weights import save_weights

    settings = NetworkSettings(width=8, heads=2, blocks=1, pair_width=2, patch_channels=2)
    torch.manual_seed(0)
    rule = RuleDetector()
    card = {
        **{k: v for k, v in rule.card.items() if k != "sha256"},
        "pipeline": "background",
        "network": settings.model_dump(mode="json"),
        "thresholds": CutTables(np.array([5.0, 15.0]), (rule.thresholds,) * 2).as_dict(),
        "event_level": rule.event_level.as_dict(),
    }
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    state = EventNet(settings).state_dict()
    save_weights(path, {EventNet.part + k: v for k, v in state.items()}, card)
    return path


def test_a_real_network_from_a_file_of_weights(weights, seen, tmp_path):
    """Load, judge and write with what `train` leaves behind; frames, and a list."""
    from physml import provenance

    made = BackgroundPredictor.load(weights)
    result = made.predict(seen.images, 0.9, detector=CAMERA)
    e = result.events
    assert len(e) == len(seen.photons)
    assert ((e["P_BKG"] > 0) & (e["P_BKG"] < 1)).all()
    assert ((e["P_FRAME"] >= 0) & (e["P_FRAME"] <= 1)).all()
    rejected = (e["FLAG"] & REJECTED) > 0
    np.testing.assert_array_equal(rejected, e["P_BKG"] > 0.4)
    assert result.card["sha256"] == provenance.sha256(weights)
    again = made.predict(seen.pixels, 0.9, detector=CAMERA)
    np.testing.assert_allclose(again.events["P_BKG"], e["P_BKG"], atol=1e-6)
    listed = made.predict(write_events(tmp_path / "e.fits", event_table(100)))
    assert np.isfinite(listed.events["P_BKG"]).all()


def test_the_stand_off_is_measured_or_told(weights, seen):
    made = BackgroundPredictor.load(weights)
    told = made.predict(seen.images, 0.9, detector=CAMERA, standoff=6.0)
    assert told.standoff == 5.0
    assert told.housing is None
    assert summarise(told)["housing"] == {"standoff_mm": 5.0, "measured": False}
    found = made.predict(seen.images, 0.9, detector=CAMERA)
    assert found.housing is not None
    assert found.standoff in (5.0, 15.0)
    assert found.housing.events == len(found.events)
    about = summarise(found)["housing"]
    assert about["measured"]
    assert about["events"] == len(found.events)
    for wrong in (0.0, -3.0, np.nan):
        with pytest.raises(InputError, match="standoff=: expected a positive number of mm"):
            made.predict(seen.images, 0.9, detector=CAMERA, standoff=wrong)


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from fakes.background_detector import RuleDetector
from physml.background.data.frames import source as readers
from matplotlib.figure import Figure
from physml.background.results import event_rows, products
from physml.background.core.detectors import DetectorSettings
from physml.background.predict import BackgroundPredictor
products.plot_overview = lambda result: Figure(figsize=(1, 1))  # pictures have a memory too
event_rows.SPILL_BYTES = 1 << 20
readers.BLOCK_BYTES, readers.BLOCK_ROWS = 8 << 20, 1 << 15
side = int(sys.argv[2])
camera = DetectorSettings(ny=side, nx=side)
for number, path in enumerate(sys.argv[4:]):
    result = BackgroundPredictor(RuleDetector()).predict(path, detector=camera)
    result.write(f"{sys.argv[3]}{number}")
    print(len(result.store), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(root, out, side, *paths):
    """Events found in each file, and the most memory [MB] that the process took until then."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(root / "tests"), str(side), str(out), *map(str, paths)],
        capture_output=True, text=True, timeout=900, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    return [int(n) for n, _ in lines], [int(kilobytes) / 1024 for _, kilobytes in lines]


def sparse_on_disk(path, n, side, every):
    """Dense frames whose file has holes: only every so many frames take room on the disk."""
    import h5py

    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.CONTIGUOUS)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((n, side, side))
        kind = h5py.h5t.py_create(np.dtype("f4"))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"frames", kind, space, plan))
        for k in range(0, n, every):
            photon, track = np.s_[0, 20, 30 + k % 97], np.s_[0, 40, 10:30]
            dataset[k] = dark_frames(1, (photon, 5.0), (track, 20.5), side=(side, side))[0]
    return path


def pixels_in_a_row(n):
    """Single-pixel events, twenty in a frame."""
    rows = np.zeros(n, PIXEL)
    rows["frame"] = np.arange(n) // 20
    rows["y"], rows["x"] = 4 + 10 * (np.arange(n) % 20), 4 + rows["frame"] % 240
    rows["energy"] = 0.5 + 0.01 * (np.arange(n) % 100)
    return rows


def test_memory_does_not_grow_with_the_file(root, tmp_path):
    """Dense and sparse, each once short and once long, one after the other in one process."""
    files = [
        sparse_on_disk(tmp_path / "0.h5", 300, 256, 10),
        sparse_on_disk(tmp_path / "1.h5", 1500, 256, 10),
        write_sparse(tmp_path / "2.h5", pixels_in_a_row(100_000)),
        write_sparse(tmp_path / "3.h5", pixels_in_a_row(400_000)),
    ]
    assert files[1].stat().st_size > 390e6
    events, peak = peak_memory(root, tmp_path / "out", 256, *files)
    assert events == [30, 150, 100_000, 400_000]
    assert peak[1] - peak[0] < 15  # the file grew by 310 MB
    assert peak[3] - peak[2] < 10  # the rows of the event list grew by 22 MB


@pytest.mark.slow
def test_ten_gigabytes(root, tmp_path):
    path = sparse_on_disk(tmp_path / "f.h5", 10_240, 512, 40)
    assert path.stat().st_size > 10.7e9
    events, peak = peak_memory(root, tmp_path / "out", 512, path)
    assert events == [256]
    assert peak[0] < 1000
