"""Sealed families of processes, the continuous family, and the factor that is chosen on it."""

from __future__ import annotations

import numpy as np
import pytest
import qutip

from physml.tomography.core.process.channels import (
    average_gate_fidelity,
    check_choi,
    choi_of_kraus,
    transform,
    unitarity,
)
from physml.tomography.evaluation import process_stretch
from physml.tomography.evaluation.process_stretch import LARGEST, needed, quantile
from physml.tomography.evaluation.sealed_processes import (
    SEALED_PROCESSES,
    sealed_processes,
    thermal_damping,
)
from physml.tomography.inference.process.functionals import DIAMOND, Drawn, interval, quantities
from physml.tomography.simulator import processes as sim


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("family", SEALED_PROCESSES)
def test_lists_are_of_processes_and_stay_as_they_are(family, n):
    many = sealed_processes(family, n, 6)
    few = sealed_processes(family, n, 2)
    assert all((a[0] == b[0]).all() for a, b in zip(few, many[:2], strict=True))
    for choi, meant in many:
        check_choi(choi)
        assert np.abs(meant @ meant.conj().T - np.eye(1 << n)).max() < 1e-9
    # What is meant is what is nearly done, but where the process destroys all entanglement.
    overlap = [float(average_gate_fidelity(choi, meant)) for choi, meant in many]
    if family == "entanglement_breaking":
        assert max(overlap) <= 2 / ((1 << n) + 1) + 1e-9
        partial = many[0][0].reshape([1 << n] * 4).transpose(0, 3, 2, 1).reshape([4**n] * 2)
        assert np.linalg.eigvalsh(partial)[0] > -1e-9  # no entanglement: positive partial transpose
    else:
        assert min(overlap) > 0.5


def test_thermal_damping_ends_in_its_population():
    choi = choi_of_kraus(thermal_damping(1.0, 0.3))
    for state in (np.diag([1, 0]), np.diag([0, 1])):
        assert np.allclose(transform(choi, state + 0j), np.diag([0.7, 0.3]))


@pytest.mark.parametrize("d", [2, 4])
def test_drift_is_that_of_the_master_equation(d, monkeypatch):
    """The same drift by qutip's solver, from the same draws."""
    taken = {}
    kron = np.kron

    def keep(a, b):
        if a.shape == (d, d):
            taken.setdefault("parts", []).append((a, b))
        return kron(a, b)

    monkeypatch.setattr(sim.np, "kron", keep)
    choi, unitary = sim.drifting(d, np.random.default_rng(3))
    monkeypatch.undo()
    check_choi(choi)
    left = taken["parts"][0][0]
    jumps = [qutip.Qobj(a) for a, _ in taken["parts"][2:-1]]
    h = qutip.Qobj(0.5j * (left - left.conj().T))
    rho = np.zeros((d, d), complex)
    rho[0, 0] = 1
    start = unitary @ rho @ unitary.conj().T
    end = qutip.mesolve(
        h, qutip.Qobj(start), [0, 1], jumps, options={"atol": 1e-11, "rtol": 1e-9}
    ).states[-1]
    assert np.abs(transform(choi, rho) - end.full()).max() < 1e-6


def test_drift_reaches_from_unitaries_to_strong_noise():
    rng = np.random.default_rng(0)
    values = [float(unitarity(sim.drifting(2, rng)[0])) for _ in range(200)]
    assert np.quantile(values, 0.1) < 0.5
    assert np.quantile(values, 0.8) > 0.99


def test_the_factor_is_the_least_that_holds():
    quantity = next(q for q in quantities(1, np.eye(2)) if q.name == DIAMOND)
    drawn = Drawn(0.5, np.random.default_rng(0).normal(0.5, 0.02, 4000))
    assert needed(quantity, drawn, 0.5) == 0
    factor = needed(quantity, drawn, 0.58)
    assert factor == pytest.approx(0.08 / (1.645 * 0.02), rel=0.05)
    for scale, inside in ((1.001, True), (0.999, False)):
        found = interval(quantity, drawn, 0.9, factor * scale)
        assert (found.low <= 0.58 <= found.high) == inside
    assert needed(quantity, Drawn(0.5, np.full(9, 0.5)), 0.7) == LARGEST


def test_conformal_quantile_holds_as_often_as_asked():
    assert quantile([1.0] * 8) == LARGEST  # nine are needed for nine tenths
    assert quantile(range(9)) == 8
    rng = np.random.default_rng(1)
    held = [rng.normal() <= quantile(rng.normal(size=30)) for _ in range(2000)]
    assert np.mean(held) == pytest.approx(28 / 31, abs=0.02)


def test_one_drawn_process_of_a_qubit():
    row = process_stretch.one(1, 5)
    low, high = process_stretch.COPIES[1]
    assert low <= row["copies"] <= high
    assert (row["needed"] <= 1) == (row["low"] <= row["truth"] <= row["high"])
    assert row == process_stretch.one(1, 5)
