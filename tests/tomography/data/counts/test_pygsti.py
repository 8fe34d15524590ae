"""Data sets of pyGSTi: the basis after the gates, the order of lines, what is no state."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data

from physml.exceptions import InputError
from physml.tomography import Tomographer, load_records
from physml.tomography.core.measurements import pauli_setting
from physml.tomography.data.counts.pygsti import gates

#: Gate that turns each axis to Z, with outcome 0 for the eigenvalue +1.
TURN = {"Z": "", "X": "Gympi2", "Y": "Gxpi2"}
HEAD = "## Columns = 00 count, 01 count, 10 count, 11 count"
DATA = pauli_data(noisy("phi+", 0.1), 400)


def write(tmp_path, *lines):
    path = tmp_path / "dataset.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def circuit(axes, lines=(0, 1)):
    turned = "".join(f"{TURN[a]}:{k}" for a, k in zip(axes, lines, strict=True) if TURN[a])
    return (f"[{turned}]" if turned else "{}") + f"@({','.join(map(str, lines))})"


@pytest.mark.parametrize("lines", [(0, 1), (3, 1), ("Qa", "Qb")])
def test_gates_become_the_measured_basis(tmp_path, lines):
    rows = [" ".join([circuit(s.id, lines), *map(str, c)]) for s, c in DATA]
    records = load_records(write(tmp_path, "# by hand", HEAD, *rows))
    assert records.copies == 3600
    for m, (setting, counts) in zip(records.measurements, DATA, strict=True):
        assert np.abs(m.setting.effects - setting.effects).max() < 1e-12
        assert m.counts.tolist() == counts.tolist()
    assert "gates are taken to be perfect" in records.remarks[0]
    made = Tomographer.from_records(records, estimator="maximum_likelihood")
    assert np.abs(made.density_matrix[0, 3] - 0.45) < 0.05


@pytest.mark.parametrize(
    ("text", "axes", "flips"),
    [
        ("{}", "Z", False),
        ("Gxpi2:0", "Y", False),
        ("Gx:0", "Y", False),
        ("Gypi2:0", "X", True),
        ("Gh:0", "X", False),
        ("Gpdag:0Gh:0", "Y", False),
        ("(Gx:0)^2", "Z", True),
        ("Gx:0^3", "Y", True),
        ("Gx:0Gx:0Gx:0", "Y", True),
        ("Gxpi:0*Gi:0", "Z", True),
        ("rho0Gi:0Mdefault", "Z", False),
    ],
)
def test_circuits_of_one_qubit(tmp_path, text, axes, flips):
    """A state that gives 0 with certainty, by hand: turned to Z, or to minus Z."""
    path = write(tmp_path, "## Columns = 0 count, 1 count", f"{text} 7 3")
    (found,) = load_records(path, kind="pygsti").measurements
    effects = pauli_setting(axes).effects[:: -1 if flips else 1]
    assert np.abs(found.setting.effects - effects).max() < 1e-12
    assert found.counts.tolist() == [7, 3]


def test_gates_are_rotations_about_their_axes():
    for name, unitary in gates().items():
        assert np.abs(unitary.conj().T @ unitary - np.eye(2)).max() < 1e-12, name
    # expm(-i pi/4 sigma_x), as pyGSTi defines Gxpi2
    assert np.allclose(gates()["Gxpi2"], np.array([[1, -1j], [-1j, 1]]) / 2**0.5)
    assert np.allclose(gates()["Gypi2"], np.array([[1, -1], [1, 1]]) / 2**0.5)


def test_outcomes_behind_each_circuit_and_repeats(tmp_path):
    path = write(
        tmp_path,
        "{}@(0,1) 00:10 11:5",
        "{}@(0,1) 00:9 11:6  # again",
        "Gh:1@(0,1) 01:3 00:4",
        "Gh:0@(0,1) 00:0 11:0",
        "Gh:0@(0,1) BAD",
    )
    records = load_records(path)
    assert [m.counts.tolist() for m in records.measurements] == [
        [10, 0, 0, 5],
        [9, 0, 0, 6],
        [4, 3, 0, 0],
    ]
    assert [m.setting.id for m in records.measurements][1] == "{}@(0,1)#2"
    assert (
        np.abs(records.measurements[2].setting.effects - pauli_setting("ZX").effects).max() < 1e-9
    )
    assert any("line 4, line 5" in remark for remark in records.remarks)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Gx:0Gx:0Gy:0Gx:0@(0,1) 1 2 3 4"], "at most 3 gates a qubit"),
        (["(Gx:0Gy:0)^64@(0,1) 1 2 3 4"], "at most 3 gates a qubit"),
        (["Gcnot:0:1@(0,1) 1 2 3 4"], "gates of one qubit"),
        (["Gu3;0.1;0.2;0.3:0@(0,1) 1 2 3 4"], "gates of one qubit"),
        (["Gfoo:0@(0,1) 1 2 3 4"], "gates of one qubit"),
        (["Gx:2@(0,1) 1 2 3 4"], "gates on the lines 0, 1"),
        (["{}@(0,1) 1 2 3 4", "{}@(1,0) 1 2 3 4"], "the same lines"),
        (["{}@(0,1) 1 2 3"], "4 counts in line 2"),
        (["{}@(0,1) 1.5 2 3 4"], "whole numbers"),
        (["{}@(0,1) -1 2 3 4"], "0 or more"),
        (["{}@(0) 1 2 3 4"], "--measured 0"),
        (["{}@(0,1)"], "a circuit and its counts"),
        (["(Gx:0@(0,1) 1 2 3 4"], "brackets that match"),
        (["Gx:0)@(0,1) 1 2 3 4"], "brackets that match"),
        (["hello 1 2 3 4"], "a circuit of pyGSTi"),
        ([], "circuits and their counts"),
    ],
)
def test_what_is_no_tomography_of_a_state_is_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        load_records(write(tmp_path, HEAD, *lines))
