"""New constants for weights that exist."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.inference.detector import BackgroundDetector
from physml.background.inference.housing import measure
from physml.background.learning.recalibrate import recalibrate_weights
from physml.exceptions import InputError
from physml.io.weights import load_weights
from physml.models import shipped_weights


def test_networks_stay_and_constants_are_new(tmp_path):
    out = tmp_path / "new.safetensors"
    source = shipped_weights("background")
    card = recalibrate_weights(source, out, observations=0)
    before, after = load_weights(source), load_weights(out)
    assert before[0].keys() == after[0].keys()
    assert all(before[0][k].equal(after[0][k]) for k in before[0])
    # No observations, nothing new; what was known stays.
    assert after[1]["observations"] == before[1]["observations"]
    assert len(card["recalibrated"]) == len(before[1]["recalibrated"]) + 1
    assert "taken at their word" in out.with_suffix(".md").read_text()


def test_weights_of_another_pipeline_are_refused(tmp_path):
    with pytest.raises(InputError):
        recalibrate_weights(shipped_weights("cavities"), tmp_path / "new.safetensors")


def test_the_shipped_weights_say_how_far_they_can_be_taken_at_their_word():
    """The constants come from the card, and reach the interval."""
    detector = BackgroundDetector.load()
    known = detector.card["observations"]
    assert known["number"] >= 30
    assert known["coverage"] >= 0.9 > known["coverage_before"]
    assert measure(detector, [], scatter=known["scatter"]).scatter == known["scatter"]
    _, housing = detector.settled([])
    assert housing.scatter == known["scatter"]
    assert np.isfinite(known["pseudo_xrays"])
