"""Shadows: values and bounds against the exact state; files; bases that were not drawn."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.tomography.core.stabilisers import named_generators, stabiliser_group
from physml.tomography.data.shadow_records import load_shadow_records
from physml.tomography.inference.shadows.collective import fidelity, purity
from physml.tomography.inference.shadows.observables import observables

R = 0.5**0.5
BASES = {
    "X": np.array([[R, R], [R, -R]]),
    "Y": np.array([[R, R], [1j * R, -1j * R]]),
    "Z": np.eye(2),
}
PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def kron(matrices):
    out = np.ones((1, 1))
    for m in matrices:
        out = np.kron(out, m)
    return out


def ghz(n, white=0.1):
    psi = np.zeros(2**n)
    psi[0] = psi[-1] = R
    return (1 - white) * np.outer(psi, psi) + white * np.eye(2**n) / 2**n


def shots(rho, number, rng, letters="XYZ"):
    """Random Pauli bases and one outcome of each."""
    n = len(rho).bit_length() - 1
    known, out = {}, []
    for _ in range(number):
        axes = "".join(rng.choice(list(letters), n))
        if axes not in known:
            u = kron([BASES[a] for a in axes])
            known[axes] = np.clip(np.einsum("ik,ij,jk->k", u.conj(), rho, u).real, 0, None)
        p = known[axes]
        out.append((axes, format(rng.choice(len(p), p=p / p.sum()), f"0{n}b")))
    return out


def save(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["axes", "outcome"])
        writer.writerows(rows)
    return load_shadow_records(path)


def test_observables_hold_together(tmp_path):
    rng, names, missed = np.random.default_rng(0), ["ZZI", "XXX", "IZZ", "XYY", "IIX"], 0
    rho = ghz(3)
    truth = [np.trace(rho @ kron([PAULIS[p] for p in name])).real for name in names]
    for k in range(40):
        data = save(tmp_path / f"{k}.csv", shots(rho, 400, rng))
        found = observables(data, names, 0.9)
        missed += any(not e.low <= t <= e.high for e, t in zip(found, truth, strict=True))
        for each, name in zip(found, names, strict=True):
            weight = 3 - name.count("I")
            assert 0.3 * 400 / 3**weight < each.copies < 2 * 400 / 3**weight
    assert missed <= 8  # 4 are expected at most
    data = save(tmp_path / "many.csv", shots(rho, 6000, rng))
    for each, value in zip(observables(data, names, 0.9, "median_of_means"), truth, strict=True):
        weight = 3 - each.name.count("I")
        assert each.variance_bound == 3**weight
        assert each.value == pytest.approx(value, abs=6 * (3**weight / 6000) ** 0.5)
        assert each.low <= value <= each.high


def test_fidelity_and_purity(tmp_path):
    rng, rho = np.random.default_rng(1), ghz(3)
    truth, pair = 0.9 + 0.1 / 8, 0.9**2 * 0.5 + (1 - 0.9**2) * 0.25
    held, values = [], []
    for k in range(25):
        data = save(tmp_path / f"{k}.csv", shots(rho, 3000, rng))
        f, p = fidelity(data, "ghz"), purity(data, [0, 2])
        held.append((f.low <= truth <= f.high, p.low <= pair <= p.high))
        values.append((f.value, p.value))
    assert np.mean(held, 0).min() >= 0.72
    mean, error = np.mean(values, 0), np.std(values, 0) / 5
    assert np.abs(mean - (truth, pair)).max() < 4 * error.max()
    assert (np.abs(mean - (truth, pair)) < 4 * error).all()
    same = fidelity(data, ["XXX", "ZZI", "IZZ"])
    assert same.value == pytest.approx(f.value)
    assert fidelity(data, ["-XXX", "ZZI", "IZZ"]).value < 0.1


def test_known_settings_and_missing_stabilisers(tmp_path):
    """Bases that were not drawn: without bias by compatible shots, refused by classical shadows."""
    rng, rho = np.random.default_rng(2), ghz(2, 0.0)
    rows = []
    for axes in ("XX", "ZZ"):
        p = np.diag(kron([BASES[a] for a in axes]).conj().T @ rho @ kron([BASES[a] for a in axes]))
        p = p.real / p.real.sum()
        rows += [(axes, format(rng.choice(4, p=p), "02b")) for _ in range(100)]
    data = save(tmp_path / "a.csv", rows)
    found = observables(data, ["XX", "ZZ"])
    assert [e.value for e in found] == [1.0, 1.0]
    assert all(e.high == 1.0 and 0.9 < e.low < 1 for e in found)
    with pytest.raises(InputError, match="YY"):
        observables(data, ["YY"])
    with pytest.raises(InputError, match="drawn uniformly"):
        observables(data, ["XX"], method="median_of_means")
    each = fidelity(data, ["XX", "ZZ"])  # YY was not measured: it may be anything
    assert each.low <= 0.5
    assert each.high == 1.0
    with pytest.raises(InputError, match="shots for each observable"):
        purity(data, [0, 1])


def test_given_unitaries(tmp_path):
    """Haar-random local bases: the same state by the snapshots of any product basis."""
    rng, rho = np.random.default_rng(3), ghz(2, 0.0)
    rows = []
    for _ in range(4000):
        a = rng.standard_normal((2, 2, 2, 2)) @ np.array([1, 1j])
        u = np.linalg.qr(a)[0]
        whole = kron(list(u))
        p = np.clip(np.einsum("ik,ij,jk->k", whole.conj(), rho, whole).real, 0, None)
        outcome = format(rng.choice(4, p=p / p.sum()), "02b")
        rows.append({"local": np.stack([u.real, u.imag], -1).tolist(), "outcome": outcome})
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"measurements": rows}))
    data = load_shadow_records(path)
    for name, value in (("XX", 1), ("YY", -1), ("ZZ", 1), ("XI", 0)):
        each = observables(data, [name], method="median_of_means")[0]
        assert each.value == pytest.approx(value, abs=0.25)
        assert each.low <= value <= each.high
    with pytest.raises(InputError, match="median_of_means"):
        observables(data, ["XX"])


def test_many_qubits(tmp_path):
    """Sixty qubits in |0...0>: no density matrix would have room."""
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(500):
        axes = "".join(rng.choice(list("XYZ"), 60))
        bits = "".join("0" if a == "Z" else str(rng.integers(2)) for a in axes)
        rows.append((axes, bits))
    data = save(tmp_path / "a.csv", rows)
    found = observables(data, ["ZZ" + "I" * 58, "X" + "I" * 59], 0.99)
    assert found[0].value == 1
    assert found[1].low < 0 < found[1].high
    assert purity(data, [5]).high == 1
    with pytest.raises(InputError, match="at most 10 qubits"):
        fidelity(data, "ghz")


def test_stabilisers():
    for name in ("ghz", "cluster", "0+1-"):
        group = stabiliser_group(named_generators(name, 4))
        assert len(group) == 16
        total = sum(sign * kron([PAULIS[p] for p in text]) for text, sign in group) / 16
        assert np.abs(total @ total - total).max() < 1e-12
        assert np.trace(total).real == pytest.approx(1)
    assert ("YY", -1) in stabiliser_group(["XX", "ZZ"])
    for wrong in (["XX", "XX"], ["XI", "ZI"], ["X", "ZZ"], ["II", "ZZ"]):
        with pytest.raises(InputError):
            stabiliser_group(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outcome\n01\n", "axes"),
        ("axes,outcome\nXW,01\n", "row 1"),
        ("axes,outcome\nXZ,02\n", "digits"),
        ("axes,outcome\nXZ,011\n", "digits"),
        ("axes,outcome\nXZ,01\nXZX,011\n", "row 2"),
        ("axes,outcome,counts\nXZ,01,1.5\n", "whole"),
        ("axes,outcome,counts\nXZ,01,-1\n", "whole"),
        ("axes,outcome,counts\nXZ,01,x\n", "whole"),
        ("axes,outcome,counts\nXZ,01,1\nXZ,01,1\n", "once"),
        ("axes,outcome,counts\nXZ,01,0\n", "counts"),
        ("axes,outcome\nXZ\n", "2 cells"),
    ],
)
def test_what_is_refused(tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_shadow_records(path)


def test_wide_and_long_alike(tmp_path):
    for k, text in enumerate(
        (
            "axes,00,01,10,11\nXZ,3,0,1,2\n",
            "axes,outcome,counts\nxz,00,3\nxz,10,1\nxz,11,2\n",
        )
    ):
        path = tmp_path / f"{k}.csv"
        path.write_text(text)
        data = load_shadow_records(path)
        assert data.copies == 6
        assert observables(data, ["XZ"])[0].value == pytest.approx((3 - 1 + 2) / 6)
