"""Files that must agree with others: generated ones, the Makefile, the folder of each pipeline."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from fakes.chain import BIN

from .conftest import Run


@pytest.fixture(scope="module")
def generator(root: Path):
    """The program behind `make generate`."""
    spec = importlib.util.spec_from_file_location("generate", root / "workflows" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_have_not_drifted(generator) -> None:
    """config.yaml and the schemas are what the settings models say."""
    difference = generator.drift(generator.generated())
    assert not difference, f"run `make generate`:\n{difference}"


def test_drift_would_be_noticed(generator, root: Path) -> None:
    """The check above can fail, and shows the line."""
    files = generator.generated()
    path = root / "pipelines" / "cavities" / "config.yaml"
    files[path] = files[path].replace("\nseed: ", "\nseed: 1")
    assert "+seed: 1" in generator.drift(files)


def test_config_equals_the_defaults(generator) -> None:
    """The generated config.yaml loads, and says what the model says without it."""
    from physml.config import load_settings
    from physml.pipeline import get_pipeline

    for path in generator.generated():
        if path.suffix == ".yaml":
            model = get_pipeline(path.parent.name).settings_model()
            assert load_settings(model, path) == model()


def test_schemas_accept_config_and_preset(root: Path) -> None:
    """What the program accepts, the editor does not underline; what it refuses, it does."""
    import jsonschema

    schemas = sorted(root.glob("workflows/schemas/*.schema.json"))
    assert schemas
    for path in schemas:
        validator = jsonschema.Draft202012Validator(json.loads(path.read_text()))
        folder = root / "pipelines" / path.name.removesuffix(".schema.json")
        for file in (folder / "config.yaml", folder / "smoke.yaml"):
            assert not list(validator.iter_errors(yaml.safe_load(file.read_text())))
        assert list(validator.iter_errors({"seeed": 1}))
        assert list(validator.iter_errors({"simulate": {"n_samples": 0}}))


def test_lint(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """Snakemake's own linter has nothing to say."""
    out = snakemake("-s", root / "Snakefile", "--lint", cwd=tmp_path).stdout
    assert "Congratulations" in out


def make(root: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Ask make what it would do."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("FIND_LINKS")}
    kept.pop("MAKEFLAGS", None)  # of the `make test` that we may run under
    return subprocess.run(
        ["make", "-n", *args], cwd=root, env=kept | env, capture_output=True, text=True
    )


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@needs_make
@pytest.mark.parametrize(
    ("arguments", "env", "expected", "unexpected"),
    [
        ([], {}, ["--torch-backend=cpu", "download.pytorch.org/whl/cpu"], ["FIND_LINKS"]),
        ([], {"PIP_FIND_LINKS": "/w"}, ['UV_FIND_LINKS="/w"'], ["torch-backend", "pytorch.org"]),
        (
            ["TORCH=cuda"],
            {"PIP_FIND_LINKS": "/w"},
            ["--torch-backend=auto", "-u PIP_FIND_LINKS"],
            ["/whl/cpu"],
        ),
    ],
)
def test_make_chooses_the_build_of_torch(
    root: Path, arguments: list[str], env: dict, expected: list[str], unexpected: list[str]
) -> None:
    """CPU by default, local wheels where offered, CUDA on request."""
    out = make(root, "run", "VENV=no-such-venv", *arguments, **env)
    assert out.returncode == 0, out.stderr
    assert all(text in out.stdout for text in expected), out.stdout
    assert not any(text in out.stdout for text in unexpected), out.stdout
    assert out.stdout.index("pip install") < out.stdout.index("preset=smoke")


@needs_make
def test_make_refuses_an_unknown_build(root: Path) -> None:
    """A misspelt switch is not taken for the default."""
    out = make(root, "run", "TORCH=gpu")
    assert out.returncode != 0
    assert "expected cpu or cuda" in out.stderr


@needs_make
def test_ci_runs_the_command_of_the_readme(root: Path) -> None:
    """.ci/run has nothing of its own."""
    script = (root / ".ci" / "run").read_text()
    assert script.rstrip().endswith("exec make test")
    assert os.access(root / ".ci" / "run", os.X_OK)
    assert "pytest" in make(root, "test").stdout


def test_summary_names_the_results(root: Path, tmp_path: Path) -> None:
    """`make run` ends by saying where the catalogue, the figures and the page are."""
    report = tmp_path / "results" / "cavities" / "report"
    report.mkdir(parents=True)
    for name in ("cavities.ecsv", "overview.png", "index.html"):
        (report / name).touch()
    (tmp_path / "results" / "report.html").touch()
    (report / "summary.json").write_text(
        '{"example": "a cluster", "note": "simulated: no network"}'
    )
    script = root / "workflows" / "summary.py"
    run = [BIN / "python", script, "results"]
    out = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for name in ("cavities.ecsv", "overview.png", "index.html"):
        assert f"results/cavities/report/{name}" in out
    assert "results/report.html" in out
    assert "a cluster: simulated: no network" in out
