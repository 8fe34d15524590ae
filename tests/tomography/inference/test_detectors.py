"""Readout errors that are correlated, uncertain or in another order; cases with the right value."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from physml.cli.main import main
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.calibration import product_of, reversed_bits
from physml.tomography.core.measurements import pauli_settings
from physml.tomography.core.operators import fidelity
from physml.tomography.core.readout import Readout, estimate_confusion, flips
from physml.tomography.data.records import Measurement, Records
from physml.tomography.data.records_file import load_records
from physml.tomography.inference.carried import in_frame, readout_shifts, widened
from physml.tomography.inference.posterior import Posterior
from physml.tomography.inference.readout_order import order_of_readout
from physml.tomography.inference.tomographer import Tomographer

BELL = states.named_state("phi+", 2)
RHO = states.with_white_noise(BELL, 0.03).reshape(4, 4)


def measured(readout: Readout, shots: int, seed: int, rho=RHO) -> list[Measurement]:
    """Counts of all Pauli settings of a laboratory with these readout errors."""
    rng, out = stream(51, "test", seed), []
    for setting in pauli_settings(2, shots):
        p = np.einsum("kij,ji->k", readout.apply(setting).effects, rho.numpy()).real.clip(0)
        out.append(Measurement(replace(setting, shots=shots), rng.multinomial(shots, p / p.sum())))
    return out


def calibration(readout: Readout, shots: int, seed: int) -> np.ndarray:
    rng = stream(52, "test", seed)
    return np.stack([rng.multinomial(shots, column) for column in readout.matrix.T])


def estimated(measurements, readout, estimator="maximum_likelihood") -> Tomographer:
    records = Records(2, list(measurements), readout)
    return Tomographer.from_records(records, estimator=estimator)


def overlap(tomographer: Tomographer, rho=RHO) -> float:
    return float(fidelity(torch.from_numpy(tomographer.density_matrix)[None], rho[None])[0])


def test_correlated_readout_needs_a_matrix_of_all_qubits():
    joint = product_of(flips([0.02, 0.02]))
    joint[:, 3] = [0.12, 0.01, 0.01, 0.86]  # both fall at once
    laboratory = Readout(joint)
    counts = measured(laboratory, 20_000, 0)
    table = calibration(laboratory, 20_000, 0)
    together, alone = estimate_confusion(table), estimate_confusion(table, joint=False)
    assert together.joint is not None
    true = float(fidelity(RHO[None], BELL.reshape(1, 4, 4))[0])
    found = {
        name: overlap(estimated(counts, readout), BELL.reshape(4, 4))
        for name, readout in (("together", together), ("alone", alone))
    }
    # 180,000 copies know it to 0.0015.
    assert found["together"] == pytest.approx(true, abs=0.005)
    assert abs(found["alone"] - true) > 0.008


def test_an_uncertain_calibration_widens_as_its_counts_say():
    """With many copies the error of 200 calibration shots is all that is left."""
    laboratory = Readout(flips([0.05, 0.1], [0.08, 0.12]))
    shifts = {}
    for shots in (200, 20_000):
        given = estimate_confusion(calibration(laboratory, shots, 1), joint=False)
        data = measured(laboratory, 100_000, 1)
        moved = readout_shifts(data, given, stream(53, "test", 0))
        assert moved.diagonal(dim1=-2, dim2=-1).sum(-1).abs().max() < 1e-9
        shifts[shots] = torch.einsum("ij,bji->b", BELL.reshape(4, 4), moved).real
    spread = {shots: float(s.square().mean().sqrt()) for shots, s in shifts.items()}
    # Errors of fidelity by hand: that of XX, YY, ZZ is e = e_1 + e_2 each with (1 - 2 p) slopes;
    # with 400 shots of each qubit's 0 and 1 they are about 0.02, and a tenth with 100 times more.
    assert 0.008 < spread[200] < 0.04
    assert spread[200] / spread[20_000] == pytest.approx(10, rel=0.4)


def test_the_linear_answer_of_one_qubit_and_its_error():
    """<Z> = (read - b) / (1 - 2 a ...): the interval has the error of that formula."""
    rho = torch.diag(torch.tensor([0.8, 0.2], dtype=torch.complex128))
    laboratory = Readout(flips([0.1], [0.1]))
    rng = stream(54, "test", 0)
    counts = [rng.multinomial(200, column) for column in laboratory.matrix.T]
    given = estimate_confusion(np.stack(counts))
    data = []
    for setting in pauli_settings(1, 10**6):
        p = np.einsum("kij,ji->k", laboratory.apply(setting).effects, rho.numpy()).real
        data.append(Measurement(setting, np.round(1e6 * p).astype(np.int64)))
    made = Tomographer.from_records(Records(1, data, given), estimator="maximum_likelihood")
    up = made.functional(states.projector(torch.tensor([1, 0], dtype=torch.complex128)))
    a, b = given.confusion[0, 1, 0], given.confusion[0, 0, 1]
    read = 0.8 * 0.9 + 0.2 * 0.1
    assert up.value == pytest.approx((read - b) / (1 - a - b), abs=2e-3)
    # Derivatives of that by a and b, times their standard errors.
    p = (read - b) / (1 - a - b)
    ea, eb = given.error[0, 1, 0], given.error[0, 0, 1]
    sigma = np.hypot(p * ea, (1 - p) * eb) / (1 - a - b)
    assert up.high - up.low == pytest.approx(2 * 1.645 * sigma, rel=0.5)
    exact = Tomographer.from_records(
        Records(1, data, Readout(given.confusion)), estimator="maximum_likelihood"
    )
    alone = exact.functional(states.projector(torch.tensor([1, 0], dtype=torch.complex128)))
    assert alone.high - alone.low < 0.2 * (up.high - up.low)


@pytest.mark.slow
def test_regions_hold_with_200_calibration_shots():
    """Fidelities of Hilbert-Schmidt states: 90 % promised, and half of it without the spread."""
    truths = states.hilbert_schmidt(24, 4, stream(55, "test", 0))
    rng = stream(56, "test", 0)
    held = {"uncertain": 0, "as if exact": 0}
    for k, rho in enumerate(truths):
        laboratory = Readout(flips(rng.uniform(0.02, 0.1, 2), rng.uniform(0.02, 0.15, 2)))
        data = measured(laboratory, 20_000, 100 + k, rho)
        given = estimate_confusion(calibration(laboratory, 200, 100 + k), joint=False)
        target = states.projector(torch.tensor([1, 0, 0, 0], dtype=torch.complex128))
        truth = float(fidelity(rho[None], target[None])[0])
        for name, readout in (("uncertain", given), ("as if exact", Readout(given.confusion))):
            found = estimated(data, readout, "neural").functional(target)
            held[name] += found.low <= truth <= found.high
    # 22 of 24 are expected, and 17 are three sigma away; about half without.
    assert held["uncertain"] >= 17
    assert held["as if exact"] < 17


def test_widened_samples_have_the_sum_of_both_variances():
    rng = stream(57, "test", 0)
    base = 0.25 * torch.eye(4, dtype=torch.complex128)
    z = torch.diag(torch.tensor([1, 1, -1, -1], dtype=torch.complex128)) / 4

    def along(x):
        return x[:, None, None] * z

    own, other = (torch.from_numpy(s * rng.standard_normal(4000)) for s in (0.05, 0.12))
    posterior = Posterior(
        base + along(own), torch.full((4000,), 1 / 4000, dtype=torch.float64), base
    )
    made = widened(posterior, along(other), rng)
    found = torch.einsum("bij,ji->b", made.particles, 4 * z / 4).real * 4 / 1
    assert float(found.std()) == pytest.approx(np.hypot(0.05, 0.12), rel=0.05)
    stretched = widened(replace(posterior, calibrated=lambda level: 0.01), along(other), rng)
    ratio = (0.05**2 + 0.12**2) / 0.05**2  # infidelities go with the square
    assert stretched.radius(0.9)[0] == pytest.approx(0.01 * ratio, rel=0.2)


def test_frame_and_back():
    rng = stream(58, "test", 0)
    rho = states.hilbert_schmidt(3, 4, rng)
    a = torch.from_numpy(rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4)))
    frame = a @ a.mH + torch.eye(4)
    there = in_frame(rho, frame)
    assert torch.allclose(torch.einsum("bii->b", there).real, torch.ones(3, dtype=torch.float64))
    assert torch.allclose(in_frame(there, torch.linalg.inv(frame)), rho)


def test_a_calibration_in_qiskits_order_is_told():
    laboratory = Readout(flips([0.02, 0.12], [0.05, 0.2]))
    data = measured(laboratory, 10_000, 3)
    table = calibration(laboratory, 10_000, 3)
    right = estimate_confusion(table)
    wrong = estimate_confusion(table[np.ix_(reversed_bits(2), reversed_bits(2))])
    assert order_of_readout(data, right) is None
    text = order_of_readout(data, wrong)
    assert text is not None
    assert "reverse order" in text
    assert "bit_order" in text
    # Errors that are alike have no order.
    same = Readout(flips([0.1, 0.1]))
    assert order_of_readout(data, same) is None


def estimate(capsys, *arguments):
    options = ["--estimator", "maximum_likelihood", "--json"]
    code = main(["tomography", "predict", *map(str, arguments), *options])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out)


def values(found):
    return {f["name"]: f["value"] for f in found["functionals"]}


def test_the_order_is_told_on_the_command_line_and_drift_is_not(tmp_path, capsys):
    laboratory = Readout(flips([0.02, 0.12], [0.05, 0.2]))
    table = calibration(laboratory, 10_000, 3)
    rows = ["axes,00,01,10,11"]
    rows += [
        f"{m.setting.id},{','.join(map(str, m.counts))}" for m in measured(laboratory, 10_000, 3)
    ]
    (tmp_path / "c.csv").write_text("\n".join(rows))
    turned = table[np.ix_(reversed_bits(2), reversed_bits(2))].tolist()
    (tmp_path / "r.json").write_text(json.dumps({"calibration": turned}))
    given = [tmp_path / "c.csv", "--readout", tmp_path / "r.json", "--target", "phi+"]
    wrong = estimate(capsys, *given)
    assert any("reverse order" in text for text in wrong["warnings"])
    assert not any("drift" in text for text in wrong["warnings"])
    right = estimate(capsys, *given, "--readout-order", "qiskit")
    assert right["warnings"] == []
    truth = float(fidelity(RHO[None], BELL.reshape(1, 4, 4))[0])
    assert values(right)["fidelity"] == pytest.approx(truth, abs=0.01)


@pytest.fixture
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases" / "tomography"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder


@pytest.mark.parametrize("kind", ["calibration", "confusion4x4"])
def test_case_of_correlated_readout(cases, capsys, kind):
    data = cases / "03_correlated_readout.csv"
    found = estimate(
        capsys, data, "--target", "phi+", "--readout", cases / f"03_correlated_readout_{kind}.json"
    )
    assert values(found)["fidelity"] == pytest.approx(0.985, abs=0.002)
    assert values(found)["purity"] == pytest.approx(0.970, abs=0.004)
    told = any("correlated" in text and "sigma" in text for text in found["warnings"])
    assert told == (kind == "calibration")


def test_case_of_the_coincidence_window(cases, capsys):
    found = estimate(capsys, cases / "11_coincidence_window_ignored.json")
    assert values(found)["purity"] == pytest.approx(0.915, abs=0.015)
    assert any("4320 of 22201" in text for text in found["warnings"])


def test_case_of_sixteen_projectors(cases, capsys):
    found = estimate(capsys, cases / "12_sixteen_projectors.json")
    assert values(found)["purity"] == pytest.approx(0.930, abs=0.005)
    assert values(found)["concurrence"] == pytest.approx(0.905, abs=0.005)


def test_case_of_the_row_that_is_there_twice(cases, capsys, tmp_path):
    file = cases / "13_row_twice.json"
    assert main(["tomography", "predict", str(file)]) == 2
    assert "row 37 (HH) with the numbers of row 1 (HH)" in capsys.readouterr().err
    data = json.loads(file.read_text())
    data["data"] = data["data"][1:-1]  # neither of them
    (tmp_path / "lost.json").write_text(json.dumps(data))
    records = load_records(tmp_path / "lost.json")
    assert len(records.measurements[0].counts) == 35
    found = estimate(capsys, tmp_path / "lost.json")
    assert values(found)["purity"] == pytest.approx(0.930, abs=0.015)


@pytest.mark.parametrize("name", ["14_identity_efficiency_crosstalk", "15_measurement_densities"])
def test_cases_that_are_read(cases, capsys, name):
    found = estimate(capsys, cases / f"{name}.json", "--quick")
    assert values(found)["purity"] == pytest.approx(0.930, abs=0.01)
    assert values(found)["concurrence"] == pytest.approx(0.900, abs=0.01)
