"""For every setting: what is written loads again, and only what has a unit converts."""

from __future__ import annotations

import json
from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from physml.config import (
    Arcsec,
    Degrees,
    PipelineSettings,
    Settings,
    SimulateBase,
    dump_yaml,
    load_settings,
    upstream,
)
from physml.exceptions import SettingsError

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
numbers = st.floats(allow_nan=False, allow_infinity=False)


class Inner(Settings):
    """A section."""

    angle: Degrees = Field(0.0, description="An angle")
    pair: tuple[Arcsec, float] = Field((1.0, 2.0), description="A pair")
    kind: Literal["yes", "no", "null", "1e3"] = Field("yes", description="Looks like another type")
    text: str | None = Field(None, description="Text: with # and 'quotes'")


class Simulate(SimulateBase):
    """Simulation."""

    inner: Inner = Inner()
    table: dict[str, float] = Field({}, description="A mapping")


class Example(PipelineSettings):
    """Everything."""

    simulate: Simulate = Simulate()


def some(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """Any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


inner = some(
    angle=numbers,
    pair=st.tuples(numbers, numbers),
    kind=st.sampled_from(["yes", "no", "null", "1e3"]),
    text=st.none() | texts,
)
simulate = some(
    n_samples=st.integers(1, 10**9),
    inner=inner,
    table=st.dictionaries(texts, numbers, max_size=3),
)
examples = some(seed=st.integers(0, 2**63), simulate=simulate)


@settings(deadline=None)
@given(examples)
def test_yaml_and_json_load_again(source: dict) -> None:
    found = load_settings(Example, source)
    assert load_settings(Example, yaml.safe_load(dump_yaml(found))) == found
    assert load_settings(Example, json.loads(found.model_dump_json())) == found
    assert load_settings(Example, json.loads(json.dumps(upstream(found, "report")))) == found


@settings(deadline=None)
@given(examples, examples)
def test_later_sources_win(first: dict, second: dict) -> None:
    merged = load_settings(Example, first, second)
    assert load_settings(Example, first, second, second) == merged
    wanted = load_settings(Example, second)
    for name in second:
        if name != "simulate":
            assert getattr(merged, name) == getattr(wanted, name)
    for name in second.get("simulate", {}):
        if name != "inner":
            assert getattr(merged.simulate, name) == getattr(wanted.simulate, name)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_units_convert_there_and_back(degrees: float) -> None:
    for unit, factor in (("deg", 1), ("arcmin", 60), ("arcsec", 3600)):
        found = Inner(angle=f"{degrees * factor!r} {unit}").angle
        assert found == pytest.approx(degrees, rel=1e-12, abs=1e-12)


@settings(deadline=None)
@given(st.sampled_from(["kpc", "s", "keV", "m", "count", "%%", "deg deg"]), st.floats(0.1, 10))
def test_other_units_are_refused(unit: str, value: float) -> None:
    with pytest.raises(SettingsError, match=r"simulate\.inner\.angle"):
        load_settings(Example, {"simulate": {"inner": {"angle": f"{value} {unit}"}}})


@settings(deadline=None)
@given(texts.filter(lambda key: key not in Example.model_fields))
def test_every_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match="no such setting"):
        load_settings(Example, {key: 1})
