"""Tomography: training, evaluation and estimates with networks on a device that is not the CPU."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest
from fakes.device import device
from fakes.tomography import noisy, pauli_data, write_json

from physml.exceptions import Checkpointed
from physml.io.weights import load_weights
from physml.tomography import evaluate, preprocess, simulate, train
from physml.tomography.core.states import draw
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.tomographer import Tomographer
from physml.tomography.predict import TomographyPredictor
from physml.tomography.settings import TomographySettings
from physml.tomography.simulator.experiment import experiment

SETTINGS = TomographySettings.model_validate(
    {
        "simulate": {
            **{"n_samples": 80, "shard_size": 80, "batch": 80, "n_qubits": [1]},
            **{"copies": 300, "designer": "none"},
        },
        "preprocess": {"valid": 0.2, "test": 0.1, "calibrate": 0.4, "thin": 2},
        "train": {
            "epochs": 1,
            "batch_size": 32,
            "network": {"width": 8, "blocks": 1},
            "calibrate": {"epochs": 1, "width": 4, "functionals": 100},
            "cell": {
                **{"runs": 1, "experiments": 2, "n_particles": 5, "copies": 100, "width": 4},
                **{"valid": 2, "validate_every": 1, "rounds": 1, "proposals": 1},
            },
        },
        "evaluate": {
            **{"states": 2, "copies": 100, "test": 2, "batch": 2, "timed": 100, "bootstrap": 50},
            "methods": ["neural, global", "neural, pauli", "particle cell, global"],
        },
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomography")
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
    """Up to rounding, of which Adam makes whole steps: losses agree, not weights."""
    expected = data / "expected.safetensors"
    train.run(settings=SETTINGS, data=data, out=expected)
    (made, card), (wanted, on_cpu) = load_weights(weights), load_weights(expected)
    assert made.keys() == wanted.keys()
    assert all(value.isfinite().all() for value in made.values())
    loss, loss_on_cpu = (c["training"]["1"]["valid_loss"] for c in (card, on_cpu))
    assert loss == pytest.approx(loss_on_cpu, rel=0.02)


def test_evaluation(data, weights, tmp_path):
    with device():
        evaluate.run(settings=SETTINGS, data=data, weights=weights, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["lists"]


@pytest.mark.parametrize("estimator", ["neural", "particle_cell"])
def test_prediction(weights, tmp_path, estimator):
    path = write_json(tmp_path / "counts.json", pauli_data(noisy("0", n=1), 200))
    with device():
        result = TomographyPredictor.load(weights).predict(path, estimator=estimator)
    assert result.density_matrix[0, 0].real > 0.5


def test_networks_that_were_moved_estimate_as_before():
    data = pauli_data(noisy("0", n=1), 200)
    rho = draw("hs", 3, 2, np.random.default_rng(1))
    found = []
    for where in (device, nullcontext):
        with where() as there:
            estimator = TomographyPredictor.load().estimator("neural")
            assert isinstance(estimator, NeuralEstimator)
            if there is not None:
                own = estimator.calibrated[2]
                for network in (estimator.networks[2], own.regions, own.stops, own.intervals):
                    network.to(there)
            tomographer = Tomographer(1, estimator=estimator)
            for setting, counts in data:
                tomographer.update(setting, counts)
            one = tomographer.density_matrix, tomographer.credible_region(0.9).infidelity
            purity = tomographer.functional("purity")
            rng = np.random.default_rng(2)
            ends = purity.low, purity.high
            found.append(
                (*one, ends, experiment(estimator, rho, "pauli", [50, 50], rng).infidelity)
            )
    for value, expected in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-6)
