"""The contract of a pipeline and the registry, with a fourth pipeline that comes from outside."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from physml import pipeline as registry
from physml.exceptions import InputError, PhysmlError
from physml.pipeline import STAGES, Pipeline, get_pipeline, load_object, pipeline_names, pipelines

MODULE = """
from physml.pipeline import Pipeline

pipeline = Pipeline(
    name="{name}",
    title="A pipeline from outside",
    settings="physml.config:PipelineSettings",
    **dict.fromkeys(("simulate", "preprocess", "train", "evaluate", "report"), "{name}_pkg:stage"),
    predictor="{name}_pkg:Predictor",
    versions={{"train": 3}},
)

def stage(**arguments):
    return arguments

class Predictor:
    @classmethod
    def load(cls, path=None, **options):
        self = cls()
        self.path, self.options = path, options
        return self
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch):
    """Install a package by putting it and its entry point on the path, as pip would."""

    def put(
        name: str, source: str | None = None, target: str = "", package: str | None = None
    ) -> None:
        text = MODULE.format(name=name) if source is None else source
        package = package or f"{name}_pkg"
        (tmp_path / f"{package}.py").write_text(text)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        target = target or f"{package}:pipeline"
        (info / "entry_points.txt").write_text(f"[physml.pipelines]\n{name} = {target}\n")
        importlib.invalidate_caches()
        registry._entries.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    yield put
    registry._entries.cache_clear()
    for module in [m for m in sys.modules if m.endswith("_pkg")]:
        del sys.modules[module]


def test_ours_is_there_and_complete() -> None:
    cavities = get_pipeline("cavities")
    assert cavities.name in pipeline_names()
    assert cavities.settings_model().__name__ == "CavitiesSettings"
    for stage in STAGES:
        assert cavities.version(stage) >= 1


def test_a_package_from_outside_is_a_pipeline_like_ours(install) -> None:
    install("fourth")
    assert {"cavities", "fourth"} <= set(pipelines())
    found = get_pipeline("fourth")
    assert found.stage("train")(a=1) == {"a": 1}
    assert (found.version("train"), found.version("simulate")) == (3, 1)
    assert found.settings_model()().seed == 0
    assert found.cli_app() is None
    assert found.predictor_class().load("w").path == "w"


def test_listing_imports_no_pipeline(install) -> None:
    install("lazy")
    assert "lazy" in pipeline_names()
    assert "lazy_pkg" not in sys.modules


def test_a_broken_package_does_not_break_the_others(install, caplog) -> None:
    before = set(pipelines())
    install("broken", "import no_such_dependency\n")
    install("wrong", "pipeline = 3\n")
    install("renamed", MODULE.format(name="other"))
    install("missing", target="nowhere_pkg:pipeline")
    assert "cavities" in before
    assert set(pipelines()) == before
    assert "no_such_dependency" in caplog.text
    for name, match in {
        "broken": "no_such_dependency",
        "wrong": "to be a physml.pipeline.Pipeline, found int",
        "renamed": "its own name 'other' differ",
        "missing": "nowhere_pkg",
    }.items():
        with pytest.raises(PhysmlError, match=match) as caught:
            get_pipeline(name)
        assert caught.value.exit_code == 1


def test_two_packages_of_one_name(install, caplog) -> None:
    install("twin")
    install("twin", package="zzz_pkg")
    assert pipeline_names().count("twin") == 1
    assert "two packages offer a pipeline 'twin'" in caplog.text


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"one of the pipelines .*cavities.*, found 'cavity'"):
        get_pipeline("cavity")
    with pytest.raises(InputError, match="a stage"):
        get_pipeline("cavities").stage("predict")


STRINGS = {"settings": "a:b", **dict.fromkeys(STAGES, "a:b")}


HOSTILE = ["../evil", "/etc/evil", "a/b", "..", "C:\\evil", "a\x00b", "~/evil", ".hidden/../../x"]


@pytest.mark.parametrize("name", ["", "Cavities", "a b", "-x", "1a", *HOSTILE])
def test_names_become_paths_and_commands(name: str) -> None:
    with pytest.raises(PhysmlError, match="pipeline name"):
        Pipeline(name=name, title="x", **STRINGS)


def test_unknown_stages_and_no_predictor() -> None:
    with pytest.raises(PhysmlError, match=r"unknown stages \['trian'\]"):
        Pipeline(name="a", title="x", **STRINGS, versions={"trian": 2})
    with pytest.raises(InputError, match="has no predictor"):
        Pipeline(name="a", title="x", **STRINGS).predictor_class()


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("physml", "an import string"),
        (":x", "an import string"),
        ("physml:", "an import string"),
        ("no_such_module:x", "there is no module no_such_module"),
        ("physml.no_such:x", "there is no module physml.no_such"),
        ("physml.random:no_such", "has no no_such"),
    ],
)
def test_bad_import_strings(target: str, match: str) -> None:
    with pytest.raises(PhysmlError, match=match):
        load_object(target)


def test_a_missing_dependency_of_the_target_speaks_for_itself(install) -> None:
    install("needy", "import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_object("needy_pkg:x")
    assert load_object("physml.random:STAGES.keys")


def test_model_load(install, tmp_path: Path) -> None:
    import torch

    from physml import Model
    from physml.io.weights import save_weights

    install("fourth")
    assert Model.load("fourth", device="cpu").options == {"device": "cpu"}
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, {"pipeline": "fourth"})
    assert Model.load(path).path == Model.load(str(path)).path == path
    save_weights(path, {"a": torch.zeros(1)}, {"pipeline": "fifth"}, overwrite=True)
    with pytest.raises(InputError, match="found 'fifth'"):
        Model.load(path)
    save_weights(path, {"a": torch.zeros(1)}, {}, overwrite=True)
    with pytest.raises(InputError, match="metadata name their pipeline"):
        Model.load(path)
    with pytest.raises(InputError, match=r"a pipeline \(.*\) or a file of weights, found 'fith'"):
        Model.load("fith")
    with pytest.raises(TypeError, match=r"physml\.load"):
        Model()
