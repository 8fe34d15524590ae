"""The real thing, small: the background pipeline from nothing to a clean event list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_background_smoke(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """Every stage leaves what it promises."""
    profile = root / "workflows" / "profiles" / "local"
    command = ["-s", root / "Snakefile", "--profile", profile, "--config", "preset=smoke"]
    snakemake(*command, "--cores", "2", "--", "background", cwd=tmp_path)
    results = tmp_path / "results" / "background"
    metrics = json.loads((results / "evaluation" / "metrics.json").read_text())
    assert {"close", "far"} <= set(metrics["sets"])
    assert metrics["stress"]
    assert metrics["test"]["background"] > 0
    assert list((results / "evaluation" / "figures").glob("*.png"))
    summary = json.loads((results / "report" / "summary.json").read_text())
    assert summary["truth"]["xrays_kept"] > 0.5 * summary["truth"]["xrays"]
    for name in ("index.html", "events.fits", "spectrum_kept.pha", "frames.h5"):
        assert (results / "report" / name).is_file()
    snakemake(*command, "--report", "report.html", "--", "background", cwd=tmp_path)
    assert "filename=overview.png;base64," in (tmp_path / "report.html").read_text()
