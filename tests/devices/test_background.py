"""Background: training and classification with the networks on a device that is not the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure, write_toy_shards
from fakes.device import device

from physml.background import preprocess, train
from physml.background.inference.detector import BackgroundDetector
from physml.background.inference.export import example, exported, parity
from physml.background.settings import BackgroundSettings
from physml.exceptions import Checkpointed
from physml.io.weights import load_weights

SETTINGS = BackgroundSettings.model_validate(
    {
        "preprocess": {"valid": 0.3, "test": 0.2, "windows": 150},
        "train": {
            "epochs": 1,
            "batch_size": 16,
            "network": {"width": 8, "heads": 2, "blocks": 1, "pair_width": 4, "patch_channels": 4},
            "calibrate": {
                **{"photons": 200, "energies": [0.3, 2, 12], "standoffs": [6, 15]},
                "observations": 0,
            },
            "source_method": {"epochs": 1, "widths": [2, 2, 2], "hidden": 4, "batch_size": 8},
        },
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("background")
    raw = write_toy_shards(folder, 1, 8, seed=2, n=40)
    preprocess.run(settings=SETTINGS, raw=raw, out=folder / "data", threads=1)
    return folder / "data"


@pytest.fixture(scope="module")
def weights(data):
    """Weights of a training on the device that was stopped and continued."""
    out = data / "model.safetensors"
    with device():
        with pytest.raises(Checkpointed):
            train.run(settings=SETTINGS, data=data, out=out, time_limit_s=0.0)
        train.run(settings=SETTINGS, data=data, out=out)
    return out


def test_a_training_on_the_device_is_that_on_the_cpu(data, weights):
    expected = data / "expected.safetensors"
    train.run(settings=SETTINGS, data=data, out=expected)
    (made, card), (wanted, on_cpu) = load_weights(weights), load_weights(expected)
    assert made.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(made[name], value, rtol=1e-3, atol=1e-3, msg=name)
    # The source method's figures were measured, where its network was.
    rows = card["source_method"]["validation"]
    assert len(rows) == len(on_cpu["source_method"]["validation"]) == 6


def test_a_network_that_was_moved_classifies_as_before(weights):
    detector = BackgroundDetector.load(weights)
    frames = toy_exposure(3, 60, rng=np.random.default_rng(4))
    expected = detector.classify(frames)
    with device() as there:
        detector.network.to(there)
        found = detector.classify(frames)
    np.testing.assert_allclose(found.p_bkg, expected.p_bkg, atol=1e-5)
    np.testing.assert_allclose(found.p_frame, expected.p_frame, atol=1e-5)


def test_export_of_a_network_that_was_moved(weights):
    detector = BackgroundDetector.load(weights)
    with device() as there:
        moved = copy.deepcopy(detector)
        moved.network.to(there)
        made = exported(moved)
        found = parity(moved, detector, [example(3, 5)])
    # Files are for machines without the device.
    assert {p.device.type for p in made.parameters()} == {"cpu"}
    assert found["event"] < 1e-5
    assert found["frame"] < 1e-5
