"""New images at each step: the tables, and that the comparison compares like with like."""

from __future__ import annotations

import numpy as np
import pytest

ROW = {"loss": {"value": 0.5, "low": 0.4, "high": 0.6}, "seeds": [0.45, 0.55]}
NUMBERS = {
    "rounds": 2,
    "costs": {
        **{"prepared": 2.0, "drawn": 1.0, "rendered": 10.0, "observed": 7.0, "fresh": 20.0},
        "step": 12.5,
    },
    "comparison": {
        "plan": {
            **{"valid": 9, "side": 64, "seeds": 2, "widths": [4, 8], "samples": 2048, "batch": 16}
        },
        "rows": {
            "128": {**ROW, "difference": {"value": 0.1, "low": 0.05, "high": 0.15}},
            "fresh": {**ROW, "difference": {"value": 0.0, "low": 0.0, "high": 0.0}},
        },
    },
}


def test_tables(script):
    made = script("cavities_fresh_draws").tables(NUMBERS)
    assert "| new image, all | 20.0 | 50 |" in made["cost"]
    assert "| - Poisson noise, labels, augmentation, targets | 2.0 | 500 |" in made["cost"]
    assert (
        "| prepared, 128 | 16 times | 0.500 (0.400-0.600) | 0.100 (0.050-0.150) | 0.450, 0.550 |"
        in made["loss"]
    )
    assert "| new at each step | once | 0.500 (0.400-0.600) | - |" in made["loss"]
    assert (made["fresh_rate"], made["prepared_rate"]) == ("50", "500")


def test_all_that_learn_are_judged_on_the_same_images(script, monkeypatch):
    benchmark = script("cavities_fresh_draws")
    seen = []

    def learned(plan, train, valid, seed):
        seen.append((len(train), valid.arrays["index"].tolist(), train.rethin, train.flatten))
        return np.arange(len(valid)) + (0.5 if len(seen) % 2 else 0.0)

    monkeypatch.setattr(benchmark, "learned", learned)
    found = benchmark.compare(benchmark.Plan(sizes=(3,), samples=6, valid=4, seeds=2))
    assert [s[0] for s in seen] == [3] * 4
    assert all(s[1:] == seen[0][1:] for s in seen)
    assert seen[0][1] == [benchmark.VALID + k for k in range(4)]
    # Losses differ by image, differences do not: their interval has no width.
    difference = found["rows"]["3"]["difference"]
    assert [difference[k] for k in ("value", "low", "high")] == pytest.approx([0.5] * 3)
    assert found["rows"]["fresh"]["loss"]["high"] > found["rows"]["fresh"]["loss"]["low"]
