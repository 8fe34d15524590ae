"""Cavities: training, evaluation and search with the networks on a device that is not the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes.device import device

from physml.cavities import evaluate, preprocess, simulate, train
from physml.cavities.inference.detector import CavityDetector
from physml.cavities.predict import CavityPredictor
from physml.cavities.settings import CavitiesSettings
from physml.exceptions import Checkpointed
from physml.io.weights import load_weights
from physml.nn.device import device_of

SETTINGS = CavitiesSettings.model_validate(
    {
        "simulate": {"n_samples": 20, "shard_size": 20, "nodes": 4, "image_size": 64},
        "preprocess": {"valid": 0.25, "test": 0.25},
        "train": {
            "epochs": 1,
            "batch_size": 2,
            "network": {"widths": [8, 8], "decoder_widths": [8, 8]},
            "decoder": {"share": 0.5, "epochs": 1, "batch_size": 8},
            "alarm_images": 8,
            "merging_images": 1,
        },
        "evaluate": {"n_images": 2, "bootstrap": 10},
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cavities")
    simulate.run(settings=SETTINGS, shard=0, out=folder / "0.h5")
    preprocess.run(settings=SETTINGS, raw=[folder / "0.h5"], out=folder / "data", threads=1)
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
    made, wanted = load_weights(weights)[0], load_weights(expected)[0]
    assert made.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(made[name], value, rtol=0.05, atol=5e-3, msg=name)


def test_evaluation(data, weights, tmp_path):
    with device():
        evaluate.run(settings=SETTINGS, data=data, weights=weights, out=tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").exists()


def test_search(weights):
    counts = np.random.default_rng(1).poisson(3.0, (1, 70, 64))
    found = []
    for where in (device, torch.no_grad):
        with where():
            detector = CavityDetector.load(weights)
            found.append(detector.detect(counts)[0])
    assert device_of(detector.network).type == "cpu"
    np.testing.assert_allclose(found[0].probability, found[1].probability, atol=0.03)
    assert found[0].model.tolist() == found[1].model.tolist()


def test_prediction_with_recovery(weights):
    y, x = np.mgrid[:128, :128]
    mean = 40 * (1 + ((x - 63) ** 2 + (y - 63) ** 2) / 64) ** -1.0
    counts = np.random.default_rng(1).poisson(mean)
    with device():
        predictor = CavityPredictor.load(weights)
        assert device_of(predictor.detector.network).type != "cpu"
        result = predictor.predict(counts, recovery=1, scales=1)
    assert result.summary()
