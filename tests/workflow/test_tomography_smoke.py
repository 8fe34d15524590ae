"""The real thing, small: the tomography pipeline from nothing to a state with its region."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tomography_smoke(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """Every stage leaves what it promises."""
    profile = root / "workflows" / "profiles" / "local"
    command = ["-s", root / "Snakefile", "--profile", profile, "--config", "preset=smoke"]
    snakemake(*command, "--cores", "2", "--", "tomography", cwd=tmp_path)
    results = tmp_path / "results" / "tomography"
    metrics = json.loads((results / "evaluation" / "metrics.json").read_text())
    assert {"2 qubits, hs", "2 qubits, pure", "2 qubits, test"} <= set(metrics["lists"])
    assert list((results / "evaluation" / "figures").glob("*.png"))
    summary = json.loads((results / "report" / "summary.json").read_text())
    assert set(summary["methods"]) == {"neural", "maximum_likelihood", "particle_filter"}
    assert summary["methods"]["neural"]["fidelity"]["value"] > 0.9
    for name in ("index.html", "overview.png", "records.h5", "density_matrix.csv"):
        assert (results / "report" / name).is_file()
    snakemake(*command, "--report", "report.html", "--", "tomography", cwd=tmp_path)
    assert "filename=overview.png;base64," in (tmp_path / "report.html").read_text()
