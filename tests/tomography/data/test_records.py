"""Files of measurements: what is written is read again, and what others write is understood."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data, write_csv, write_json

from physml.exceptions import OutputError
from physml.tomography import (
    Measurement,
    Records,
    SimulatedLaboratory,
    Stop,
    Tomographer,
    load_records,
    save_records,
    steer,
)
from physml.tomography.core.readout import Readout, flips

BELL = noisy("psi-", 0.1)
DATA = pauli_data(BELL, 300)


def same(a: Records, b: Records, exact: bool = True) -> None:
    assert a.n_qubits == b.n_qubits
    assert len(a.measurements) == len(b.measurements)
    for one, two in zip(a.measurements, b.measurements, strict=True):
        assert one.setting.id == two.setting.id
        assert one.setting.shots == two.setting.shots
        assert one.setting.outcomes == two.setting.outcomes
        assert one.time == two.time
        assert np.array_equal(one.counts, two.counts)
        assert np.abs(one.setting.effects - two.setting.effects).max() < 1e-12
        for name in ("local", "basis"):
            mine, yours = getattr(one.setting, name), getattr(two.setting, name)
            assert (mine is None) == (yours is None)
            assert mine is None or np.array_equal(mine, yours)


@pytest.mark.parametrize("design", ["product", "global", "sic"])
@pytest.mark.parametrize("ending", [".json", ".h5"])
def test_any_settings_survive(design, ending, tmp_path):
    made = Tomographer(2, design, "linear", session=tmp_path / "s.jsonl")
    steer(made, SimulatedLaboratory(BELL), Stop(measurements=5))
    setting = made.next_measurement(10)
    made.update(setting, SimulatedLaboratory(BELL).measure(setting), time=17.25)
    records = made.records
    readout = None if design == "sic" else Readout(flips([0.1, 0.2]), known=False)
    written = Records(2, records.measurements, readout)
    save_records(written, tmp_path / f"r{ending}")
    read = load_records(tmp_path / f"r{ending}")
    same(written, read)
    if readout is not None:
        assert np.allclose(read.readout.confusion, readout.confusion)
        assert not read.readout.known
    same(records, load_records(tmp_path / "s.jsonl"))  # the session is a file of records as well
    with pytest.raises(OutputError):
        save_records(written, tmp_path / f"r{ending}")


@pytest.mark.parametrize("ending", [".json", ".h5"])
def test_calibration_gives_the_readout(ending, tmp_path):
    confusion = flips([0.1, 0.05], [0.02, 0.03])
    counts = np.round(1e6 * np.kron(confusion[0], confusion[1]).T).astype(np.int64)
    records = Records(2, [Measurement(s, c) for s, c in DATA], calibration=counts)
    assert np.allclose(records.readout.confusion, confusion, atol=1e-5)
    save_records(records, tmp_path / f"r{ending}")
    read = load_records(tmp_path / f"r{ending}")
    assert np.array_equal(read.calibration, counts)
    assert np.allclose(read.readout.confusion, records.readout.confusion)


def test_csv_long_and_wide_and_json_say_the_same(tmp_path):
    wide = load_records(write_csv(tmp_path / "wide.csv", DATA))
    lines = ["axes;outcome;counts"]
    lines += [f"{s.id};{o};{c}" for s, cs in DATA for o, c in zip(s.outcomes, cs, strict=True)]
    (tmp_path / "long.csv").write_text("# by hand\n" + "\n".join(lines) + "\n\n")
    long = load_records(tmp_path / "long.csv")
    text = load_records(write_json(tmp_path / "r.json", DATA))
    same(wide, long)
    same(wide, text)
    for m, (setting, counts) in zip(wide.measurements, DATA, strict=True):
        assert np.array_equal(m.counts, counts)
        assert np.abs(m.setting.effects - setting.effects).max() < 1e-12
    save_records(wide, tmp_path / "again.csv")
    same(wide, load_records(tmp_path / "again.csv"))


def test_qubit_0_is_the_first_digit(tmp_path):
    """|0> on the left, |1> on the right: outcome 01 along ZZ."""
    (tmp_path / "a.csv").write_text("axes,00,01,10,11\nZZ,0,1000,0,0\n")
    made = Tomographer.from_records(load_records(tmp_path / "a.csv"), estimator="linear")
    assert made.density_matrix[1, 1].real == made.density_matrix.real.max()


def test_counts_of_qiskit_have_their_last_bit_first(tmp_path):
    body = {"ZX": {"01": 900, "11": 100}}  # X on qubit 0, which read 1 always; Z on qubit 1
    (tmp_path / "q.json").write_text(json.dumps(body))
    (found,) = load_records(tmp_path / "q.json").measurements
    assert found.setting.id == "XZ"
    assert found.counts.tolist() == [0, 0, 900, 100]


@pytest.mark.parametrize(
    ("path", "options", "target", "fidelity", "purity", "concurrence"),
    [
        ("twin_photons_MIT/counts.csv", {"repeats": 50}, [1, 0, 0, 1], 0.996, 0.994, 0.994),
        ("kwiat_examples_MIT/bell_psi_data.txt", {}, None, None, 0.738, 0.708),
    ],
)
def test_real_data_by_maximum_likelihood(
    shared_data, path, options, target, fidelity, purity, concurrence
):
    """Published by maximum likelihood: both agree to the digits given."""
    records = load_records(shared_data / "quantum" / path, **options)
    made = Tomographer.from_records(records, estimator="maximum_likelihood")
    rho = torch.from_numpy(made.density_matrix)
    from physml.tomography.core import operators

    assert float(operators.purity(rho)) == pytest.approx(purity, abs=6e-4)
    assert float(operators.concurrence(rho)) == pytest.approx(concurrence, abs=6e-4)
    if target is not None:
        psi = torch.tensor(target, dtype=torch.complex128) / 2**0.5
        assert float((psi.conj() @ rho @ psi).real) == pytest.approx(fidelity, abs=6e-4)
