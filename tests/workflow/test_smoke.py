"""The real thing, small: each pipeline from nothing to its report, as `make run` does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run


def cavities(metrics: dict, summary: dict) -> None:
    assert metrics
    assert summary


def background(metrics: dict, summary: dict) -> None:
    assert {"close", "far"} <= set(metrics["sets"])
    assert metrics["stress"]
    assert metrics["test"]["background"] > 0
    assert summary["truth"]["xrays_kept"] > 0.5 * summary["truth"]["xrays"]


def tomography(metrics: dict, summary: dict) -> None:
    assert {"2 qubits, hs", "2 qubits, pure", "2 qubits, test"} <= set(metrics["lists"])
    assert set(summary["methods"]) == {"neural", "maximum_likelihood", "particle_filter"}
    assert summary["methods"]["neural"]["fidelity"]["value"] > 0.9


PRODUCTS = {
    cavities: ("**/*.ecsv",),
    background: ("events.fits", "spectrum_kept.pha", "frames.h5"),
    tomography: ("overview.png", "records.h5", "density_matrix.csv"),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("check", PRODUCTS, ids=lambda check: check.__name__)
def test_every_stage_leaves_what_it_promises(
    snakemake: Run, root: Path, tmp_path: Path, check
) -> None:
    name, profile = check.__name__, root / "workflows" / "profiles" / "local"
    command = ["-s", root / "Snakefile", "--profile", profile, "--config", "preset=smoke"]
    snakemake(*command, "--cores", "2", "--", name, cwd=tmp_path)
    report, evaluation = (tmp_path / "results" / name / x for x in ("report", "evaluation"))
    places = evaluation / "metrics.json", report / "summary.json"
    check(*(json.loads(path.read_text()) for path in places))
    assert list((evaluation / "figures").glob("*.png"))
    for product in ("index.html", *PRODUCTS[check]):
        assert list(report.glob(product)), product
    snakemake(*command, "--report", "report.html", "--", name, cwd=tmp_path)
    assert "filename=overview.png;base64," in (tmp_path / "report.html").read_text()
