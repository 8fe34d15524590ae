"""Processes: closed forms, qutip as another implementation, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.exceptions import InputError
from physml.tomography.core.process import channels as ch
from physml.tomography.core.process.diamond import diamond_bounds
from physml.tomography.core.process.preparations import cardinal_inputs, input_names, input_state
from physml.tomography.simulator import processes as sim


@pytest.mark.parametrize("d", [2, 4])
@pytest.mark.parametrize("p", [0.0, 0.03, 0.4])
def test_depolarising_in_closed_form(d, p):
    """F = 1 - p (d^2 - 1) / d^2; average (d F + 1) / (d + 1); unitarity (1 - p)^2."""
    choi, identity = ch.choi_of_kraus(sim.depolarising(d, p)), np.eye(d)
    f = 1 - p * (d * d - 1) / d**2
    assert ch.process_fidelity(choi, identity) == pytest.approx(f, abs=1e-12)
    assert ch.average_gate_fidelity(choi, identity) == pytest.approx((d * f + 1) / (d + 1))
    assert ch.unitarity(choi) == pytest.approx((1 - p) ** 2)
    want = np.diag([1.0] + [1 - p] * (d * d - 1))
    assert ch.pauli_transfer(choi) == pytest.approx(want, abs=1e-12)
    low, high = diamond_bounds(choi - ch.choi_of_unitary(identity))
    assert low == pytest.approx(1 - f, abs=1e-6)
    assert high == pytest.approx(1 - f, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.6])
def test_amplitude_damping_in_closed_form(gamma):
    """F = (1 + sqrt(1 - g))^2 / 4; unitarity ((1 - g)^2 + 2 (1 - g)) / 3; diamond distance g."""
    choi = ch.choi_of_kraus(sim.amplitude_damping(gamma))
    f = (1 + (1 - gamma) ** 0.5) ** 2 / 4
    assert ch.process_fidelity(choi, np.eye(2)) == pytest.approx(f)
    assert ch.unitarity(choi) == pytest.approx(((1 - gamma) ** 2 + 2 * (1 - gamma)) / 3)
    excited = ch.transform(choi, np.diag([0, 1]).astype(complex))
    assert excited == pytest.approx(np.diag([gamma, 1 - gamma]))
    low, high = diamond_bounds(choi - ch.choi_of_unitary(np.eye(2)), 400)
    assert low <= gamma + 1e-9 <= high + 2e-9
    assert high - low < 2e-3


@pytest.mark.parametrize("angle", [1e-3, 0.1, 1.0])
def test_diamond_distance_of_rotations(angle):
    """Of exp(-i a Z / 2) and 1 it is sin(a / 2), for a below pi; also beside another qubit."""
    z = np.diag(np.exp([-0.5j * angle, 0.5j * angle]))
    for u in (z, np.kron(z, np.eye(2))):
        low, high = diamond_bounds(ch.choi_of_unitary(u) - ch.choi_of_unitary(np.eye(len(u))))
        assert low == pytest.approx(np.sin(angle / 2), rel=1e-4)
        assert high == pytest.approx(np.sin(angle / 2), rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.sampled_from([2, 4]))
def test_families_are_processes_and_bounds_enclose(seed, d):
    rng = np.random.default_rng(seed)
    names = list(sim.FAMILIES)
    a, b = (sim.draw(names[rng.integers(len(names))], d, rng) for _ in range(2))
    for choi in (a, b):
        assert np.abs(ch.check_choi(choi) - choi).max() < 1e-9
        again = ch.choi_of_kraus(ch.kraus_of_choi(choi))
        assert np.abs(again - choi).max() < 1e-9
    low, high = diamond_bounds(a - b, 40)
    half = 0.5 * np.abs(np.linalg.eigvalsh(a - b)).sum()
    assert half / d - 1e-9 <= low <= high <= min(1.0, half) + 1e-9
    # What any input shows is no more than the diamond distance.
    state = rng.standard_normal((d, 2)) @ np.array([1, 1j])
    rho = np.outer(state, state.conj()) / np.vdot(state, state).real
    seen = np.linalg.eigvalsh(ch.transform(a, rho) - ch.transform(b, rho))
    assert 0.5 * np.abs(seen).sum() <= high + 1e-9


def test_as_qutip_has_it():
    qutip = pytest.importorskip("qutip")
    rng = np.random.default_rng(0)
    for d in (2, 4):
        kraus = sim.FAMILIES["random_rank"](d, rng)
        choi = ch.choi_of_kraus(kraus)
        operators = [qutip.Qobj(k) for k in kraus]
        theirs = qutip.kraus_to_choi(operators)
        assert np.abs(theirs.full() - choi).max() < 1e-12
        u = sim.haar(d, rng)[0]
        want = qutip.average_gate_fidelity(qutip.to_super(theirs), qutip.Qobj(u))
        assert ch.average_gate_fidelity(choi, u) == pytest.approx(want, abs=1e-10)
        x = sim.haar(d, rng)[0][:, 0]
        rho = np.outer(x, x.conj())
        want = sum(k @ rho @ k.conj().T for k in kraus)
        assert np.abs(ch.transform(choi, rho) - want).max() < 1e-12


def test_gates_are_unitary_and_named():
    for name, gate in ch.GATES.items():
        assert ch.as_unitary(name, len(gate).bit_length() - 1) is gate
        assert np.abs(gate @ gate.conj().T - np.eye(len(gate))).max() < 1e-12
    # Qubit 0, the leftmost, controls.
    assert ch.GATES["cx"][2:, 2:] == pytest.approx(ch.GATES["x"])
    for wrong in ("cx", "nothing", np.ones((2, 2)), np.eye(4), [["a"]]):
        with pytest.raises(InputError, match="target="):
            ch.as_unitary(wrong, 1)


@pytest.mark.parametrize(
    ("label", "n", "names"),
    [
        ("0+", 2, ("0", "+")),
        ("+i", 1, ("+i",)),
        ("+i", 2, ("+", "+i")),
        ("i-i", 2, ("+i", "-i")),
        ("Zp,Xm", 2, ("0", "-")),
        ("y- z-", 2, ("-i", "1")),
        ("rl", 2, ("+i", "-i")),
    ],
)
def test_labels_of_inputs(label, n, names):
    assert input_names(label, n) == names


def test_inputs():
    for label, n in (("0", 2), ("2", 1), ("", 1), ("000", 2), ("H", 1)):
        with pytest.raises(InputError, match="input"):
            input_names(label, n)
    paulis = {"0": "z", "+": "x", "+i": "y"}
    for name, axis in paulis.items():
        assert np.trace(ch.GATES[axis] @ input_state((name,))).real == pytest.approx(1)
    states = np.stack([input_state(names) for names in cardinal_inputs(2)])
    assert np.linalg.matrix_rank(states.reshape(36, 16)) == 16
