"""The contract: what every installed pipeline gives, and that one from outside joins by itself."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.chain import TOY

from physml.config import PipelineSettings
from physml.pipeline import STAGES, get_pipeline, pipeline_names

from .conftest import Run

SIGNATURES = {
    "simulate": {"settings", "shard", "out"},
    "preprocess": {"settings", "raw", "out", "threads", "mem_mb"},
    "train": {"settings", "data", "out", "threads", "time_limit_s"},
    "evaluate": {"settings", "data", "weights", "out", "threads"},
    "report": {"settings", "evaluation", "weights", "out", "threads"},
}


@pytest.mark.parametrize("name", pipeline_names())
def test_stages_have_the_agreed_signature(name: str) -> None:
    """All arguments by keyword, by the names that the command line uses."""
    pipeline = get_pipeline(name)
    for stage in STAGES:
        parameters = inspect.signature(pipeline.stage(stage)).parameters
        assert set(parameters) == SIGNATURES[stage], f"{name} {stage}"
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())


@pytest.mark.parametrize("name", pipeline_names())
def test_settings_have_all_stages(name: str) -> None:
    """The settings are a `PipelineSettings`, complete by their defaults, all described."""
    model = get_pipeline(name).settings_model()
    assert issubclass(model, PipelineSettings)
    settings = model()
    for stage in STAGES:
        section = type(getattr(settings, stage))
        undescribed = [
            key
            for key, field in section.model_fields.items()
            if not field.description and not hasattr(field.annotation, "model_fields")
        ]
        assert not undescribed, f"{name}.{stage}: {undescribed}"


@pytest.mark.parametrize("name", pipeline_names())
def test_every_pipeline_has_its_folder(root: Path, name: str) -> None:
    """Registered here means runnable here: Snakefile, settings, preset, captions."""
    folder = root / "pipelines" / name
    for file in ("Snakefile", "config.yaml", "smoke.yaml", "report/workflow.rst"):
        assert (folder / file).is_file(), f"{folder / file} is missing"


def test_pipeline_from_outside_has_all_commands(call: Run, tmp_path: Path) -> None:
    """An installed package is enough: its name and stages appear in the command line."""
    text = call("physml", "--help", cwd=tmp_path).stdout
    assert "toy" in text
    assert "radioactive decay" in text
    text = call("physml", "toy", "--help", cwd=tmp_path).stdout
    assert all(stage in text for stage in STAGES)


def test_pipeline_from_outside_generates_its_config(call: Run, tmp_path: Path) -> None:
    """Its config.yaml is what `physml config` writes."""
    for name in ("toy", "twin"):
        text = call("physml", "config", name, cwd=tmp_path).stdout
        assert text == (TOY / "pipelines" / name / "config.yaml").read_text()


def test_nothing_of_ours_knows_the_toy(root: Path) -> None:
    """Adding it took no edit of any file outside its own folder."""
    ours = [
        path
        for folder in ("physml", "pipelines", "workflows")
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".smk", ".yaml", ".json", ""} and path.is_file()
    ]
    assert len(ours) > 20
    assert not [
        p for p in (*ours, root / "Snakefile") if "toyphys" in p.read_text(errors="replace")
    ]


def test_the_library_does_not_import_snakemake() -> None:
    """`physml` is usable without the workflow; this holds for the contract and the settings."""
    code = (
        "import sys, physml.cli.main, physml.pipeline, physml.config\n"
        "print('snakemake' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
