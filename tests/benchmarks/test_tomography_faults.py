"""The benchmark of faulty laboratories: its laboratories, its observers, its tables."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physml.tomography.core.measurements import pauli_settings, product_setting
from physml.tomography.core.operators import random_unitary
from physml.tomography.core.states import draw


def test_exchanged_axes_are_a_relabelling_of_pauli_settings(script) -> None:
    laboratory = script("tomography_faults.laboratory")
    settings = {s.id: s.effects for s in pauli_settings(2)}
    for name, effects in settings.items():
        other = name[0].translate(str.maketrans("XY", "YX")) + name[1]
        np.testing.assert_allclose(
            laboratory.measured(
                pauli_settings(2)[list(settings).index(name)], "swapped axes", None
            ),
            settings[other],
            atol=1e-12,
        )
        assert effects.shape == (4, 4, 4)


def test_observers_know_what_can_be_found(script) -> None:
    """A rotation inverted: found of a pure state by both; of the maximally mixed one by nobody."""
    script("tomography_faults")
    laboratory, limits = script("tomography_faults.laboratory"), script("tomography_faults.limits")
    rng = np.random.default_rng(0)
    settings = [
        product_setting(torch.as_tensor(random_unitary(2, 2, rng)), 40, f"m{k}") for k in range(30)
    ]
    effects = [laboratory.measured(s, "inverted", None) for s in settings]
    white = np.eye(4, dtype=complex) / 4
    for rho, wanted in ((draw("pure", 1, 4, rng)[0].numpy(), True), (white, False)):
        found = []
        for _ in range(8):
            counts = [
                rng.multinomial(40, np.einsum("kij,ji->k", e, rho).real.clip(0)) for e in effects
            ]
            run = laboratory.Run(rho, settings, effects, counts, np.zeros((0, 4, 4)))
            found.append(limits.found_by_observers(run, rng))
        if wanted:
            assert np.all(found)
        else:
            assert np.mean(found) < 0.5


@pytest.mark.parametrize("fault", ["none", "inverted"])
def test_a_loop_is_judged_as_the_commands_would(script, fault) -> None:
    benchmark, laboratory = script("tomography_faults"), script("tomography_faults.laboratory")
    (run,) = laboratory.loops("pure", "product", fault, 1, 400, 3, None)
    assert sum(int(c.sum()) for c in run.counts) == 400
    found = benchmark.judged(run, "product", fault, 0)
    assert found["found"] == (fault != "none")
    if fault != "none":
        assert found["named"]
        assert found["knows"]


def test_tables_tell_shares_and_alarms(script) -> None:
    benchmark = script("tomography_faults")
    rows = []
    for cell in benchmark.cells():
        bad = cell[0] != "none"
        one = {"copies": 300, "found": bad, "hint": bad, "named": bad, "drift": False}
        runs = [one | ({"knows": True, "limit": True} if bad else {})] * 199
        runs.append(
            {
                "copies": 1000,
                "found": not bad,
                "knows": True,
                "limit": False,
                "hint": True,
                "named": False,
                "drift": False,
            }
        )
        rows.append(benchmark.summary(cell, runs))
    found = benchmark.tables(json.loads(json.dumps({"rows": rows, "copies": 1000})))
    assert "12 of 2,400 loops, 0.50% (0.29% to 0.87%)" in found["alarms"]
    line = "| inverted | global | pure | **99.5% (97% to 100%)** | 100.0% (98% to 100%) | 99.5%"
    assert line in found["found"]
    assert "**100.0% (98% to 100%)** | 0% | 300 |" in found["found"]
