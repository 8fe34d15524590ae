"""The report of tomography: examples, what is said of them, and the page."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import yaml
from fakes.tomography_evaluation import a_result

from physml.exceptions import InputError
from physml.stages.report import Measured
from physml.templates import render
from physml.tomography import TomographyPredictor, load_records, report
from physml.tomography.core.operators import concurrence, fidelity, purity
from physml.tomography.settings import ReportSettings, TomographySettings

PNG = b"\x89PNG not really"


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """A machine without the measured pairs."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PHYSML_SHARED_DATA", str(tmp_path / "empty"))


@pytest.fixture
def stage(tmp_path, no_data):
    """Run the stage on the simulated example; an evaluation lies beside it."""
    evaluation = tmp_path / "evaluation"
    (evaluation / "figures").mkdir(parents=True)
    (evaluation / "metrics.json").write_text(json.dumps(a_result()))
    for name in ("infidelity_2", "infidelity_2_median", "latency", "other"):
        (evaluation / "figures" / f"{name}.png").write_bytes(PNG)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"not read")

    def run(**settings):
        out = tmp_path / "report"
        report.run(
            settings=TomographySettings.model_validate({"report": {"copies": 300} | settings}),
            evaluation=evaluation,
            weights=weights,
            out=out,
        )
        return out

    return run


def test_report_compares_with_the_truth(stage):
    out = stage()
    assert {p.name for p in out.iterdir() if not p.name.startswith(".")} == {
        *("records.h5", "density_matrix.csv", "overview.png", "summary.json", "index.html")
    }
    summary = json.loads((out / "summary.json").read_text())
    assert summary["simulated"] is True
    assert summary["weights"] == "shipped with physml"
    assert summary["provenance"]["stage"] == "report"
    rho = np.array(summary["density_matrix"]) @ [1, 1j]
    truth = report.simulated_state(TomographySettings().seed)
    far = 1 - float(fidelity(torch.from_numpy(rho), truth))
    assert summary["truth"]["infidelity"] == pytest.approx(far, abs=1e-6)
    assert far < 0.1
    radius = summary["methods"]["neural"]["radius"]
    assert summary["truth"]["inside"] == (far <= radius)
    assert set(summary["methods"]) == {"neural", *report.OTHERS}
    assert load_records(out / "records.h5").copies == summary["copies_measured"] == 300
    text = (out / "index.html").read_text()
    assert "This is a simulated experiment" in text
    assert text.count("data:image/png;base64,") == 3  # the overview and two that are shown
    assert re.findall(r'(?:src|href)="(?!data:)([^"]*)"', text) == []


def test_data_that_are_asked_for_and_missing_are_named(stage, tmp_path):
    with pytest.raises(InputError, match="twin photons"):
        stage(example="twin_photons")
    assert not (tmp_path / "report").exists()


def test_simulated_pair_is_what_its_note_says():
    truth = report.simulated_state(7)
    assert torch.linalg.eigvalsh(truth).numpy() == pytest.approx([0.0075] * 3 + [0.9775])
    # Of a Werner state with visibility v: purity (1 + 3 v^2) / 4, concurrence (3 v - 1) / 2; local
    # unitaries change neither.
    v = 1 - report.NOISE
    assert float(purity(truth[None])[0]) == pytest.approx((1 + 3 * v**2) / 4)
    assert float(concurrence(truth[None])[0]) == pytest.approx((3 * v - 1) / 2)
    assert not torch.allclose(truth, report.simulated_state(8))


def test_simulated_pair_is_measured_in_product_bases():
    predictor = TomographyPredictor.load()
    records = report.simulated_records(predictor, report.simulated_state(1), 300, 1)
    assert records.copies == 300
    assert all(m.setting.local is not None for m in records.measurements)
    again = report.simulated_records(predictor, report.simulated_state(1), 300, 1)
    for a, b in zip(records.measurements, again.measurements, strict=True):
        assert np.array_equal(a.counts, b.counts)


def test_measured_pairs_agree_with_maximum_likelihood(shared_data, monkeypatch):
    """Twin photons: F(Phi+) 0.996, purity 0.994, concurrence 0.994 by maximum likelihood."""
    monkeypatch.setenv("PHYSML_SHARED_DATA", str(shared_data))
    if report.measured_pairs() is None:
        pytest.skip("the twin photons are not among the shared data")
    predictor = TomographyPredictor.load()
    kind, records, truth = report.make_example(ReportSettings(), predictor, 1)
    assert kind == "twin_photons"
    assert truth is None
    assert records.copies == pytest.approx(21_649, abs=5)
    found = predictor.predict(records, target=[1, 0, 0, 1], goodness=False, history=False)
    wanted = {"fidelity": 0.996, "purity": 0.994, "concurrence": 0.994}
    for interval in found.functionals:
        assert interval.low <= wanted[interval.name] <= interval.high
        assert interval.high - interval.low < 0.02


def test_smoke_settings_are_settings(root):
    """What is named in the file exists, and the smoke run is small."""
    text = (root / "pipelines" / "tomography" / "smoke.yaml").read_text()
    settings = TomographySettings.model_validate(yaml.safe_load(text))
    full = TomographySettings()
    assert settings.simulate.n_samples * 10 < full.simulate.n_samples
    assert settings.evaluate.copies < full.evaluate.copies


def summary_of(**others):
    result = a_result()
    row = {"value": 0.99, "low": 0.98, "high": 0.995}
    numbers = {"fidelity": row, "purity": row, "radius": 0.002}
    made = {
        "example": "twin photons",
        "simulated": False,
        "note": "Measured.",
        "weights": "of a test",
        "summary": "<b>600</b> copies",
        "warnings": ["<i>odd</i>"],
        "level": 0.9,
        "truth": None,
        "methods": {"neural": numbers, "particle_filter": numbers},
        "copies": result["copies"],
        "evaluation": {"2 qubits, hs": {"linear, pauli": [0.1, 0.01, 0.001, 0.0001]}},
        "coverage": {"2 qubits, hs": {}},
        "ledger": {"2 qubits, hs": "not sealed: something <was> chosen", "2 qubits, test": ""},
        "latency": result["latency"],
    }
    return made | others


def page(summary, overview, pictures):
    template = "tomography/evaluation/page.html.jinja"
    return render(template, summary=summary, overview=overview, pictures=pictures)


def test_page_escapes_and_does_not_claim_a_simulation(tmp_path):
    picture = tmp_path / "overview.png"
    picture.write_bytes(PNG)
    text = page(summary_of(), picture, {"latency": picture})
    assert "&lt;b&gt;600" in text
    assert "&lt;i&gt;odd" in text
    assert "<i>odd" not in text
    assert "simulated experiment" not in text
    assert "<td>2 qubits, hs: linear, pauli</td><td>0.1</td>" in text
    assert "0.9900 (0.9800 to 0.9950)" in text
    assert "34 times as long" in text
    assert "2 qubits, hs: not sealed: something &lt;was&gt; chosen." in text
    assert "2 qubits, test:" not in text


def test_page_says_where_the_truth_is(tmp_path):
    picture = tmp_path / "overview.png"
    picture.write_bytes(PNG)
    truth = {"infidelity": 0.003, "inside": False, "purity": 0.9557, "concurrence": 0.955}
    text = page(summary_of(simulated=True, truth=truth), picture, {})
    assert "infidelity of 0.003 of the estimate, outside the 90% region" in text


def test_pictures_are_found_in_their_order(tmp_path):
    for name in ("latency", "infidelity_1", "infidelity_2", "infidelity_2_percentile_95", "x"):
        (tmp_path / f"{name}.png").write_bytes(PNG)
    shown = Measured(None, "", {}, tmp_path).pictures(report.SHOWN)
    assert list(shown) == ["infidelity_2", "infidelity_1", "latency"]
