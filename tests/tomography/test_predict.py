"""The predictor, its result and its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data, write_csv
from matplotlib.figure import Figure

import physml
from physml.exceptions import InputError
from physml.io import origin
from physml.io.weights import save_weights
from physml.tomography import Measurement, Records, TomographyPredictor, load_records
from physml.tomography.results import overview

RHO = noisy("i", 0.2, 1)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("data") / "counts.csv", pauli_data(RHO, 900))
    return TomographyPredictor().predict(
        path, estimator="maximum_likelihood", target=[1, 1j], level=0.99
    )


def test_three_lines_from_counts_to_a_state(tmp_path):
    path = write_csv(tmp_path / "counts.csv", pauli_data(RHO, 500))
    predictor = physml.load("tomography")
    found = predictor.predict(path, estimator="linear", goodness=False, history=False)
    assert found.state.dims == [[2], [2]]
    assert np.abs(found.density_matrix - RHO.numpy()).max() < 0.1
    assert found.goodness is None
    assert found.history == []


def test_what_it_says_is_true(result):
    fidelity, purity = result.functionals
    assert fidelity.low < 0.9 < fidelity.high  # of |i> with 20 % white noise
    assert purity.low < 0.82 < purity.high  # (1 + 0.8^2) / 2
    assert [e.value for e in result.eigenvalues] == sorted(
        np.linalg.eigvalsh(result.density_matrix), reverse=True
    )
    assert sum(e.value for e in result.eigenvalues) == pytest.approx(1)
    assert result.goodness.passed
    assert result.warnings == []
    assert "2700 copies in 3 measurements" in result.summary()


def test_the_history_ends_with_the_result(result):
    copies = [step.copies for step in result.history]
    assert copies == [900, 1800, 2700]
    last = result.history[-1]
    assert last.radius == result.region.infidelity
    assert last.distance == 0
    # Along X only: anything in the plane is as good.
    assert result.history[0].radius > 10 * last.radius


def test_same_data_same_answers(result):
    again = TomographyPredictor().predict(
        result.records, estimator="maximum_likelihood", target=[1, 1j], level=0.99
    )
    assert again.to_dict() == result.to_dict()
    other = TomographyPredictor().predict(
        result.records, estimator="maximum_likelihood", seed=1, level=0.99, history=False
    )
    assert other.region.infidelity == pytest.approx(result.region.infidelity, rel=0.5)
    assert other.region.infidelity != result.region.infidelity


def test_files_are_written_as_a_whole(result, tmp_path):
    folder = result.write(tmp_path / "out")
    body = json.loads((folder / "estimate.json").read_text())
    assert body["copies"] == 2700
    record = origin.find(folder / "overview.png")
    assert record["inputs"]["records"]["file"] == "counts.csv"
    again = load_records(folder / "records.h5")
    assert again.copies == 2700
    rows = np.genfromtxt(folder / "density_matrix.csv", delimiter=",", names=True)
    assert np.array_equal(
        (rows["real"] + 1j * rows["imaginary"]).reshape(2, 2), result.density_matrix
    )
    with pytest.raises(InputError):
        result.write(folder)
    result.write(folder, overwrite=True)


def test_picture_shows_the_matrix(result):
    figure = Figure()
    ax = overview.plot_hinton(result.density_matrix, figure.add_subplot())
    areas = np.array([p.get_width() * p.get_height() for p in ax.patches]).reshape(2, 2)
    moduli = np.abs(result.density_matrix)
    assert np.allclose(areas / areas.max(), moduli / moduli.max())
    upper, lower = ax.patches[1].get_facecolor(), ax.patches[2].get_facecolor()
    assert not np.allclose(upper, lower, atol=0.1)  # phases -90 and 90 degrees


def test_bloch_vectors_are_those_of_qutip():
    qutip = pytest.importorskip("qutip")
    rho = qutip.rand_dm([2, 2], seed=4)
    ours = overview.bloch_vectors(torch.from_numpy(rho.full())[None])[0]
    axes = [qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()]
    for q in range(2):
        assert np.allclose(ours[q], [qutip.expect(axis, rho.ptrace(q)) for axis in axes])


def test_picture_of_everything_and_of_little(result):
    whole = overview.plot_overview(result)
    titles = [ax.get_title() for ax in whole.axes]
    assert "Goodness of fit" in " ".join(titles)
    warned = replace(
        result, goodness=None, history=[], remarks=["something to know " * 30], eigenvalues=[]
    )
    figure = overview.plot_overview(warned)
    assert any("something to know" in text.get_text() for text in figure.texts)
    assert figure.get_figheight() > whole.get_figheight()


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_weights(path, {"a": torch.zeros(2)}, {"pipeline": "cavities"})
    with pytest.raises(InputError, match="pipeline tomography"):
        TomographyPredictor.load(path)
    with pytest.raises(InputError, match=r"none\.safetensors"):
        TomographyPredictor.load(tmp_path / "none.safetensors")


def test_no_counts_no_state():
    with pytest.raises(InputError, match="at least one setting"):
        TomographyPredictor().predict(Records(1, []), estimator="linear")
    setting, counts = pauli_data(RHO, 10)[0]
    with pytest.raises(InputError, match="an id of its own"):
        Records(1, [Measurement(setting, counts), Measurement(setting, counts + 1)])
