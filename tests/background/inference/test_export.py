"""Exported networks say what the original says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure

from physml.background.core.events import find_events
from physml.background.inference.detector import BackgroundDetector
from physml.background.inference.export import (
    PARITY,
    description,
    example,
    onnx_detector,
    parity,
    to_int8,
    to_onnx,
    to_torchscript,
    torchscript_detector,
)
from physml.background.inference.network import EventNet
from physml.background.settings import NetworkSettings
from physml.exceptions import InputError
from physml.training.initialise import initialise

# As shipped, but in depth: what is exported must not depend on sizes that a test has chosen.
INPUTS = [example(n, k, seed) for seed, (n, k) in enumerate(((1, 1), (5, 2), (64, 5), (7, 24)))]


@pytest.fixture(scope="module")
def detector() -> BackgroundDetector:
    network = initialise(lambda: EventNet(NetworkSettings()), 1)
    with torch.no_grad():  # as lively as a trained one: sinks and biases begin at zero
        generator = torch.Generator().manual_seed(2)
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    card = {
        "pipeline": "background",
        "version": "0123456789ab",
        "limit": 12,
        "calibration": {"slope": 1.4, "offset": -0.3},
    }
    return BackgroundDetector(network, card)


@pytest.fixture(scope="module")
def onnx_file(detector, tmp_path_factory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (physml[export])")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    to_onnx(detector, path)
    return path


def assert_same(detector: BackgroundDetector, other: BackgroundDetector) -> None:
    """The same numbers from the network, and the same probabilities of frames and events."""
    difference = parity(detector, other, INPUTS)
    assert difference["event"] < PARITY
    assert difference["frame"] < PARITY
    assert (other.version, other.limit) == (detector.version, 12)
    frames = toy_exposure(1, 200, rng=np.random.default_rng(0))
    found = find_events(frames)
    expected, made = detector.classify(frames, found), other.classify(frames, found)
    assert np.abs(made.p_bkg - expected.p_bkg).max() < PARITY
    assert np.nanmax(np.abs(made.p_frame - expected.p_frame)) < PARITY


def test_torchscript_is_the_same_network(detector, tmp_path):
    to_torchscript(detector, tmp_path / "model.pt")
    assert_same(detector, torchscript_detector(tmp_path / "model.pt"))


@pytest.mark.slow  # exporting takes a dozen seconds
def test_onnx_is_the_same_network(detector, onnx_file):
    assert_same(detector, onnx_detector(onnx_file))


@pytest.mark.slow
def test_int8_is_smaller_and_near(detector, onnx_file, tmp_path):
    path = tmp_path / "int8.onnx"
    to_int8(onnx_file, path)
    assert path.stat().st_size < 0.7 * onnx_file.stat().st_size
    difference = parity(detector, onnx_detector(path), INPUTS)
    assert PARITY < difference["event"] < 0.1
    assert difference["event_mean"] < 0.01
    assert onnx_detector(path).version == detector.version


def test_parity_sees_another_network(detector):
    other = BackgroundDetector(initialise(lambda: EventNet(NetworkSettings()), 3), {})
    assert parity(detector, other, INPUTS)["event"] > 0.01
    uncalibrated = BackgroundDetector(detector.network, {})
    assert parity(detector, uncalibrated, INPUTS)["event"] > 0.01


def test_metadata_say_what_goes_in_and_out(detector):
    text = description(detector)
    assert text["calibration"] == {"slope": 1.4, "offset": -0.3}
    assert "log_energy" in text["inputs"]["feature"]
    assert "calibrated" in text["outputs"]["event"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="TorchScript"):
        torchscript_detector(path)
    with pytest.warns(DeprecationWarning, match="trace"):
        stranger = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(stranger, str(path))
    with pytest.raises(InputError, match="exported"):
        torchscript_detector(path)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (physml[export])")
    with pytest.raises(InputError, match="ONNX"):
        onnx_detector(path)


def test_nothing_is_overwritten_unasked(detector, tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("mine")
    with pytest.raises(InputError, match="existing file"):
        to_torchscript(detector, path)
    assert path.read_text() == "mine"


def test_missing_packages_are_named(detector, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"physml\[export\]"):
        to_onnx(detector, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
