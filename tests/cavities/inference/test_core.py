"""Significance of a cavity over the core: the core's counts do not count, its decrement does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physml.cavities.inference.detector import CavityDetector, without_core


def test_the_core_is_what_stands_out():
    flat, peak = np.full(300, 5.0), np.full(10, 400.0)
    assert without_core(np.concatenate([flat, peak])).sum() == flat.sum()
    assert without_core(flat).sum() == flat.sum()
    assert len(without_core(np.zeros(0))) == 0


@pytest.fixture(scope="module")
def detector() -> CavityDetector:
    return CavityDetector.load()


@pytest.mark.parametrize("place", [(64.0, 64.0), (90.0, 64.0)])
def test_signal_to_noise_is_that_of_the_gas_around_the_core(detector, place):
    """A cavity over a bright core keeps its decrement, and gains nothing from the core's counts."""
    y, x = np.indices((128, 128)) - 64.0
    around = np.full((128, 128), 4.0, np.float32)
    core = 3000 * np.exp(-0.5 * (x * x + y * y)).astype(np.float32)
    decoded = dict.fromkeys(("semi_major", "semi_minor", "radius"), np.array([10.0]))
    decoded |= {name: np.array([0.1]) for name in ("radius_err", "position_err", "decrement_err")}
    decoded |= {"x": np.array([place[0]]), "y": np.array([place[1]]), "theta": np.zeros(1)}
    decoded |= {"decrement": np.array([0.3]), "probability": np.array([0.9])}
    some = SimpleNamespace(row=torch.zeros(1, dtype=torch.int64))
    nothing = np.zeros((128, 128), bool)
    blank = np.zeros((128, 128))
    model = around + core
    made = detector._collect(0, some, decoded, blank, model, model, nothing, (64.0, 64.0))
    row = made.table[0]
    pixels = (made.labels == 1).sum()
    assert row["decrement"] == pytest.approx(0.3)
    plain = 0.3 * np.sqrt(pixels * 4.0)
    assert row["snr"] == pytest.approx(plain, rel=0.1)
    if place == (64.0, 64.0):  # what it would be with the core
        assert row["snr"] < 0.6 * 0.3 * np.sqrt(model[made.labels == 1].sum())
