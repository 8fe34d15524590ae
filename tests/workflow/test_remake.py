"""The recipe of each science is that of its shipped weights, and one command remakes them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from physml.config.loading import read_config
from physml.exceptions import SettingsError
from physml.io.weights import read_metadata
from physml.models import shipped_weights

from .conftest import Run

SCIENCES = ("cavities", "background", "tomography")
#: All shipped weights: of a science, and of its presets that have weights of their own.
RECIPES = (*((science, None) for science in SCIENCES), ("tomography", "three_qubits"))


@pytest.fixture(scope="module")
def remake(root: Path):
    sys.path.insert(0, str(root / "workflows"))
    try:
        import remake

        yield remake
    finally:
        sys.path.remove(str(root / "workflows"))


@pytest.mark.parametrize(("science", "preset"), RECIPES)
def test_the_recipe_is_that_of_the_shipped_card(remake, science, preset):
    """Every setting of every round, or a reason why it differs."""
    made = remake.recipe(science, preset=preset)
    text, unexplained = remake.page(science, made, False, preset)
    assert unexplained == []
    _, explained = remake.rounds_of(science, preset)
    shipped = remake.recipe_of_card(read_metadata(shipped_weights(science, preset)))
    differing = {key for _, key, _, _ in remake.differences(shipped, made)}
    # No reason stands there for what does not differ.
    assert differing == set(explained)
    assert all(f"`{key}`" in text for key in explained)
    assert len(shipped[0]) > 50
    assert text.startswith(f"# Recipe of {shipped_weights(science, preset).stem}, ")


@pytest.mark.parametrize(("science", "preset"), RECIPES)
def test_a_small_recipe_differs_in_what_makes_it_small(remake, science, preset, root):
    made = remake.recipe(science, smoke=True, preset=preset)
    text, unexplained = remake.page(science, made, True, preset)
    assert unexplained == []
    assert "small, for a trial" in text
    small = read_config(root / "pipelines" / science / "smoke.yaml")
    assert "`simulate.n_samples` | " in text
    assert str(float(small["simulate"]["n_samples"])) in text


def test_every_file_of_weights_has_a_recipe(root):
    names = {path.name for path in (root / "physml" / "weights").glob("*.safetensors")}
    assert names == {shipped_weights(*recipe).name for recipe in RECIPES}


def test_a_preset_without_weights_of_its_own_is_named(remake, capsys, monkeypatch):
    with pytest.raises(SettingsError, match=r"expected a preset among \['three_qubits'\]"):
        remake.recipe("tomography", preset="smoke")
    given = ["remake.py", "cavities", "--compare", "--preset", "three_qubits"]
    monkeypatch.setattr("sys.argv", given)
    assert remake.main() == 2
    assert "'three_qubits' of cavities has no weights of its own" in capsys.readouterr().err


def test_a_preset_lies_between_the_defaults_and_the_rounds(remake):
    first, second = remake.recipe("tomography", preset="three_qubits")
    assert first["simulate.n_qubits"] == second["simulate.n_qubits"] == [3]
    assert first["simulate.n_samples"] < second["simulate.n_samples"]
    assert (first["simulate.designer"], second["simulate.designer"]) == ("none", "previous")
    small = remake.recipe("tomography", smoke=True, preset="three_qubits")
    assert [r["train.cell.runs"] for r in (first, second, *small)] == [0] * 4
    assert all(r["simulate.n_samples"] == 600 for r in small)
    assert first["train.calibrate.width"] == remake.recipe("tomography")[0]["train.calibrate.width"]


def test_a_difference_without_a_reason_is_told(remake):
    made = remake.recipe("cavities")
    made[1]["train.epochs"] += 1
    text, unexplained = remake.page("cavities", made, smoke=False)
    assert unexplained == ["round 2: train.epochs: 7.0 -> 8.0"]
    assert "| 2 | `train.epochs` | 7.0 | 8.0 | **none** |" in text
    # So is a round too few.
    _, unexplained = remake.page("cavities", made[:1], smoke=False)
    assert "round 2: seed: 20171203.0 -> -" in unexplained


def test_the_shipped_weights_are_not_written(remake):
    with pytest.raises(SettingsError, match="shipped"):
        remake.remake("cavities", shipped_weights("cavities").parent, smoke=True, cores=1)


def test_weights_of_the_round_before_start_and_design(remake, monkeypatch, tmp_path):
    before = tmp_path / "model.safetensors"
    before.write_bytes(b"weights")
    settings = remake.settings_of_round("tomography", 1, True, before)
    assert settings.simulate.designer == settings.train.init == str(before)
    assert settings.simulate.designer_sha256 == hashlib.sha256(b"weights").hexdigest()
    told = dict(remake.flat(settings.model_dump(mode="json")))
    assert told["simulate.designer"] == told["train.init"] == "previous"
    assert "simulate.designer_sha256" not in told
    first = remake.settings_of_round("tomography", 0, True, None)
    assert first.simulate.designer == "none"
    assert dict(remake.flat(first.model_dump(mode="json")))["simulate.designer"] == "none"
    wrong = [{"simulate": {"designer": "previous"}}], {}
    monkeypatch.setattr(remake, "rounds_of", lambda science, preset: wrong)
    with pytest.raises(SettingsError, match="first round has no previous weights"):
        remake.settings_of_round("tomography", 0, True, None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("science", "preset"), RECIPES)
def test_weights_are_remade(remake, call: Run, root: Path, tmp_path: Path, science, preset) -> None:
    """All rounds from nothing, small; the new card tells the recipe of the shipped one."""
    shipped = shipped_weights(science, preset)
    before = hashlib.sha256(shipped.read_bytes()).hexdigest()
    script = root / "workflows" / "remake.py"
    options = ["-o", "remade", "--smoke", "--cores", "2"]
    options += [] if preset is None else ["--preset", preset]
    call(sys.executable, script, science, *options, cwd=tmp_path)
    assert hashlib.sha256(shipped.read_bytes()).hexdigest() == before
    card = read_metadata(tmp_path / "remade" / shipped.name)
    rounds, _ = remake.rounds_of(science, preset)
    assert len(card.get("lineage", [])) == len(rounds) - 1
    made = remake.recipe_of_card(card)
    # What the files say is what was run, key by key.
    assert remake.differences(remake.recipe(science, True, preset), made) == []
    text, unexplained = remake.page(science, made, True, preset)
    assert unexplained == []
    assert (tmp_path / "remade" / "recipe.md").read_text() == text
    assert set(card) - {"recalibrated"} >= set(read_metadata(shipped)) - {"recalibrated"}
