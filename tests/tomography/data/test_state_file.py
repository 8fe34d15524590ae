"""Targets: what `predict -o` writes is read again, and states of other programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data, quick_figure, write_csv

from physml import provenance
from physml.cli.main import main
from physml.exceptions import InputError
from physml.io.shards import write_shard
from physml.tomography.cli_inputs import read_target
from physml.tomography.core.states import hilbert_schmidt
from physml.tomography.data.state_file import read_state
from physml.tomography.results.matrix_csv import bits, complex_csv

RHO = hilbert_schmidt(1, 4, np.random.default_rng(5))[0].numpy()
TABLE = complex_csv(RHO, bits(4))
PSI = np.array([0.5, 0.5j, -0.5, 0.1 + 0.7j**2]) / np.linalg.norm([0.5, 0.5j, -0.5, 0.1 + 0.7j**2])
PAIRS = np.stack([RHO.real, RHO.imag], -1).tolist()


def put(tmp_path, name, content):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, content)
    elif name.endswith(".h5"):
        write_shard(path, content, provenance=provenance.record("records", {}))
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def lines(separator):
    rows = [separator.join(f"{x.real!r}{x.imag:+}j".replace("(", "") for x in r) for r in RHO]
    return "\n".join(rows).replace("np.float64", "").replace("(", "").replace(")", "")


FORMS = {
    "t.csv": TABLE,
    "shuffled.csv": "\n".join(
        [TABLE.splitlines()[0], *sorted(TABLE.splitlines()[1:], reverse=True)]
    ),
    "matrix.csv": lines(","),
    "matrix.txt": lines(" "),
    "pairs.json": PAIRS,
    "result.json": {"name": "x", "density_matrix": PAIRS},
    "state.json": {"state": PAIRS},
    "parts.json": {"real": RHO.real.tolist(), "imag": RHO.imag.tolist()},
    "texts.json": [[f"{x.real:.17g}{x.imag:+.17g}j" for x in row] for row in RHO],
    "m.npy": RHO,
    "m.h5": {"density_matrix": RHO},
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_a_density_matrix(tmp_path, name):
    found = read_target(str(put(tmp_path, name, FORMS[name])), 2)
    assert np.abs(found.numpy() - RHO).max() < 1e-12


@pytest.mark.parametrize("name", ["v.json", "v.npy", "texts.json", "unnormalised.npy"])
def test_forms_of_a_vector(tmp_path, name):
    content = {
        "v.json": np.stack([PSI.real, PSI.imag], -1).tolist(),
        "texts.json": [f"{x.real:.17g}{x.imag:+.17g}j" for x in PSI],
    }.get(name, PSI if name == "v.npy" else 3 * PSI)
    found = read_state(put(tmp_path, name, content), 2).numpy()
    assert np.abs(found - np.outer(PSI, PSI.conj())).max() < 1e-12


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4, np.pi / 2])
@pytest.mark.parametrize("phase", [0.0, 0.7, np.pi / 2])
def test_pairs_of_one_qubit_are_its_vector(tmp_path, angle, phase):
    """[[a, b], [c, d]] of one qubit: pairs, unless it is a state as a matrix."""
    psi = np.array([np.cos(angle), np.exp(1j * phase) * np.sin(angle)])
    path = put(tmp_path, "v.json", np.stack([psi.real, psi.imag], -1).tolist())
    assert np.abs(read_state(path, 1).numpy() - np.outer(psi, psi.conj())).max() < 1e-12
    mixed = put(tmp_path, "m.json", [[0.7, 0.1], [0.1, 0.3]])
    assert np.allclose(read_state(mixed, 1).numpy(), [[0.7, 0.1], [0.1, 0.3]])


def test_rounded_states_are_made_states_again(tmp_path):
    remarks: list[str] = []
    psi = torch.tensor([1, 0.3, 0.2j, -0.5], dtype=torch.complex128)
    pure = torch.outer(psi, psi.conj()) / float((psi.conj() @ psi).real)
    found = read_state(put(tmp_path, "r.npy", np.round(pure.numpy(), 3)), 2, remarks).numpy()
    assert np.abs(found - pure.numpy()).max() < 2e-3
    assert np.trace(found).real == pytest.approx(1)
    assert np.linalg.eigvalsh(found).min() > -1e-12
    assert "r.npy was rounded" in remarks[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", 0.9 * RHO, "trace 1"),
        ("a.npy", np.eye(8) / 8, "2 qubits"),
        ("a.npy", np.array(["a"]), "an array of numbers"),
        ("a.json", {"counts": 1}, "density_matrix or state"),
        ("a.json", [[True, False]], "numbers"),
        ("a.json", {"real": [1, 0], "imag": [[0, 0]]}, "parts of one shape"),
        ("a.csv", "axes,00,01,10,11\nXX,1,2,3,4\n", "give the state, not the counts"),
        ("a.csv", TABLE.rsplit("\n", 2)[0], "each element"),
        ("a.csv", TABLE + "11,11,0.1,0.0\n", r"line 17 and again in line 18"),
        ("a.csv", TABLE.replace("00,", "02,"), "as 2 bits"),
        ("a.csv", "1,0\n0\n", "one length"),
        ("a.h5", {"density_matrix": np.eye(8) + 0j}, "a complex dataset"),
        ("none.csv", None, "no such file"),
    ],
)
def test_files_that_hold_no_such_state(tmp_path, name, content, message):
    path = tmp_path / name if content is None else put(tmp_path, name, content)
    with pytest.raises(InputError, match=message):
        read_target(str(path), 2)


def test_a_result_is_the_target_of_another(tmp_path, capsys, monkeypatch):
    """Folder, estimate.json and density_matrix.csv give one fidelity; records.h5 says why not."""
    quick_figure(monkeypatch)
    counts = write_csv(tmp_path / "c.csv", pauli_data(noisy("psi-", 0.2), 500))
    command = ["tomography", "predict", str(counts), "--estimator", "linear", "--quick"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    for name in ("", "estimate.json", "density_matrix.csv"):
        assert main([*command, "--json", "--target", str(tmp_path / "out" / name)]) == 0
        found = json.loads(capsys.readouterr().out)["functionals"][0]
        assert found["name"] == "fidelity"
        assert found["value"] == pytest.approx(1, abs=1e-6)
    assert main([*command, "--target", str(tmp_path / "out" / "records.h5")]) == 2
    assert "density_matrix.csv" in capsys.readouterr().err


def test_the_case_file(shared_data):
    path = shared_data.parent / "cases" / "tomography" / "09_target_density_matrix.csv"
    if not path.is_file():
        pytest.skip(f"real data not found at {path}; set PHYSML_SHARED_DATA to their folder")
    found = read_target(str(path), 2).numpy()
    assert found[1, 1].real == 0.5152997501133826
    assert found[1, 2] == 0.4931914113034456 - 0.03966132217672047j
