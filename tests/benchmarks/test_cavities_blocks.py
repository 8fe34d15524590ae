"""Blocks of the smaller benchmarks of cavities, from numbers that are known."""

from __future__ import annotations

import pytest


def test_real_images(script):
    benchmark = script("cavities_real_images")
    row = {"probability": 0.9, "flags": ""}
    numbers = {
        "images": [
            {
                "image": "NGC 1, Chandra",
                "ledger": "not sealed",
                "known": 2,
                "found": {"a": {"probability": 0.55, "flags": "candidate"}},
                "missed": ["b"],
                "others": [],
            },
            {
                "image": "Abell 2, XMM",
                "ledger": "sealed",
                "known": 0,
                "found": {},
                "missed": [],
                "others": [row, row],
                "trap": {"cluster": 3e-6, "far": 1.5e-6},
                "said": ["it holds light of the cluster"],
            },
        ]
    }
    blocks = benchmark.tables(numbers)
    assert "| NGC 1, Chandra | 1 of 2: a (0.55, candidate) | b | none | not sealed |" in (
        blocks["table"].splitlines()
    )
    assert "| Abell 2, XMM | none is known | none | 0.90; 0.90 | sealed |" in blocks["table"]
    assert "of Abell 2 is a trap: divided by the exposure it is 2.0 times" in blocks["trap"]
    assert "*it holds light of the cluster*" in blocks["trap"]
    assert blocks["found"] == "1 of 2"


def test_merging(script):
    benchmark = script("cavities_merging")
    alarms = benchmark.share([1, 0, 0, 0], [1, 1, 1, 1], 500)
    assert alarms["value"] == 0.25
    assert alarms["low"] < 0.25 < alarms["high"]
    nothing = benchmark.share([0, 0], [0, 0], 10)
    numbers = {
        "size": 512,
        "replicas": 500,
        "ledger": "sealed",
        "alarms": {"images": 4, "share": alarms},
        "listed": {"images": 2, "cavities": 0, "share": nothing},
    }
    blocks = benchmark.tables(numbers)
    assert blocks["alarms"] == "25.0%"
    assert blocks["listed"] == "-"
    assert (
        "| cavity-less images of 512 pixels with a listed cavity | 4 | 25.0% (" in blocks["table"]
    )
    assert "(sealed)" in blocks["table"]


def test_simulator_speed(script):
    benchmark = script("cavities_simulator_speed")
    rate = benchmark.spread([80.0, 90.0, 70.0])
    assert rate == {"value": 80, "low": 70, "high": 90}
    cube = {"rate": rate, "ratio": benchmark.spread([6.0, 7.0]), "labels_in_common": 0.99}
    numbers = {"images": 4, "rounds": 3, "threads": 1, "ours": rate, "cubes": {"plain": cube}}
    blocks = benchmark.tables(numbers)
    assert blocks["rate"] == "80"
    assert blocks["ratio-plain"] == "6.5"
    assert "| plain cube of 128^3 | 80.0 (70.0-90.0) | 6.5 (6.0-7.0) | 99.0% |" in blocks["table"]


@pytest.mark.parametrize("name", ["cavities_merging", "cavities_real_images"])
def test_numbers_rest_on_the_weights_of_cavities(script, name):
    assert script(name).SCIENCES == ("cavities",)
