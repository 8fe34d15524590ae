"""The report stage with a detector whose answer is known."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from physml.cavities import report
from physml.cavities.core.ellipse import draw_labels
from physml.cavities.inference.detector import COLUMNS, Detection
from physml.cavities.predict import CavityPredictor
from physml.cavities.settings import CavitiesSettings
from physml.evaluation.sealed import remark
from physml.exceptions import InputError, PhysmlError
from physml.templates import render


class TwoCavities:
    """Sees a pair of discs of radius 8 pixels in every field."""

    def __init__(self):
        self.card = {"version": "test"}
        self.version = "test"

    def threshold(self, total_counts: float) -> float:
        return 0.5

    def detect(self, counts, exposure=None, background=None, invalid=None, centre=None, **_):
        out = []
        for image in counts:
            middle = (image.shape[0] - 1) / 2
            table = Table({name: np.zeros(2) for name in COLUMNS})
            table["x"], table["y"] = [middle - 20, middle + 20], [middle, middle]
            for name in ("semi_major", "semi_minor", "radius"):
                table[name] = 8.0
            table["radius_err"], table["position_err"], table["area"] = 0.5, 0.7, np.pi * 64
            table["decrement"], table["decrement_err"], table["snr"] = 0.2, 0.02, 12.0
            table["probability"] = [0.95, 0.8]
            labels = draw_labels(table, image.shape)
            probability = np.where(labels > 0, 0.9, 0.02).astype(np.float32)
            model = np.full(image.shape, max(image.mean(), 1e-3), np.float32)
            out.append(Detection(probability, labels, table, model, 0.5))
        return out


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Run the stage; an evaluation of one set lies beside it."""
    evaluation = tmp_path / "evaluation"
    (evaluation / "figures").mkdir(parents=True)
    summary = {"value": 0.912, "low": 0.9, "high": 0.92}
    part = {
        "images": 12,
        "strict": {"f1": summary, "alarmed": summary, "at_alarm": {"binned": summary}},
        "pixels": {"ap": summary},
    }
    metrics = {"sets": {"clean": part}, "cpu_seconds_per_image": 0.25}
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    picture = b"\x89PNG not really"
    (evaluation / "figures" / "alarms.png").write_bytes(picture)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"not read")
    monkeypatch.setattr(
        "physml.stages.report.load_for_report",
        lambda pipeline, own: (CavityPredictor(TwoCavities()), "of a test"),
    )

    def run(**settings):
        out = tmp_path / "report"
        report.run(
            settings=CavitiesSettings.model_validate(settings),
            evaluation=evaluation,
            weights=weights,
            out=out,
        )
        return out

    return run


def check_page(out):
    text = (out / "index.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    # Nothing is fetched from anywhere: all pictures are inside.
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert text.count("data:image/png;base64,") == 2  # overview and the one figure there was
    assert "0.912" in text
    # What was decided from the set stands beside its figures.
    assert remark("cavities", "clean")
    assert html.escape(remark("cavities", "clean")) in text
    return text


def test_real_image(stage, shared_data):
    out = stage()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["example"] == "ngc5813"
    assert not summary["simulated"]
    assert summary["cavities"]
    assert summary["units"]["radius"] == "arcsec"
    assert summary["provenance"]["inputs"]["image"]["file"] == "NGC5813.fits"
    assert "simulated observation" not in check_page(out)
    for name in ("probability.fits", "cavities.reg", "cavities.ecsv", "cavities.fits"):
        assert (out / name).stat().st_size > 0
    assert not (out / report.SIMULATED).exists()


def test_without_file_and_network_a_simulated_image_and_says_so(stage, monkeypatch, caplog):
    def no_network(name):
        raise PhysmlError("no connection")

    monkeypatch.setattr("physml.datasets.find_data", lambda name: None)
    monkeypatch.setattr("physml.datasets.fetch_data", no_network)
    out = stage()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["simulated"]
    assert "no connection" in caplog.text
    text = check_page(out)
    assert "This is a simulated observation, not a real one." in text
    counts = fits.getdata(out / report.SIMULATED)
    assert counts.shape == (128, 128)
    assert counts.sum() == pytest.approx(3e5, rel=0.05)
    assert len(summary["cavities"]) == 2
    assert summary["cavities"][0]["probability"] > summary["cavities"][1]["probability"]


def test_unknown_example_is_refused_and_leaves_nothing(stage, tmp_path):
    with pytest.raises(InputError, match="abell9999"):
        stage(report={"example": "abell9999"})
    assert not (tmp_path / "report").exists()


def test_names_from_files_cannot_inject_markup(tmp_path):
    picture = tmp_path / "overview.png"
    picture.write_bytes(b"x")
    summary = {
        "example": "<script>alert(1)</script>",
        "simulated": False,
        "note": "<b>",
        "weights": "w",
        "units": {"radius": "arcsec"},
        "cavities": [{"id": 1, "radius": 2.0, "flags": "<i>edge</i>"}],
        "evaluation": {},
    }
    text = render(
        "cavities/evaluation/page.html.jinja",
        summary=summary,
        overview=picture,
        pictures={},
        seconds=None,
    )
    assert "<script>" not in text
    assert "<i>" not in text
    assert "&lt;i&gt;edge" in text
