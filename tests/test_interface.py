"""The same interface in the three sciences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import physml
from physml.exceptions import OutputError
from physml.pipeline import get_pipeline
from physml.stages.predict import Predictor, Result

SCIENCES = ("background", "cavities", "tomography")
#: Names that each science offers beside its predictor and its result.
NOUNS = {
    "cavities": ("CavityPredictor", "CavityResult", "Observation"),
    "background": ("BackgroundPredictor", "BackgroundResult", "Frames"),
    "tomography": (
        *("TomographyPredictor", "TomographyResult", "Tomographer", "Setting", "Records"),
        "SimulatedLaboratory",
    ),
}


def cavities_data(folder: Path) -> np.ndarray:
    from fakes.cavities import beta_image

    return beta_image((128, 128), total=2e4)


def background_data(folder: Path) -> Path:
    from fakes.background_detector import scene, write_sparse

    return write_sparse(folder / "frames.h5", scene().pixels)


def tomography_data(folder: Path) -> Path:
    from fakes.tomography import noisy, pauli_data, write_json

    return write_json(folder / "counts.json", pauli_data(noisy()))


DATA = {
    "cavities": cavities_data,
    "background": background_data,
    "tomography": tomography_data,
}
#: What a call leaves out to be quick.
QUICK = {"tomography": {"goodness": False, "history": False}}


@pytest.fixture(scope="module", params=SCIENCES)
def science(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def predictor(science: str) -> Predictor:
    return physml.load(science)


@pytest.fixture(scope="module")
def result(science: str, predictor: Predictor, tmp_path_factory) -> Result:
    data = DATA[science](tmp_path_factory.mktemp(science))
    return predictor.predict(data, **QUICK.get(science, {}))


def test_load_gives_the_predictor_with_its_card(science: str, predictor: Predictor) -> None:
    assert isinstance(predictor, Predictor)
    assert type(predictor) is get_pipeline(science).predictor_class()
    assert predictor.card["pipeline"] == science
    assert predictor.card["version"]
    assert len(predictor.card["sha256"]) == 64


def test_the_old_name_of_load_stays(science: str) -> None:
    assert type(physml.Model.load(science)) is get_pipeline(science).predictor_class()


def test_weights_are_read_when_they_are_loaded(science: str, tmp_path: Path) -> None:
    """Cut after its header, which alone says what it is: refused by `load`, not later."""
    from physml.exceptions import InputError
    from physml.models import shipped_weights

    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(shipped_weights(science).read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        physml.load(damaged)


def test_a_result_has_the_same_names(result: Result, predictor: Predictor) -> None:
    assert isinstance(result, Result)
    assert isinstance(result.warnings, list)
    assert all(isinstance(text, str) for text in result.warnings)
    assert result.card["sha256"] == predictor.card["sha256"]
    assert result.summary()
    assert type(result.summary()) is str
    assert str(result.summary) == result.summary()  # as it was read up to version 0.1
    assert result.summary() in repr(result)


def test_a_result_is_written_as_a_whole_and_replaces_nothing_unasked(
    result: Result, tmp_path: Path
) -> None:
    folder = result.write(tmp_path / "out")
    assert folder == tmp_path / "out"
    assert (folder / "overview.png").is_file()
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(OutputError):
        result.write(folder)
    result.write(folder, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_every_science_has_the_verb_predict(science: str, capsys) -> None:
    from physml.cli.main import main

    assert main([science, "predict", "--help"]) == 0
    assert "Examples" in capsys.readouterr().out


def test_nouns_are_offered_lazily(science: str) -> None:
    names = NOUNS[science]
    program = f"""
import sys
import physml.{science} as room
offered = dir(room)
assert "torch" not in sys.modules and "numpy" not in sys.modules
print(all(name in offered and getattr(room, name).__name__ == name for name in {names}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_laboratory_measures() -> None:
    import torch

    from physml.tomography import SimulatedLaboratory
    from physml.tomography.core.measurements import pauli_settings
    from physml.tomography.data import laboratory

    for name in ("SimulatedLaboratory", "SocketLaboratory", "FolderLaboratory"):
        assert callable(getattr(laboratory, name).measure)
    state = torch.diag(torch.tensor([1.0, 0, 0, 0], dtype=torch.complex128))
    zz = {setting.id: setting for setting in pauli_settings(2, shots=100)}["ZZ"]
    assert list(SimulatedLaboratory(state).measure(zz)) == [100, 0, 0, 0]
