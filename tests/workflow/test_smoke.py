"""The real thing, small: the cavities pipeline from nothing to a catalogue, as `make run` does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_cavities_smoke(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """Every stage leaves what it promises."""
    profile = root / "workflows" / "profiles" / "local"
    command = ["-s", root / "Snakefile", "--profile", profile, "--config", "preset=smoke"]
    snakemake(*command, "--cores", "2", "--", "cavities", cwd=tmp_path)
    results = tmp_path / "results" / "cavities"
    metrics = json.loads((results / "evaluation" / "metrics.json").read_text())
    assert metrics
    assert list((results / "evaluation" / "figures").glob("*.png"))
    assert (results / "report" / "summary.json").is_file()
    assert (results / "report" / "index.html").is_file()
    assert list((results / "report").rglob("*.ecsv"))
    snakemake(*command, "--report", "report.html", "--", "cavities", cwd=tmp_path)
    assert "filename=overview.png;base64," in (tmp_path / "report.html").read_text()
