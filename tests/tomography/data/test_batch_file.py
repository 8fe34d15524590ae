"""Batches: what a controller would apply from the file is the measurement that was asked for."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from physml.cli.main import main
from physml.exceptions import InputError, OutputError
from physml.tomography import Setting
from physml.tomography.core.measurements import global_setting, pauli_settings, product_setting
from physml.tomography.data.batch_file import euler_angles, write_batch


def haar(n, rng):
    return np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))[0]


def gate(theta, phi, lam):
    """u3 as OpenQASM 2 defines it, written down once more: Rz Ry Rz, up to a phase."""

    def rz(a):
        return np.diag([np.exp(-0.5j * a), np.exp(0.5j * a)])

    c, s = np.cos(theta / 2), np.sin(theta / 2)
    return rz(phi) @ np.array([[c, -s], [s, c]]) @ rz(lam)


def effects_of(applied):
    """Effects of: apply a matrix to the state, then read 0 and 1 out."""
    rows = applied.conj()
    return np.einsum("ki,kj->kij", rows, rows.conj())


@pytest.mark.parametrize(
    "unitary",
    [np.eye(2), np.diag([1, 1j]), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]])]
    + [haar(2, np.random.default_rng(k)) for k in range(20)],
)
def test_angles_are_those_of_the_unitary(unitary):
    found = gate(*euler_angles(np.asarray(unitary, complex)))
    assert abs(np.trace(found.conj().T @ unitary)) == pytest.approx(2, abs=1e-9)


def product(n=2, seed=0, name="a"):
    rng = np.random.default_rng(seed)
    return product_setting(np.stack([haar(2, rng) for _ in range(n)]), 100, name)


def test_json_of_product_settings(tmp_path):
    settings = [product(), replace(pauli_settings(2)[5], shots=7, id="b")]
    path = tmp_path / "batch.json"
    write_batch(settings, path)
    body = json.loads(path.read_text())
    assert body["format"] == "physml tomography batch 1"
    for asked, row in zip(settings, body["settings"], strict=True):
        applied = np.kron(*(gate(*angles) for angles in row["euler"]))
        assert np.allclose(effects_of(applied), asked.effects, atol=1e-9)
        assert (row["id"], row["shots"]) == (asked.id, asked.shots)
        again = Setting.from_dict(row)  # and it is a setting as `next` prints it
        assert np.allclose(again.effects, asked.effects)
        # The circuit has the same gates, and qubit 0 in the leftmost bit.
        gates = re.findall(r"^u3\((.*)\) q\[(\d)\];$", row["qasm"], re.MULTILINE)
        for angles, qubit in gates:
            assert np.allclose([float(x) for x in angles.split(",")], row["euler"][int(qubit)])
        assert re.findall(r"measure q\[(\d)\] -> c\[(\d)\]", row["qasm"]) == [
            ("0", "1"), ("1", "0")
        ]  # fmt: skip
    assert [row["pauli"] for row in body["settings"]] == [None, "YZ"]


def test_json_of_a_basis_of_all_qubits(tmp_path):
    asked = global_setting(haar(4, np.random.default_rng(1)), 10, "g")
    write_batch([asked], tmp_path / "g.json")
    row = json.loads((tmp_path / "g.json").read_text())["settings"][0]
    pairs = np.asarray(row["unitary"])
    assert np.allclose(effects_of(pairs[..., 0] + 1j * pairs[..., 1]), asked.effects)
    with pytest.raises(InputError, match="a basis of all qubits together"):
        write_batch([asked], tmp_path / "g.csv")
    assert not (tmp_path / "g.csv").exists()


def test_csv_of_angles(tmp_path):
    path = tmp_path / "batch.csv"
    write_batch([product(name="a"), product(seed=1, name="b")], path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["a", "b"]
    for k, row in enumerate(rows):
        local = [
            gate(*(float(row[f"{name}{q}"]) for name in ("theta", "phi", "lambda")))
            for q in range(2)
        ]
        assert np.allclose(effects_of(np.kron(*local)), product(seed=k).effects, atol=1e-9)
    with pytest.raises(OutputError):
        write_batch([product()], path)
    with pytest.raises(InputError, match=r"ends in \.json or \.csv"):
        write_batch([product()], tmp_path / "batch.txt")


def test_a_batch_by_the_command_and_its_counts(tmp_path, capsys):
    session, batch, counts = (tmp_path / n for n in ("s.jsonl", "b.json", "c.json"))
    begin = ["tomography", "next", str(session), "--design", "product", "--estimator", "linear"]
    plan = ["--settings", "6", "--copies", "600", "--batch", str(batch)]
    assert main([*begin, *plan]) == 0
    assert "6 settings, 600 copies" in capsys.readouterr().out
    rows = json.loads(batch.read_text())["settings"]
    answers = [{"id": r["id"], "counts": {r["outcomes"][0]: r["shots"]}} for r in rows]
    counts.write_text(json.dumps(answers))
    before = session.read_bytes()
    # There is a file of that name: nothing is asked for.
    assert main([*begin, *plan]) == 2
    assert session.read_bytes() == before
    capsys.readouterr()
    again = ["tomography", "next", str(session), "--add", str(counts)]
    assert main([*again, "--settings", "2", "--copies", "50"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    for wrong in (["--settings", "2"], ["--copies", "9"], ["--settings", "3", "--copies", "2"],
                  ["--settings", "2", "--copies", "9", "--shots", "3"]):  # fmt: skip
        assert main([*again, *wrong]) == 2
