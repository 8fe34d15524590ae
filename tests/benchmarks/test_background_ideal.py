"""The benchmark of the ideal observer: its cache, its halves, its tables."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def benchmark(script, monkeypatch):
    made = script("background_ideal")
    monkeypatch.setattr(made, "HITS", 400)
    return made


def test_exposures_are_kept_and_halved(benchmark, tmp_path, monkeypatch):
    sample, pairs = benchmark.learnt_from("close", 2, tmp_path)
    assert np.unique(sample.exposure).tolist() == [0, 1]

    def never(*_):
        raise AssertionError("simulated again")

    monkeypatch.setattr(benchmark, "evaluation_exposure", never)
    again, same = benchmark.learnt_from("close", 2, tmp_path)
    np.testing.assert_array_equal(sample.local, again.local)
    np.testing.assert_array_equal(pairs.feature, same.feature)
    half, part = benchmark.first_half(sample, pairs)
    assert np.all(half.exposure == 0)
    n = len(half)
    np.testing.assert_array_equal(half.energy, sample.energy[:n])
    np.testing.assert_array_equal(part.event, pairs.event[: len(part)])
    np.testing.assert_array_equal(np.unique(part.event[part.own]), np.flatnonzero(half.paired))


def test_the_share_of_the_ideal_is_told(benchmark):
    def found(value):
        return {
            band: {
                k: {"value": value, "low": value, "high": value} for k in ("0.99", "0.98", "0.95")
            }
            for band in benchmark.BANDS
        }

    methods = {
        benchmark.MODEL: {"at_retention": found(0.27)},
        benchmark.BOTH: {"at_retention": found(0.30), "behind": found(-0.03)},
    }
    part = {
        "methods": methods,
        "paired": 0.75,
        "learnt": {"exposures": 300, "background": 20_000},
    }
    text = benchmark.tables({"sets": {"close": part}})
    assert (
        "removes 90% (near housing, 5 mm, 0.3-10 keV); 90% (near housing, 5 mm, 2-7 keV)"
        in (text["shares"])
    )
    assert "20,000 background events in 300 exposures, 75% of them" in text["table"]
    assert "-0.030" in text["table"]
