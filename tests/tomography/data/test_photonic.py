"""Coincidence tables of photonic laboratories: what is read, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.fixed_measurements import BASES
from physml.tomography.data.photonic import read_coincidences


def rng() -> np.random.Generator:
    return stream(9, "test", 0)


def cells(vector: torch.Tensor) -> list[str]:
    return [f"{v.real:+.15g}{v.imag:+.15g}j".replace("j", "i") for v in vector.tolist()]


def projector_table(rho: torch.Tensor, bases: torch.Tensor, counts: bool = True) -> str:
    """Rows of one projector each, of a two-qubit state in all pairs of the bases."""
    lines = []
    for a in bases:
        for b in bases:
            p = probabilities(
                torch.stack(
                    [states.projector(torch.kron(a[:, i], b[:, j])) for i in (0, 1) for j in (0, 1)]
                ),
                rho,
            )
            n = sample_counts(p, 1000, rng())[0]
            for k, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                row = ["1", "9", "8", str(int(n[k])), *cells(a[:, i]), *cells(b[:, j])]
                lines.append(",".join(row))
    return "\n".join(lines) + "\n"


def test_projectors_are_grouped_into_measurements(tmp_path):
    rho = states.pure(1, 4, rng())
    axes = torch.cat([BASES, states.random_unitary(1, 2, rng())])
    file = tmp_path / "table.csv"
    text = projector_table(rho, axes)
    # The order of rows must not matter.
    lines = text.splitlines()
    rng().shuffle(lines)
    file.write_text("# a comment\n" + "\n".join(lines) + "\n")
    read = read_coincidences(file)
    found, readout = read.measurements, read.readout
    assert len(found) == 16
    assert {"XX", "XY", "ZZ"} <= {s.id for s, _ in found}
    assert readout is None
    for setting, counts in found:
        assert counts.sum() == setting.shots == 1000
        p = 1000 * probabilities(torch.from_numpy(setting.effects), rho)[0].numpy()
        # The right outcome has the right count: within six sigma.
        assert (np.abs(counts - p) < 6 * np.sqrt(p + 1)).all()


def test_two_detectors_a_photon(tmp_path):
    file = tmp_path / "conf.txt"
    file.write_text(
        "tomo_input=[[10,1,2,3,4,40,3,2,55,1,0,1,0],"
        "[10,1,2,3,4,7,8,9,1,0.707107,0+0.707107j,0.6,-0.8]]\nintensity=[1,1]"
    )
    found = read_coincidences(file).measurements
    (first, a), (second, b) = found
    assert first.id == "ZZ"
    assert a.tolist() == [40, 3, 2, 55]
    assert second.id == "row1"
    assert b.tolist() == [7, 8, 9, 1]
    assert second.local is not None
    # The first columns are the named states, up to a phase.
    assert abs(np.vdot(second.local[0][:, 0], [2**-0.5, 2**-0.5 * 1j])) == pytest.approx(1)
    assert abs(np.vdot(second.local[1][:, 0], [0.6, -0.8])) == pytest.approx(1)


def kwiat(counts, **more):
    letters = {"H": [1, 0], "V": [0, 1], "R": [1, "1j"], "L": [1, "-1j"]}
    data = [
        {"basis": [a, b], "counts": counts[k], "integration_time": 2}
        for k, (a, b) in enumerate([("H", "R"), ("H", "L"), ("V", "R"), ("V", "L")])
    ]
    return json.dumps(
        {"n_qubits": 2, "n_detectors_per_qubit": 1, "measurement_states": letters, "data": data}
        | more
    )


def test_json_with_named_states(tmp_path):
    file = tmp_path / "table.json"
    file.write_text(kwiat([[0, 0, 10], [0, 0, 20], [0, 0, 30], [0, 0, 40]]))
    ((setting, counts),) = read_coincidences(file).measurements
    assert setting.id == "ZY"
    assert counts.tolist() == [10, 20, 30, 40]
    # As some programs write files: with a byte-order mark.
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_coincidences(file).measurements[0][1].tolist() == [10, 20, 30, 40]
    crosstalk = [[[0.9, 0], [0.1, 1]], [[0.8, 0.1], [0.2, 0.9]]]
    file.write_text(kwiat([[1], [2], [3], [4]], crosstalk=crosstalk))
    readout = read_coincidences(file).readout
    assert readout is not None
    assert np.array_equal(readout.confusion, crosstalk)


def test_means_need_a_word_from_the_user(tmp_path):
    file = tmp_path / "table.json"
    file.write_text(kwiat([[0.5], [2], [3.25], [4]]))
    with pytest.raises(InputError, match="whole counts"):
        read_coincidences(file)
    assert read_coincidences(file, repeats=4).measurements[0][1].tolist() == [2, 8, 13, 16]
    assert read_coincidences(file, rounded=True).measurements[0][1].tolist() == [0, 2, 3, 4]
    with pytest.raises(InputError, match="repeats"):
        read_coincidences(file, repeats=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "measurements"),
        ("1,2,3\n", "columns"),
        ("1,5,5,x,1,0,1,0\n", "finite"),
        ("1,5,5,nan,1,0,1,0\n", "finite"),
        ("1,5,5,-3,1,0,1,0\n", "counts >= 0"),
        ("0,5,5,3,1,0,1,0\n", "time > 0"),
        ("1,5,5,3,0,0,1,0\n", "length > 0"),
        ("1,5,5,3,1,0,1,0\n", "all 4 orthogonal projectors along ZZ"),
        ("1,5,5,3,1,0,1,0\n1,2,3,4,5\n", "one kind"),
        ("1,5,0,1,0\n1,5,0,0,1\n", "coincidences in Z"),
        ("tomo_input=[[1,5,3,1,0],[1,5,3,0,1]]\nintensity=[1,0]", "an intensity > 0"),
        ("tomo_input=[[1,5,3,1,0],[1,5,3,0,1]]\nintensity=[1]", "an intensity > 0"),
        ("{", "measurement_states"),
        ("{}", "measurement_states"),
        (kwiat([[1], [2], [3], [4]], relative_efficiency=[1, 0.5]), "equal efficiency"),
        (kwiat([[1], [2], [3], [4]], n_qubits=9), "1 to 5 qubits"),
        (kwiat([[1, 2], [2, 2], [3, 2], [4, 2]]), "singles and coincidences"),
        (kwiat([[1], [2], [3], "x"]), "finite"),
        (kwiat([[1], [2], [3], [4]], crosstalk=[[[0.9, 0], [0.2, 1]]]), "columns sum to 1"),
        (kwiat([[1], [2], [3], [4]], measurement_states={"H": [1]}), "two amplitudes"),
        (kwiat([[1], [2], [3], [4]], measurement_states={"H": [1, 0]}), "basis and counts"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    file = tmp_path / "table.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_coincidences(file)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_coincidences(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="text"):
        read_coincidences(tmp_path / "binary.csv")


def test_real_tables(shared_data):
    """Both public sets hold what their papers count; nine settings each."""
    folder = shared_data / "quantum"
    table = folder / "twin_photons_MIT" / "counts.csv"
    twin = read_coincidences(table, rounded=True).measurements
    bell = read_coincidences(folder / "kwiat_examples_MIT" / "bell_psi_data.txt").measurements
    for found, pairs in ((twin, 21_649), (bell, 59_843)):
        assert sorted(s.id for s, _ in found) == sorted(a + b for a in "XYZ" for b in "XYZ")
        # Rounding of 36 means.
        assert abs(sum(int(c.sum()) for _, c in found) - pairs) < 4
    counts = {s.id: c for s, c in twin}
    assert counts["ZZ"].tolist() == [1214, 1, 2, 1182]
    assert (counts["YY"][[1, 2]] > 1000).all()  # Phi+ is anticorrelated along Y
    with pytest.raises(InputError, match="whole counts"):
        read_coincidences(folder / "twin_photons_MIT" / "counts.csv")
    exact = read_coincidences(table, repeats=50).measurements
    assert exact[0][1].tolist() == [60_701, 54, 124, 59_106]


def hostile(**changes) -> str:
    data = {
        "n_qubits": 1,
        "measurement_states": {"H": [1, 0], "V": [0, 1]},
        "data": [{"basis": ["H"], "counts": [1]}, {"basis": ["V"], "counts": [2]}],
    }
    return json.dumps(data | changes)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        hostile(n_qubits=10**400),
        hostile(n_qubits=1e400),
        hostile(measurement_states=[1, 2]),
        hostile(measurement_states={"H": [10**400, 0], "V": [0, 1]}),
        hostile(data={"basis": 1}),
        hostile(data=[[]]),
        hostile(data=[{"basis": [["H"]], "counts": [1]}]),
        hostile(data=[{"basis": ["H"], "counts": [1e300]}, {"basis": ["V"], "counts": [2]}]),
        hostile(crosstalk=[[[1, 0], [0, 1]]] * 3),
        hostile(relative_efficiency={"a": 1}),
        "__import__('os').getcwd(),5,3,1,0\n",
        "tomo_input=[[__import__('os'),5,3,1,0]]",
        "1,5,1" + "0" * 400 + ",1,0\n",
        "1,5,3," + "1" * 5000 + ",0\n",
    ],
)
def test_hostile_tables_are_refused(tmp_path, text):
    file = tmp_path / "table"
    file.write_text(text)
    with pytest.raises(InputError):
        read_coincidences(file)


def test_too_large_tables_are_not_read(tmp_path):
    file = tmp_path / "large.csv"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(InputError, match="of at most"):
        read_coincidences(file)
