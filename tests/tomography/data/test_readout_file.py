"""Readout errors in the forms of several programs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core.calibration import product_of, reversed_bits
from physml.tomography.core.measurements import pauli_settings
from physml.tomography.core.readout import Readout, estimate_confusion, flips
from physml.tomography.data.readout_file import read_readout
from physml.tomography.data.records import Measurement, Records
from physml.tomography.data.records_file import load_records, save_records
from physml.tomography.inference.by_name import make_readout

EACH = flips([0.02, 0.1], [0.05, 0.2])
MATRIX = product_of(EACH)
COUNTS = np.round(1e6 * MATRIX.T).astype(int)
BITS = ["00", "01", "10", "11"]
TURNED = reversed_bits(2)


def by_bits(turn: bool, key=str) -> dict:
    """Counts by prepared and read bits, in our order or in qiskit's."""
    step = -1 if turn else 1
    return {
        BITS[t][::step]: {key(BITS[m][::step]): int(COUNTS[t, m]) for m in range(4)}
        for t in range(4)
    }


def hexadecimal(bits: str) -> str:
    return hex(int(bits, 2))


FORMS = {
    "matrices": {"confusion": EACH.tolist()},
    "one matrix": {"confusion": MATRIX.tolist()},
    "one matrix, qiskit": {
        "confusion": MATRIX[np.ix_(TURNED, TURNED)].tolist(),
        "bit_order": "qiskit",
    },
    "table": {"calibration": COUNTS.tolist()},
    "table, qiskit": {
        "calibration": COUNTS[np.ix_(TURNED, TURNED)].tolist(),
        "bit_order": "little-endian",
    },
    "bits": {"calibration": by_bits(False)},
    "bits, qiskit": {"calibration": by_bits(True), "bit_order": "qiskit"},
    "bits, hexadecimal": {"calibration": by_bits(True, hexadecimal), "bit_order": "qiskit"},
    "bare bits are qiskit's": by_bits(True),
    "correlated mitigator": {"assignment_matrix": MATRIX[np.ix_(TURNED, TURNED)].tolist()},
    "local mitigator": {"assignment_matrices": EACH.tolist(), "qubits": [3, 5]},
    "mthree": {"cals": [None, *[m.ravel().tolist() for m in EACH], None], "shots": 10**6},
    "mthree, named": {
        "cals": [EACH[1].tolist(), EACH[1].tolist(), EACH[0].tolist()],
        "qubits": [2, 0],
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_say_the_same(form, tmp_path):
    file = tmp_path / "readout.json"
    file.write_text(json.dumps(FORMS[form]))
    found = read_readout(str(file), 2)
    assert np.abs(found.matrix - MATRIX).max() < 2e-5
    assert found.known


def test_option_says_the_order(tmp_path):
    file = tmp_path / "readout.json"
    file.write_text(json.dumps({"calibration": by_bits(True)}))
    assert np.abs(read_readout(str(file), 2, "qiskit").matrix - MATRIX).max() < 2e-5
    plain = read_readout(str(file), 2)
    assert np.abs(plain.reversed().matrix - MATRIX).max() < 2e-5
    assert any("qubit 0 first" in text for text in plain.notes)  # what is assumed is said
    file.write_text(json.dumps({"calibration": by_bits(True), "bit_order": "qiskit"}))
    with pytest.raises(InputError, match="as the file says"):
        read_readout(str(file), 2, "first")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"confusion": MATRIX.T.tolist()}, "transposed"),
        ({"confusion": np.eye(8).tolist()}, "readout errors of 2 qubits"),
        ({"calibration": {"00": {"00": 5}, "1": {"1": 5}}}, "one length"),
        ({"calibration": {"00": {"0": 5}, "11": {"11": 5}}}, "2 bits"),
        ({"calibration": {"00": {"00": 5.5}, "11": {"11": 5}}}, "whole number"),
        ({"calibration": {"00": {"00": 5}}}, "prepared in 0 and in 1"),
        ({"calibration": {"00": [5, 1], "11": [1, 5]}}, "mapping"),
        ({"calibration": COUNTS.tolist(), "bit_order": "sideways"}, "qiskit"),
        ({"assignment_matrices": [EACH[0].tolist()]}, "2 matrices"),
        ({"assignment_matrix": "no"}, "numbers"),
        ({"cals": [EACH[0].ravel().tolist()]}, "calibrations of 2 qubits"),
        ({"cals": [None, None], "qubits": [0, 1]}, "calibrated qubits"),
        ({"cals": 5}, "a list"),
        ({"nothing": 1}, "confusion"),
        ([1], "an object"),
    ],
)
def test_other_forms_are_refused(data, message, tmp_path):
    file = tmp_path / "readout.json"
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        read_readout(str(file), 2)


def test_finite_calibrations_are_uncertain(tmp_path):
    file = tmp_path / "readout.json"
    counts = np.stack([stream(1, "test", t).multinomial(200, MATRIX[:, t]) for t in range(4)])
    file.write_text(json.dumps({"calibration": counts.tolist()}))
    assert read_readout(str(file), 2).uncertain
    file.write_text(json.dumps({"cals": [m.ravel().tolist() for m in EACH], "shots": 200}))
    assert read_readout(str(file), 2).uncertain
    file.write_text(json.dumps({"confusion": EACH.tolist()}))
    assert not read_readout(str(file), 2).uncertain


def test_mitigators_are_taken_as_they_are():
    turned = MATRIX[np.ix_(TURNED, TURNED)]
    mitigator = SimpleNamespace(assignment_matrix=lambda: turned)
    assert np.allclose(make_readout(mitigator, 2).matrix, MATRIX)
    m3 = SimpleNamespace(single_qubit_cals=[None, EACH[0], EACH[1]])
    assert np.allclose(make_readout(m3, 2).matrix, MATRIX)


@pytest.mark.parametrize("ending", [".json", ".h5"])
@pytest.mark.parametrize("joint", [False, True])
def test_records_keep_an_uncertain_readout(tmp_path, ending, joint):
    counts = np.stack([stream(2, "test", t).multinomial(300, MATRIX[:, t]) for t in range(4)])
    readout = estimate_confusion(counts, joint=joint)
    data = [Measurement(s, np.array([5, 6, 7, 8])) for s in pauli_settings(2, 26)]
    given = (
        Records(2, data, readout),
        Records(2, data, readout, calibration=counts),
        Records(2, data, Readout(EACH, error=np.full((2, 2, 2), 0.01))),
    )
    for k, records in enumerate(given):
        path = tmp_path / f"{k}{ending}"
        save_records(records, path)
        read = load_records(path).readout
        assert read.uncertain
        drawn = [r.draw(stream(3, "test", 0)).matrix for r in (read, records.readout)]
        if k != 1 or not joint or ending == ".h5":  # JSON keeps counts, and chooses again
            assert np.allclose(read.matrix, records.readout.matrix)
            assert np.allclose(*drawn)
