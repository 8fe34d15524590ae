"""Settings: units, loading, merging, messages, generated files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field, ValidationError

from physml.cavities.settings import CavitiesSettings
from physml.config import (
    Arcsec,
    Degrees,
    KiloElectronVolt,
    PipelineSettings,
    ResourceSettings,
    Seconds,
    Settings,
    SimulateBase,
    StageSettings,
    dump_schema,
    dump_yaml,
    load_settings,
    quantity,
    read_config,
    upstream,
)
from physml.exceptions import InputError, SettingsError


class Halo(Settings):
    """Gas halo."""

    core: Arcsec = Field(20.0, description="Core radius", gt=0)
    energy: tuple[KiloElectronVolt, KiloElectronVolt] = Field((0.5, 7.0), description="Band")
    kind: Literal["beta", "king"] = Field("beta", description="Family: of profile # not a comment")


class Simulate(SimulateBase):
    """Simulated sky."""

    field: Degrees = Field(0.5, description="Side of the field", gt=0, le=10)
    shares: dict[int, float] = Field({1: 0.25, 2: 0.75}, description="Relative frequency")
    note: str | None = Field(None, description="Anything")
    halo: Halo = Halo()


class Train(StageSettings):
    """Training."""

    learning_rate: float = Field(1e-3, description="Peak learning rate", gt=0)
    widths: tuple[int, ...] = Field((8, 16), description="Channels")
    resources: ResourceSettings = ResourceSettings(threads=2, gpu=1)


class Example(PipelineSettings):
    """Settings of the example pipeline."""

    simulate: Simulate = Simulate()
    train: Train = Train()


@pytest.mark.parametrize(
    ("given", "degrees"),
    [
        (0.25, 0.25),
        (1, 1),
        ("30 arcmin", 0.5),
        ("1800arcsec", 0.5),
        ("0.5 deg", 0.5),
        ("2e-1", 0.2),
    ],
)
def test_angle_with_and_without_unit(given, degrees: float) -> None:
    assert Simulate(field=given).field == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("3 kpc", "cannot be converted to deg"),
        ("3 parrots", "not a number with a unit"),
        ("wide", "not a number with a unit"),
        (True, "truth value"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        ("nan deg", "finite"),
        ("-3 deg", "greater than 0"),
        ("660 arcmin", "less than or equal to 10"),
        ([1], "valid number"),
        (None, "valid number"),
    ],
)
def test_bad_angle(given, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        load_settings(Example, {"simulate": {"field": given}})


def test_units_inside_tuples_and_new_units() -> None:
    assert Halo(energy=("500 eV", "0.007 MeV")).energy == pytest.approx((0.5, 7.0))

    class Other(Settings):
        time: Seconds = 1.0
        size: quantity("um") = 1.0  # type: ignore[valid-type]

    other = Other(time="2 min", size="1 mm")
    assert (other.time, other.size) == pytest.approx((120.0, 1000.0))


def test_settings_are_frozen_strict_and_check_their_defaults() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Halo().core = 3.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Halo(cores=3.0)  # type: ignore[call-arg]

    class Wrong(Settings):
        x: int = Field("many", description="x")

    with pytest.raises(ValidationError):
        Wrong()


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "two"])
def test_resources_refuse(value) -> None:
    with pytest.raises(ValidationError):
        ResourceSettings(threads=value)


@pytest.mark.parametrize(
    ("samples", "size", "shards"), [(10, 5, 2), (11, 5, 3), (1, 5, 1), (5, 5, 1), (4, 1, 4)]
)
def test_shards_hold_each_sample_once(samples: int, size: int, shards: int) -> None:
    settings = SimulateBase(n_samples=samples, shard_size=size)
    assert settings.n_shards == shards
    found = [i for shard in range(shards) for i in settings.indices(shard)]
    assert found == list(range(samples))
    for wrong in (-1, shards):
        with pytest.raises(SettingsError, match=f"no shard {wrong}"):
            settings.indices(wrong)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_later_sources_win_and_sections_merge(path: Path) -> None:
    path.write_text(
        "seed: 1\nsimulate: {n_samples: 7, halo: {core: 1 arcmin}}\ntrain: {widths: [1]}\n"
    )
    second = path.with_suffix(".json")
    second.write_text('{"simulate": {"halo": {"kind": "king"}}, "train": {"widths": [2]}}')
    settings = load_settings(Example, path, second, {"seed": 3})
    halo = Halo(core=60.0, kind="king")
    assert settings.simulate == Simulate(n_samples=7, halo=halo)
    assert (settings.seed, settings.train.widths) == (3, (2,))


def test_a_mapping_that_is_one_value_is_replaced_as_a_whole() -> None:
    first, second = ({"simulate": {"shares": shares}} for shares in ({1: 1.0, 3: 2.0}, {"2": 1.0}))
    assert load_settings(Example, first, second).simulate.shares == {2: 1.0}
    assert first == {"simulate": {"shares": {1: 1.0, 3: 2.0}}}, "a source was changed"


def test_message_names_file_key_finding_and_what_is_known(path: Path) -> None:
    good = path.with_name("good.yaml")
    good.write_text("simulate: {field: 1}\n")
    path.write_text("simulate:\n  halo:\n    cor: 3\n  field: -2 deg\nsede: 1\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(Example, good, path)
    assert caught.value.exit_code == 2
    lines = sorted(line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines())
    assert lines[0].startswith("sede: no such setting; did you mean 'seed'?")
    assert lines[1:] == [
        "simulate.field: Input should be greater than 0 (got '-2 deg')",
        "simulate.halo.cor: no such setting; did you mean 'core'? (known here: core, energy, kind)",
    ]


def test_message_names_the_file_that_gave_the_value(path: Path) -> None:
    second = path.with_name("b.yaml")
    path.write_text("simulate: {n_samples: 0}\n")
    second.write_text("simulate: {shard_size: 5}\n")
    with pytest.raises(SettingsError, match=r"config\.yaml: simulate\.n_samples"):
        load_settings(Example, path, second)
    with pytest.raises(SettingsError, match="given settings: simulate: "):
        load_settings(Example, path, {"simulate": 3})


@pytest.mark.parametrize(
    ("text", "match"),
    [("[1, 2]", "a mapping"), ("a: [", "YAML"), ("seed: 1\nseed: 2\n", "'seed' is given twice")],
)
def test_unreadable_config(path: Path, text: str, match: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_missing_and_empty_config(path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_config(path)
    path.write_text("# nothing\n")
    assert load_settings(Example, path) == Example()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # Numbers as people write them, and the merge keys of YAML.
        ("train: {learning_rate: 1e-4}", {"train": {"learning_rate": 1e-4}}),
        ("simulate: {field: 2E-1}", {"simulate": {"field": 0.2}}),
        ("a: &s {n: 3}\nb: {<<: *s}\nc: {<<: *s, n: 4}", {k: {"n": 3 + (k == "c")} for k in "abc"}),
    ],
)
def test_readable_config(path: Path, text: str, found: dict) -> None:
    path.write_text(text)
    assert read_config(path) == found


def test_upstream_holds_what_the_stage_depends_on() -> None:
    settings = Example(seed=5)
    assert list(upstream(settings, "simulate")) == ["seed", "simulate"]
    assert list(upstream(settings, "train")) == ["seed", "simulate", "preprocess", "train"]
    assert upstream(settings, "train")["seed"] == 5
    assert "resources" not in json.dumps(upstream(settings, "report"))
    with pytest.raises(ValueError, match="unknown stage"):
        upstream(settings, "trian")


def test_upstream_changes_with_results_only() -> None:
    base = Example()
    more = Example(train=Train(resources=ResourceSettings(threads=64)))
    assert upstream(base, "report") == upstream(more, "report")
    later = Example(train=Train(learning_rate=0.1))
    for stage, same in (("preprocess", True), ("train", False), ("report", False)):
        assert (upstream(base, stage) == upstream(later, stage)) is same


def test_where_tasks_are_done_changes_no_result_and_a_word_is_enough() -> None:
    base = CavitiesSettings()
    words = load_settings(CavitiesSettings, {"preprocess": {"dask": "slurm"}})
    assert words.preprocess.dask.cluster == "slurm"
    assert upstream(base, "report") == upstream(words, "report")
    # The word keeps what an earlier source said of the workers.
    sources = [{"preprocess": {"dask": {"workers": 9}}}, {"preprocess": {"dask": "slurm"}}]
    merged = load_settings(CavitiesSettings, *sources).preprocess.dask
    assert (merged.cluster, merged.workers) == ("slurm", 9)
    with pytest.raises(SettingsError, match=r"preprocess.dask.cluster.*'local' or 'slurm'"):
        load_settings(CavitiesSettings, {"preprocess": {"dask": "pbs"}})


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"resources": {"gpu": 1, "processes": 2}}, "expected processes 0 or 1"),
        ({"resources": {"gpu": 0, "processes": 3, "nodes": 2}}, "spread evenly over 2 nodes"),
        ({"resources": {"gpu": 3}}, "batch_size must be a multiple of the 3 processes, found 32"),
        (
            {"resources": {"gpu": 2}, "decoder": {"batch_size": 9}},
            "decoder.batch_size must be a multiple of the 2 processes, found 9",
        ),
    ],
)
def test_processes_that_cannot_share_the_training_are_refused(train: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(CavitiesSettings, {"train": train})


def test_processes_follow_from_the_gpus() -> None:
    for resources, number in (({"gpu": 0}, 1), ({"gpu": 4}, 4), ({"gpu": 0, "processes": 2}, 2)):
        found = load_settings(CavitiesSettings, {"train": {"resources": resources}})
        assert found.train.resources.shared_by == number


def test_upstream_is_json_and_loads_again() -> None:
    settings = Example(seed=2, simulate=Simulate(field="1 deg", shares={1: 1.0}))
    text = json.dumps(upstream(settings, "report"))
    assert load_settings(Example, json.loads(text)) == settings


def test_yaml_holds_every_field_with_description_unit_and_default() -> None:
    text = dump_yaml(Example)
    assert load_settings(Example, yaml.safe_load(text)) == Example()
    assert text.startswith("# Settings of the example pipeline.\n")
    assert "  # Side of the field [deg] (default 0.5; > 0, <= 10)\n  field: 0.5\n" in text
    assert "    # Band [keV] (default [0.5, 7.0])\n    energy: [0.5, 7.0]\n" in text
    assert "one of beta, king" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_yaml_of_given_settings_keeps_them_and_names_the_default() -> None:
    settings = Example(seed=9, simulate=Simulate(note="a: b # c", field="6 arcmin"))
    text = dump_yaml(settings)
    assert load_settings(Example, yaml.safe_load(text)) == settings
    assert "(default 0.5; > 0, <= 10)\n  field: 0.1\n" in text


def test_schema_is_valid_and_agrees_with_the_model() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(dump_schema(Example))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(json.loads(Example().model_dump_json()))
    assert validator.is_valid({"simulate": {"field": "30 arcmin"}})
    for wrong in (
        {"simulate": {"field": -1}},
        {"simulate": {"field": 11}},
        {"simulate": {"field": [1]}},
        {"sede": 1},
        {"simulate": {"halo": {"kind": "gauss"}}},
        {"train": {"resources": {"threads": 0}}},
        {"train": {"learning_rate": 0}},
    ):
        assert not validator.is_valid(wrong), wrong
    assert schema["$defs"]["Simulate"]["properties"]["field"]["unit"] == "deg"


def test_every_field_of_our_pipelines_has_a_description() -> None:
    from pydantic import BaseModel

    from physml.pipeline import pipelines

    def check(model: type[BaseModel], place: str) -> None:
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                assert inner.__doc__, f"{place}.{name}"
                check(inner, f"{place}.{name}")
            else:
                assert field.description, f"{place}.{name} has no description"

    found = pipelines()
    assert "cavities" in found
    for name, pipeline in found.items():
        model = pipeline.settings_model()
        check(model, name)
        assert load_settings(model, yaml.safe_load(dump_yaml(model))) == model()
