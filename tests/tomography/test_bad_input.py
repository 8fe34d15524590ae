"""Bad input: exit code 2, a message that names what is wrong, and nothing lost of a session."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data, write_json

from physml.cli.main import main
from physml.exceptions import InputError
from physml.tomography import Records, Tomographer, load_records, save_records
from physml.tomography.core import measurements
from physml.tomography.core.readout import Readout, flips
from physml.tomography.data.laboratory import parse_answer
from physml.tomography.data.session import read_session
from physml.tomography.inference import goodness
from physml.tomography.inference.classical.likelihood import MaximumLikelihood

DATA = pauli_data(noisy("phi+", 0.05))
EFFECTS = DATA[0][0].effects


@pytest.fixture
def tomographer(tmp_path):
    with Tomographer(2, "pauli", "linear", session=tmp_path / "s.jsonl") as made:
        made.update(*DATA[0])
        yield made


BAD_COUNTS = {
    "negative": ([1, -2, 3, 4], "counts of 0 or more"),
    "a fraction": ([1, 2.5, 3, 4], "whole numbers, found 2.5"),
    "nan": ([1, float("nan"), 3, 4], "NaN"),
    "infinity": ([1, np.inf, 3, 4], "NaN or infinity"),
    "too few outcomes": ([1, 2, 3], "4 numbers, one for each outcome"),
    "too many outcomes": ([1, 2, 3, 4, 5], "4 numbers"),
    "a table": ([[1, 2, 3, 4]], "4 numbers"),
    "ragged": ([[1], 2, 3, 4], "whole numbers"),
    "text": (["1", "2", "3", "4"], "whole numbers"),
    "a word": ("1234", "4 numbers"),
    "truth values": ([True, False, True, True], "whole numbers"),
    "nothing": (None, "4 numbers"),
    "complex": ([1, 2j, 3, 4], "whole numbers"),
    "zero times": ([0, 0, 0, 0], "a setting that was measured"),
    "too many": ([2**53, 1, 0, 0], "at most"),
    "far too many": ([10**400, 1, 0, 0], "whole numbers|at most"),
    "another outcome": ({"00": 1, "22": 3}, "outcomes of 00, 01, 10, 11"),
}


@pytest.mark.parametrize("case", BAD_COUNTS)
def test_counts_that_cannot_be_change_nothing(tomographer, case):
    counts, message = BAD_COUNTS[case]
    session = tomographer._session.path
    before, estimate = session.read_bytes(), tomographer.density_matrix
    with pytest.raises(InputError, match=message):
        tomographer.update(DATA[1][0], counts)
    assert session.read_bytes() == before
    assert np.array_equal(tomographer.density_matrix, estimate)
    assert tomographer.update(*DATA[1])  # and it goes on


def changed(effects, **options):
    return measurements.Setting(
        effects, 100, options.get("id", "odd"), outcomes=("0", "1", "2", "3")
    )


BAD_SETTINGS = {
    "not the identity": (changed(EFFECTS * 0.9), "sum to the identity"),
    "not positive": (
        changed(
            EFFECTS + 0.6 * np.stack([np.eye(4), -np.eye(4), np.zeros((4, 4)), np.zeros((4, 4))])
        ),
        "positive",
    ),
    "not hermitian": (changed(EFFECTS + 1e-3 * np.triu(np.ones((4, 4)), 1)), "Hermitian"),
    "nan": (changed(EFFECTS * np.nan), "finite"),
    "another dimension": (measurements.pauli_settings(1, 10)[0], "dimension 4"),
    "no id": (changed(EFFECTS, id=""), "printable"),
    "an id of several lines": (changed(EFFECTS, id="a\nb"), "printable"),
    "a long id": (changed(EFFECTS, id="x" * 1000), "200 characters"),
    "an id of other effects": (changed(DATA[1][0].effects, id=DATA[0][0].id), "had before"),
    "an id never asked for": ("m999999", "asked for"),
    "no setting": ({"effects": 1}, "a Setting or its id"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_cannot_be_change_nothing(tomographer, case):
    setting, message = BAD_SETTINGS[case]
    before = tomographer._session.path.read_bytes()
    with pytest.raises(InputError, match=message):
        tomographer.update(setting, [1, 2, 3, 4])
    assert tomographer._session.path.read_bytes() == before
    assert tomographer.measured == 1


def test_the_same_id_twice(tomographer):
    setting, counts = DATA[0]
    assert not tomographer.update(setting, counts.tolist())  # the same again: no harm
    other = counts.copy()
    other[0] += 1
    with pytest.raises(InputError, match="as before"):
        tomographer.update(setting, other)
    assert tomographer.copies == counts.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_qubits": 0}, "1 to 5 qubits"),
        ({"n_qubits": 40}, "1 to 5 qubits"),
        ({"n_qubits": 2.0}, "number of qubits"),
        ({"design": "best"}, "global, product"),
        ({"design": EFFECTS * 0.9}, "identity"),
        ({"design": []}, "at least one"),
        ({"design": measurements.pauli_settings(1)}, "2 qubits"),
        ({"design": "mub", "n_qubits": 3}, "mutually unbiased"),
        ({"estimator": "magic"}, "neural, particle_filter"),
        ({"seed": -1}, "seed"),
        ({"readout": flips([0.1])}, "2 qubits"),
        ({"readout": np.full((2, 2, 2), 0.7)}, "sum to 1"),
        ({"readout": flips([0.1, 0.1]), "design": "sic"}, "a basis"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        Tomographer(**{"n_qubits": 2, "design": "pauli", "estimator": "linear", **arguments})


def test_a_session_of_other_arguments(tmp_path):
    path = tmp_path / "s.jsonl"
    Tomographer(2, "pauli", "linear", session=path).close()
    before = path.read_bytes()
    for other in (
        {"n_qubits": 1},
        {"design": "mub"},
        {"estimator": "maximum_likelihood"},
        {"seed": 1},
    ):
        given = {"n_qubits": 2, "design": "pauli", "estimator": "linear", **other}
        with pytest.raises(InputError, match="a session with"):
            Tomographer(**given, session=path)
    assert path.read_bytes() == before
    Tomographer(2, "pauli", "linear", session=path).close()  # and the lock is free again


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan"), "0.9", None])
def test_levels_that_are_no_probability(tomographer, value):
    for ask in (tomographer.credible_region, tomographer.should_stop):
        with pytest.raises(InputError, match="between 0 and 1"):
            ask(value)
    with pytest.raises(InputError, match="between 0 and 1"):
        tomographer.functional("purity", value)


def test_functionals_and_targets_that_cannot_be(tomographer):
    for given, target, message in [
        ("negativity", None, "purity, entropy, concurrence"),
        ("fidelity", None, "a target"),
        ("fidelity", np.eye(2) / 2, "2 qubits"),
        ("fidelity", np.eye(4), "trace 1"),
        ("fidelity", np.zeros(4), "not zero"),
        ("fidelity", np.full(4, np.nan), "finite"),
        ("fidelity", np.diag([1.5, -0.5, 0, 0]), "positive"),
    ]:
        with pytest.raises(InputError, match=message):
            tomographer.functional(given, target=target)


@pytest.mark.parametrize("shots", [0, -1, 1.5, float("nan"), 2**60, "10", True])
def test_shots_that_cannot_be(tomographer, shots):
    before = tomographer._session.path.read_bytes()
    with pytest.raises(InputError, match="shots"):
        tomographer.next_measurement(shots)
    assert tomographer._session.path.read_bytes() == before


def test_a_million_million_copies(monkeypatch):
    monkeypatch.setattr(goodness, "ITERATIONS", 200)
    # A log-likelihood that misses 1 of its maximum is a standard deviation off.
    made = Tomographer(1, "pauli", MaximumLikelihood(tolerance=1.0))
    for setting, share in zip(measurements.pauli_settings(1, 10**12), (0.8, 0.5, 0.5), strict=True):
        made.update(setting, [round(10**12 * share), round(10**12 * (1 - share))])
    assert made.copies == 3 * 10**12
    # Bloch vector (0.6, 0, 0).
    assert np.allclose(made.density_matrix, [[0.5, 0.3], [0.3, 0.5]], atol=3e-6)
    region = made.credible_region(0.9)
    assert 0 < region.infidelity < 1e-10
    assert made.should_stop(1e-9)
    assert made.goodness_of_fit().passed


def test_too_few_settings_are_said_and_do_no_harm():
    made = Tomographer(2, "pauli", "linear")
    empty = made.credible_region(0.9)
    assert not empty.complete
    made.update(*DATA[0])
    region = made.credible_region(0.9)
    assert "not informationally complete: 12 of 15" in region.notes[0]
    assert not region.complete
    assert not made.should_stop(0.999)  # even where the region is as small
    assert made.goodness_of_fit().drift_p_value is None


@pytest.fixture
def refused(capsys, tmp_path):
    """The command fails with 2, says why, and leaves nothing behind."""

    def check(path, *mentions, options=()):
        out = tmp_path / "result"
        arguments = ["estimate", path, "--estimator", "linear", "-o", out, *options]
        code = main(["tomography", *map(str, arguments)])
        message = capsys.readouterr().err
        assert code == 2, message
        assert "Traceback" not in message
        for text in (path.name, *mentions):
            assert str(text) in message, message
        assert not out.exists()
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]

    return check


LINES = ["axes,00,01,10,11", "XX,1,2,3,4", "ZZ,5,6,7,8"]
BAD_CSV = {
    "no head": (LINES[1:], "axes"),
    "a hole": ([*LINES[:2], "ZZ,5,6,7"], "5 cells in line 3"),
    "a word": ([*LINES[:2], "ZZ,5,six,7,8"], "'six'"),
    "nan": ([*LINES[:2], "ZZ,5,nan,7,8"], "line 3"),
    "negative": ([*LINES[:2], "ZZ,5,-6,7,8"], "line 3"),
    "a fraction": ([*LINES[:2], "ZZ,5,6.5,7,8"], "6.5"),
    "zero": ([*LINES[:2], "ZZ,0,0,0,0"], "no counts at all"),
    "other axes": ([*LINES[:2], "QZ,5,6,7,8"], "'QZ'"),
    "another dimension": ([*LINES[:2], "ZZZ,5,6,7,8"], "000"),
    "missing outcome": (["axes,00,01,10", "XX,1,2,3"], "outcome 11"),
    "a column twice": (["axes,00,01,10,10", "XX,1,2,3,4"], "once"),
    "a strange column": (["axes,00,01,10,11,22", "XX,1,2,3,4,5"], "'22'"),
    "only the head": (LINES[:1], "only the head"),
    "an outcome twice": (["axes,outcome,counts", "X,0,1", "X,0,2"], "again in line 3"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_csv_files_that_cannot_be(case, tmp_path, refused):
    lines, message = BAD_CSV[case]
    path = tmp_path / "counts.csv"
    path.write_text("\n".join(lines) + "\n")
    refused(path, message)


def records_json(**changes):
    row = {"axes": "XX", "counts": [1, 2, 3, 4]}
    return {"measurements": [row, {"axes": "ZZ", "counts": [1, 2, 3, 4]}]} | changes


BAD_JSON = {
    "a list": ([], "a list of measurements"),
    "no measurements": (records_json(measurements=[]), "1 to"),
    "a number": (records_json(measurements=[3]), "an object"),
    "no counts": (records_json(measurements=[{"axes": "XX"}]), "counts"),
    "no setting": (records_json(measurements=[{"counts": [1, 2]}]), "a setting, or axes"),
    "another number of qubits": (records_json(n_qubits=3), "3 qubits"),
    "qubits in words": (records_json(n_qubits="two"), "number of qubits"),
    "a bad setting": (
        records_json(measurements=[{"setting": {"id": "a", "shots": -1}, "counts": [1, 2]}]),
        "shots",
    ),
    "readout of another size": (
        records_json(readout={"confusion": [[[1, 0], [0, 1]]]}),
        "2 qubits",
    ),
    "readout that is none": (records_json(readout={"confusion": "no"}), "numbers"),
    "calibration of another size": (records_json(calibration=[[9, 1], [1, 9]]), "4 states"),
    "negative calibration": (records_json(calibration=[[-9, 1], [1, 9]]), "whole numbers"),
    "a time in words": (
        records_json(measurements=[{"axes": "X", "counts": [1, 2], "time": "noon"}]),
        "seconds",
    ),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_json_files_that_cannot_be(case, tmp_path, refused):
    data, message = BAD_JSON[case]
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(data))
    refused(path, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"measurements": [', "JSON"),
        ('{"measurements": [{"axes": "X", "counts": [1, NaN]}]}', "NaN"),
        ('{"measurements": [{"axes": "X", "counts": [1, 2], "counts": [3, 4]}]}', "once"),
        ("[" * 100_000, "JSON"),
        ('{"XZ": {"00": -1}}', "whole number"),
        ('{"XZ": {"000": 1}}', "2 bits"),
    ],
)
def test_json_texts_that_cannot_be(text, message, tmp_path, refused):
    path = tmp_path / "counts.json"
    path.write_text(text)
    refused(path, message)


def test_bytes_of_something_else(tmp_path, refused):
    path = tmp_path / "counts.csv"
    path.write_bytes(bytes(range(128, 256)) * 10)
    refused(path, "another kind of file")
    refused(tmp_path / "none.csv", "no such file")


@pytest.fixture
def hdf5(tmp_path):
    path = tmp_path / "records.h5"
    save_records(load_records(write_json(tmp_path / "r.json", DATA)), path)
    return path


def edit(path, name, change):
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        file[name] = change(values)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("counts", lambda v: v - 10**6, "counts of 0 or more"),
        ("counts", lambda v: v + 0.5, "whole numbers"),
        ("counts", lambda v: v[:-1], "one length"),
        ("effects", lambda v: v * 0.9, "identity"),
        ("effects", lambda v: v * np.nan, "finite"),
        ("effects", lambda v: v[:, :3, :3], "qubits"),
        ("effects", lambda v: v.real, "complex"),
        ("setting", lambda v: v[::-1], "in the order"),
        ("settings", lambda v: v[:-1], "a row of settings"),
    ],
)
def test_hdf5_files_that_cannot_be(hdf5, refused, name, change, message):
    edit(hdf5, name, change)
    refused(hdf5, message)


def test_records_of_two_dimensions():
    one = load_like(pauli_data(noisy("+", 0.1, 1)))
    with pytest.raises(InputError, match="2 qubits"):
        Records(2, one.measurements)


def load_like(data):
    from physml.tomography.data.records import Measurement

    n = data[0][0].dimension.bit_length() - 1
    return Records(n, [Measurement(s, c) for s, c in data])


def test_a_csv_file_has_no_place_for_some_things(tmp_path):
    records = load_like(DATA)
    with pytest.raises(InputError, match="readout"):
        save_records(
            Records(2, records.measurements, Readout(flips([0.1, 0.1]))), tmp_path / "a.csv"
        )
    sic = Tomographer(2, "sic", "linear")
    setting = sic.next_measurement(100)
    sic.update(setting, [100, *[0] * 15])
    with pytest.raises(InputError, match="Pauli settings"):
        save_records(sic.records, tmp_path / "a.csv")
    with pytest.raises(InputError, match="ends in"):
        save_records(records, tmp_path / "a.xlsx")
    assert not list(tmp_path.iterdir())


def test_refused_answers_leave_the_session_as_it_was(tmp_path, capsys):
    session, answer = tmp_path / "s.jsonl", tmp_path / "a.json"

    def call(*arguments):
        code = main(["tomography", "next", str(session), *map(str, arguments)])
        return code, capsys.readouterr().err

    assert call("--qubits", 1, "--design", "pauli", "--estimator", "linear")[0] == 0
    before = session.read_bytes()
    name = read_session(session)[1]["setting"]["id"]
    for body, message in [
        ({"id": name, "counts": [1, -1]}, "counts of 0 or more"),
        ({"id": name, "counts": [1, 2, 3]}, "2 numbers"),
        ({"id": name, "counts": [4, 5]}, "10 counts, as many as shots, found 9"),
        ({"id": "m000000", "counts": [1, 2]}, "asked for"),  # of no session
        ({"id": name}, "id and counts"),
        ("words", "id and counts"),
    ]:
        answer.write_text(json.dumps(body))
        code, text = call("--add", answer)
        assert code == 2
        assert message in text
        assert session.read_bytes() == before
    code, text = call("--qubits", 2)
    assert code == 2
    assert "a session with n_qubits 2" in text
    answer.write_text(json.dumps({"id": name, "counts": [5, 5]}))
    assert call("--add", answer)[0] == 0
    assert len(read_session(session)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--copies", "10"], "one of --simulate, --connect and --folder"),
        (["--simulate", "phi+"], "a number of copies"),
        (["--simulate", "phi+", "--infidelity", "2"], "between 0 and 1"),
        (["--simulate", "cat", "--copies", "10"], "phi+"),
        (["--connect", "nowhere", "--copies", "10"], "HOST:PORT"),
        (["--simulate", "0", "--copies", "10", "--readout", "0.7"], "0 to 0.5"),
        (["--simulate", "0", "--copies", "10", "--readout", "none.json"], "no such file"),
        (["--simulate", "0", "--copies", "10", "--design", "none.json"], "no such file"),
    ],
)
def test_loops_that_cannot_be(options, message, tmp_path, capsys):
    arguments = ["tomography", "run", str(tmp_path / "s.jsonl"), "--estimator", "linear"]
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", "counts as JSON"),
        (b"[1, 2]", "an object with id"),
        (b'{"id": "other", "counts": [1, 2]}', "counts of 'a'"),
        (b'{"id": "a"}', "counts of 'a'"),
        (b'{"error": "the shutter is stuck"}', "the shutter is stuck"),
        (b'{"id": "a", "counts": [1, 2], "time": "now"}', "seconds"),
    ],
)
def test_answers_that_are_none(text, message):
    setting = measurements.product_setting(measurements.pauli_local(1)[0], 10, "a")
    with pytest.raises(InputError, match=message):
        parse_answer(text, setting, "laboratory")
