"""The source method: windows, classes, figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure

from physml.background.core.events import find_events
from physml.background.core.frame_class import BOTH, PARTICLE, XRAY
from physml.background.learning import source_method
from physml.background.learning.prepared import cluster_truth
from physml.background.learning.source_method import (
    SourceLoss,
    SourceNet,
    Windows,
    headline_figures,
    train_source_method,
)
from physml.background.learning.windows import WINDOW, cut_windows
from physml.background.settings import SourceMethodSettings
from physml.stages.train import Training
from physml.training.initialise import initialise
from physml.training.loop import fit

SMALL = SourceMethodSettings(
    epochs=5, batch_size=32, widths=(6, 8, 8), hidden=16, learning_rate=5e-3
)


@pytest.fixture(scope="module")
def frames():
    return toy_exposure(2, 600, rng=np.random.default_rng(0), size=160)


@pytest.fixture(scope="module")
def windows(frames) -> Windows:
    return Windows.cut(frames, find_events(frames), np.random.default_rng(1))


def test_windows_are_pieces_of_their_frames(frames, windows):
    assert windows.arrays["image"].shape[1:] == (WINDOW, WINDOW)
    held = np.unique(find_events(frames).clusters["frame"])
    # Nearly all: a cluster's centroid, rounded, may lie just outside of its own window.
    assert 0.97 * len(held) < len(windows) <= len(held)
    dense = {int(f): frames.dense(int(f)) for f in held[:40]}
    seen = 0
    for image in windows.arrays["image"][:20].astype(float):
        y, x = np.unravel_index(image.argmax(), image.shape)
        for frame in dense.values():
            for py, px in zip(*np.nonzero(np.isclose(frame, image[y, x], rtol=1e-3)), strict=True):
                top, left = py - y, px - x
                piece = frame[max(top, 0) : top + WINDOW, max(left, 0) : left + WINDOW]
                if piece.shape == image.shape and np.allclose(piece, image, rtol=1e-3, atol=1e-3):
                    seen += 1
    assert seen >= 20


def test_classes_are_those_of_what_lies_in_the_window(frames):
    found = find_events(frames)
    label = cluster_truth(found, frames)
    arrays = cut_windows(frames, found, label, 1.0, np.random.default_rng(1))
    image, of_window = arrays["image"].astype(float), arrays["frame_class"]
    bright = image.reshape(len(image), -1).sum(1) > 40  # a track, or most of one
    assert (of_window[bright] != XRAY).all()
    assert set(np.unique(of_window)) == {XRAY, PARTICLE, BOTH}
    # What grading misses has no track; windows without a particle miss none.
    assert not (arrays["missed"] & bright).any()
    assert not arrays["missed"][of_window == XRAY].any()
    assert arrays["missed"].sum() > 3


def test_a_share_of_the_frames_is_taken(frames):
    found = find_events(frames)
    label = cluster_truth(found, frames)
    some = cut_windows(frames, found, label, 0.3, np.random.default_rng(1))
    every = cut_windows(frames, found, label, 1.0, np.random.default_rng(1))
    assert len(some["missed"]) / len(every["missed"]) == pytest.approx(0.3, abs=0.08)


def test_augmentation_turns_windows_and_nothing_else(windows):
    plain = windows.batch(np.arange(64), np.random.default_rng(0), False)
    other = windows.batch(np.arange(64), np.random.default_rng(0), True)
    assert torch.equal(plain["frame_class"], other["frame_class"])
    kinds = set()
    for a, b in zip(plain["image"], other["image"], strict=True):
        turns = [torch.rot90(a, k) for k in range(4)]
        turns += [t.T for t in turns]
        same = [k for k, t in enumerate(turns) if torch.equal(t, b)]
        assert same
        kinds.add(same[0])
    assert len(kinds) == 8


def test_figures_of_a_network_that_knows(windows):
    truth = torch.from_numpy(windows.arrays["frame_class"].astype(np.int64))

    class Knows(torch.nn.Module):
        seen = 0

        def forward(self, image):
            part = truth[self.seen : self.seen + len(image)]
            self.seen += len(image)
            return 20 * torch.nn.functional.one_hot(part, 3).float()

    rows = headline_figures(Knows(), windows, np.random.default_rng(0))
    assert [r["value"] for r in rows[:3]] == [1.0, 1.0, 0.0]
    assert rows[0]["windows"] == (windows.arrays["frame_class"] != XRAY).sum()
    assert rows[1]["windows"] == windows.arrays["missed"].sum()


def test_figures_of_a_network_that_does_not(windows):
    class Guesses(torch.nn.Module):
        def forward(self, image):
            generator = torch.Generator().manual_seed(len(image))
            return torch.randn(len(image), 3, generator=generator)

    rows = headline_figures(Guesses(), windows, np.random.default_rng(0), kept=0.9)
    assert rows[5]["value"] == pytest.approx(0.1, abs=0.02)  # by the choice of the cut
    assert rows[3]["value"] == pytest.approx(0.1, abs=0.07)
    assert rows[0]["value"] == pytest.approx(2 / 3, abs=0.12)
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]


def test_classes_count_alike_however_rare():
    class Flat(torch.nn.Module):
        def forward(self, image):
            return torch.tensor([[0.0, 0.0, 5.0]]).repeat(len(image), 1)

    arrays = {
        "frame_class": np.array([0] * 80 + [1] * 15 + [2] * 5, np.uint8),
        "image": np.zeros((100, WINDOW, WINDOW), np.float16),
    }
    data = Windows(arrays)
    loss = SourceLoss(data)(Flat(), data.batch(np.arange(100), np.random.default_rng(0), False))
    p = np.exp([0.0, 0.0, 5.0])
    expected = -np.log(p / p.sum()).mean()  # a third of the weight to each
    assert float(loss["loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(loss["right"]) == pytest.approx(0.05)


def test_training_tells_tracks_from_photons(windows, frames, tmp_path):
    other = toy_exposure(5, 300, rng=np.random.default_rng(9), size=160)
    valid = Windows.cut(other, find_events(other), np.random.default_rng(1))
    network = initialise(lambda: SourceNet(SMALL), 1)
    fit(network, SourceLoss(windows), windows, valid, SMALL, state=tmp_path, seed=1)
    rows = headline_figures(network, valid, np.random.default_rng(0))
    assert rows[0]["value"] > 0.9
    assert rows[2]["value"] < 0.3


class Elsewhere(torch.nn.Module):
    """Network on a device on which nothing can be read, as on any that is not the CPU."""

    def __init__(self):
        super().__init__()
        self.on = torch.nn.Parameter(torch.zeros(1, device="meta"))

    def forward(self, image):
        assert image.device == self.on.device
        return torch.zeros(len(image), 3)


def test_windows_go_to_where_the_network_is(windows):
    rows = headline_figures(Elsewhere(), windows, np.random.default_rng(0))
    assert rows[0]["value"] == 0  # it says X-rays, always


def test_figures_that_fail_do_not_cost_the_weights(windows, tmp_path, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(source_method, "headline_figures", fails)
    monkeypatch.setattr(Windows, "read", lambda path: windows)
    settings = SMALL.model_copy(update={"epochs": 1})
    weights, figures = train_source_method(settings, tmp_path, Training(tmp_path), 1, 1)
    assert weights.keys() == SourceNet(SMALL).state_dict().keys()
    assert figures == []
    assert "out of memory" in caplog.text
