"""Differences of two methods on identical images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.cavities_evaluation import Oracle

from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.found import find, frozen
from physml.cavities.evaluation.paired import difference, replicas_of
from physml.cavities.evaluation.set_metrics import set_metrics


@pytest.fixture(scope="module")
def measured():
    """Images, findings of an oracle, and of one that misses all but one cavity of an image."""
    images = {name: frozen(name, 8) for name in ("clean", "none")}
    oracle = Oracle(*images.values())
    found = {name: find(oracle, part) for name, part in images.items()}
    first = np.unique(found["clean"].candidates["image"], return_index=True)[1]
    worse = {**found, "clean": replace(found["clean"], candidates=found["clean"].candidates[first])}
    return images, found, worse


def replicas(images, found, n=200):
    scored = {name: found[name].scored(images[name]) for name in images}
    return replicas_of(
        found["clean"], scored["clean"], images["clean"], replicas=n, seed=3, empty=scored["none"]
    )


def test_first_replica_and_interval_are_those_of_the_metrics(measured):
    images, found, _ = measured
    raw = replicas(images, found)
    scored = {name: found[name].scored(images[name]) for name in images}
    wanted = set_metrics(
        scored["clean"],
        found["clean"].thresholds,
        replicas=200,
        seed=3,
        empty=scored["none"],
    )
    for keys in (("strict", "f1"), ("sizes", "radius_scatter"), ("calibration", "error")):
        assert metrics.summarise(raw[keys[0]][keys[1]]) == wanted[keys[0]][keys[1]]
    pixels = metrics.pixel_metrics(
        found["clean"].probability,
        images["clean"].mask > 0,
        images["clean"].exposure > 0,
        replicas=5,
        seed=1,
    )
    for name in ("ap", "calibration_error"):
        assert raw["pixels"][name][0] == pytest.approx(pixels[name]["value"])


def test_a_method_does_not_differ_from_itself(measured):
    images, found, _ = measured
    one = replicas(images, found)
    for keys in (("strict", "at_alarm", "overall"), ("pixels", "ap"), ("sizes", "volume_ratio")):
        assert difference(one, one, keys) == {"value": 0, "low": 0, "high": 0}


def test_paired_difference_is_sharper_than_two_intervals(measured):
    images, found, worse = measured
    good, bad = replicas(images, found), replicas(images, worse)
    keys = ("strict", "completeness")
    gap = difference(good, bad, keys)
    cavities = len(found["clean"].scored(images["clean"]).cavities)
    assert gap["value"] == pytest.approx(1 - 8 / cavities)
    assert gap["low"] > 0
    assert (difference(bad, good, keys)["value"], difference(bad, good, keys)["low"]) == (
        -gap["value"],
        pytest.approx(-gap["high"]),
    )


def test_biases_are_compared_by_their_size(measured):
    images, found, _ = measured
    small = replace(found["clean"], candidates=found["clean"].candidates.copy())
    large = replace(found["clean"], candidates=found["clean"].candidates.copy())
    small.candidates["radius"] *= 0.9
    large.candidates["radius"] *= 1.1
    a, b = (replicas(images, {**found, "clean": one}) for one in (small, large))
    keys = ("sizes", "radius_ratio")
    assert difference(a, b, keys)["value"] == pytest.approx(-0.2)
    assert difference(a, b, keys, about=1)["value"] == pytest.approx(0, abs=1e-6)
    assert difference(a, b, ("sizes", "nothing")) is None
