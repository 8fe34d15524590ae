"""Files as a whole: what is there twice, shots that do not add up, rounded bases, marginals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data, write_csv, write_json

from physml.cli.main import main
from physml.exceptions import InputError
from physml.tomography import Measurement, Records, Tomographer, load_records, save_records
from physml.tomography.core.measurements import Setting, pauli_setting, product_setting
from physml.tomography.core.operators import random_unitary
from physml.tomography.core.readout import flips
from physml.tomography.data.counts.marginals import marginal

HEAD = "id,axes,00,01,10,11"
ROWS = ["a0,XX,470,13,17,500", "a1,XY,243,247,243,267", "a2,ZZ,495,15,10,480"]


def file(tmp_path: Path, *lines: str, name: str = "counts.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


# --- the same measurement twice ---------------------------------------------------------------


def test_a_copy_of_a_row_counts_once(tmp_path, capsys):
    path = file(tmp_path, HEAD, *ROWS, ROWS[0])
    records = load_records(path)
    assert (records.copies, len(records.measurements)) == (3000, 3)
    assert records.remarks == ["counted once, though in the file twice: 'a0' (line 2, line 5)"]
    command = ["tomography", "predict", str(path), "--estimator", "linear", "--quick"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "3000 copies in 3 measurements" in text
    assert "'a0' (line 2, line 5)" in text


def test_copies_in_json_hdf5_and_python_count_once(tmp_path):
    made = [Measurement(s, c) for s, c in pauli_data(noisy(), 300)]
    twice = Records(2, [*made, made[3]])
    assert (twice.copies, len(twice.measurements)) == (2700, 9)
    assert "measurement 3, measurement 9" in twice.remarks[0]
    body = {"measurements": [m.to_dict() for m in [*made, made[0], made[0]]]}
    (tmp_path / "r.json").write_text(json.dumps(body))
    read = load_records(tmp_path / "r.json")
    assert (read.copies, len(read.measurements)) == (2700, 9)
    assert "measurement 0, measurement 10" in read.remarks[0]
    save_records(twice, tmp_path / "r.h5")
    assert load_records(tmp_path / "r.h5").copies == 2700


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a0,XX,471,13,17,500", ["'a0'", "[470, 13, 17, 500] (line 2)", "[471, 13, 17, 500]"]),
        ("a0,XY,470,13,17,500", ["line 2", "line 5", "of other settings"]),
    ],
)
def test_an_id_with_other_counts_names_both_rows(tmp_path, row, words):
    with pytest.raises(InputError) as error:
        load_records(file(tmp_path, HEAD, *ROWS, row))
    assert all(word in str(error.value) for word in [*words, "(line 5)"])


def test_the_same_setting_under_another_id_is_another_measurement(tmp_path):
    records = load_records(file(tmp_path, HEAD, *ROWS, "a3,XX,480,10,19,491"))
    assert (records.copies, records.remarks) == (4000, [])


def test_equal_counts_under_another_id_are_named_where_chance_is_small(tmp_path):
    records = load_records(file(tmp_path, HEAD, *ROWS, "a3,XX,470,13,17,500"))
    assert records.copies == 4000
    (remark,) = records.remarks
    assert "line 2 and line 5" in remark
    # Without ids too; but a certain outcome, or few shots, are no reason for suspicion.
    short = ["axes,0,1", "X,252,248", "X,252,248", "Z,500,0", "Z,500,0", "Y,3,1", "Y,3,1"]
    assert load_records(file(tmp_path, *short)).remarks == []
    long = ["axes,00,01,10,11", *["XX,251,250,249,250"] * 2]
    assert "line 2 and line 3" in load_records(file(tmp_path, *long)).remarks[0]


# --- shots ------------------------------------------------------------------------------------


def test_counts_that_fall_short_of_the_shots_are_said(tmp_path):
    head = "axes,shots,00,01,10,11"
    path = file(tmp_path, head, "XX,1200,470,13,17,500", "ZZ,1000,495,15,10,480")
    records = load_records(path)
    (remark,) = records.remarks
    assert "1 of 2 settings" in remark
    assert "XX 1,000 of 1,200" in remark
    assert "200 of 2,200 copies" in remark
    assert [m.setting.shots for m in records.measurements] == [1200, 1000]
    for ending in (".json", ".h5"):
        save_records(records, tmp_path / f"again{ending}")
        (again,) = load_records(tmp_path / f"again{ending}").remarks
        assert "200 of 2,200 copies" in again


def test_more_counts_than_shots_are_refused(tmp_path):
    path = file(tmp_path, "axes,shots,00,01,10,11", "XX,900,470,13,17,500")
    with pytest.raises(InputError, match="1000 counts in 900 shots of XX"):
        load_records(path)
    long = ["axes,outcome,counts,shots", "X,0,60,100", "X,1,50,100"]
    with pytest.raises(InputError, match="110 counts in 100 shots"):
        load_records(file(tmp_path, *long))
    with pytest.raises(InputError, match="the same shots in all lines of X"):
        load_records(file(tmp_path, *long[:2], "X,1,40,120"))
    body = {"shots": 90, "measurements": [{"axes": "X", "counts": [50, 50]}]}
    (tmp_path / "r.json").write_text(json.dumps(body))
    with pytest.raises(InputError, match="100 counts in 90 shots"):
        load_records(tmp_path / "r.json")


def test_a_setting_that_nobody_planned_says_nothing_of_shots(tmp_path):
    """`pauli_setting` is of one copy: who writes its counts does not mean one shot."""
    records = Records(1, [Measurement(pauli_setting("X"), np.array([60, 40]))])
    for ending in (".json", ".h5"):
        save_records(records, tmp_path / f"r{ending}")
        read = load_records(tmp_path / f"r{ending}")
        assert read.remarks == []
        assert read.measurements[0].setting.shots == 100


# --- rounded bases ----------------------------------------------------------------------------


def rounded(setting: Setting, name: str, decimals: int) -> dict:
    data = setting.to_dict() if name != "effects" else {"id": "a", "shots": 100}
    array = getattr(setting, name)
    data.pop("local", None)
    data[name] = np.round(np.stack([array.real, array.imag], -1), decimals).tolist()
    return data


def write_setting(tmp_path, data):
    body = {"measurements": [{"setting": data, "counts": [30, 20, 10, 40]}]}
    (tmp_path / "r.json").write_text(json.dumps(body))
    return tmp_path / "r.json"


@pytest.mark.parametrize("name", ["local", "basis", "effects"])
@pytest.mark.parametrize("decimals", [3, 5])
def test_rounded_settings_are_made_exact(tmp_path, name, decimals):
    unitaries = random_unitary(2, 2, np.random.default_rng(4))
    setting = product_setting(unitaries, 100, "a")
    records = load_records(write_setting(tmp_path, rounded(setting, name, decimals)))
    found = records.measurements[0].setting
    assert np.abs(found.effects.sum(0) - np.eye(4)).max() < 1e-12
    assert np.abs(found.effects - setting.effects).max() < 4 * 10.0**-decimals
    assert "were rounded and made exact again: 'a'" in records.remarks[0]


def test_two_decimals_of_a_root_are_enough(tmp_path):
    path = write_setting(tmp_path, rounded(pauli_setting("XY"), "local", 2))
    found = load_records(path)
    assert np.abs(found.measurements[0].setting.effects - pauli_setting("XY").effects).max() < 1e-9
    assert "local off by 0.008" in found.remarks[0]


def test_what_is_no_rounding_is_refused(tmp_path):
    data = rounded(pauli_setting("XY"), "local", 2)
    data["local"][0][0][0] = [0.72, 0.0]  # off by 0.0225
    with pytest.raises(InputError, match="orthonormal columns"):
        load_records(write_setting(tmp_path, data))
    lossy = rounded(pauli_setting("XY"), "effects", 9)
    lossy["effects"] = (0.999123 * np.array(lossy["effects"])).tolist()  # a loss of 0.1 %
    with pytest.raises(InputError, match="sum to the identity"):
        load_records(write_setting(tmp_path, lossy))


# --- marginals --------------------------------------------------------------------------------


@pytest.mark.parametrize("qubits", [(0, 2), (2, 0), (1,), (2, 1, 0)])
def test_marginals_are_of_the_state_that_is_left(qubits):
    """Expected counts of a product of three states: those of a product of some of them."""
    rng = np.random.default_rng(2)
    vectors = random_unitary(3, 2, rng)[:, :, 0].numpy()
    made = []
    for setting, _ in pauli_data(torch.eye(8, dtype=torch.complex128) / 8, 10):
        p = [np.abs(b.conj().T @ v) ** 2 for b, v in zip(setting.local, vectors, strict=True)]
        counts = 1e6 * np.einsum("a,b,c->abc", *p).ravel()
        made.append(Measurement(setting, np.round(counts).astype(np.int64)))
    part = marginal(Records(3, made), qubits)
    assert part.n_qubits == len(qubits)
    for m, whole in zip(part.measurements, made, strict=True):
        expected = np.ones(1)
        for q in qubits:
            b = whole.setting.local[q]
            expected = np.kron(expected, np.abs(b.conj().T @ vectors[q]) ** 2)
        assert np.abs(m.counts / m.counts.sum() - expected).max() < 1e-5
        p = np.einsum("kij,j,i->k", m.setting.effects, *_states(vectors, qubits)).real
        assert np.abs(p - expected).max() < 1e-9


def _states(vectors, qubits):
    psi = np.ones(1)
    for q in qubits:
        psi = np.kron(psi, vectors[q])
    return psi, psi.conj()


def test_marginals_of_a_file_keep_calibration_and_readout(tmp_path, capsys):
    confusion = flips([0.1, 0.02], [0.05, 0.03])
    counts = np.round(1e6 * np.kron(confusion[0], confusion[1]).T).astype(int)
    path = write_json(tmp_path / "r.json", pauli_data(noisy("psi-", 0.1), 400))
    body = json.loads(path.read_text()) | {"calibration": counts.tolist()}
    path.write_text(json.dumps(body))
    part = load_records(path, measured=[1])
    assert part.n_qubits == 1
    assert np.allclose(part.readout.confusion, confusion[1:], atol=1e-5)
    assert "qubit 0 was left out, of 2" in part.remarks
    command = ["tomography", "predict", str(path), "--estimator", "linear", "--measured", "1"]
    assert main([*command, "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_qubits"] == 1  # of a singlet: half of it is white
    assert found["functionals"][0]["value"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ("0,3", "qubits from 0 to 1"),
        ("0,0", "different numbers"),
        ("a", "numbers such as 0,1"),
        ("-1", "numbers such as 0,1"),
        ("", "numbers such as 0,1"),
    ],
)
def test_qubits_that_cannot_be(tmp_path, capsys, measured, message):
    path = write_csv(tmp_path / "c.csv", pauli_data(noisy(), 100))
    assert main(["tomography", "predict", str(path), f"--measured={measured}"]) == 2
    assert message in capsys.readouterr().err


def test_some_of_the_qubits_need_measurements_of_each(tmp_path):
    with Tomographer(2, "global", "linear", session=tmp_path / "s.jsonl") as made:
        made.update(made.next_measurement(10), [1, 2, 3, 4])
    with pytest.raises(InputError, match="each qubit by itself"):
        load_records(tmp_path / "s.jsonl", measured=[0])
