"""Settings, readouts and tables from outside that are made to do harm."""

from __future__ import annotations

import json

import pytest

from physml.exceptions import InputError
from physml.tomography.core.measurements import Setting
from physml.tomography.core.readout import Readout
from physml.tomography.data.photonic import read_coincidences


def nested(depth: int) -> list:
    out: list = []
    for _ in range(depth):
        out = [out]
    return out


HUGE = 10**400

HOSTILE = [
    {"shots": HUGE, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]]},
    {"shots": 1, "local": nested(500)},
    {"shots": 1, "effects": nested(500)},
    {"shots": 1, "effects": [[[[HUGE, 0], [0, 0]], [[0, 0], [1, 0]]]]},
    {"shots": 1, "effects": [[[[1e308, 0], [1e308, 0]], [[1e308, 0], [1e308, 0]]]] * 2},
    {"shots": 1, "effects": []},
    {"shots": 1, "effects": {"__reduce__": "os.system"}},
    # A product of many qubits would be 8^n numbers.
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]] * 40},
    {"shots": 1, "basis": [[[1e200, 0], [0, 0]], [[0, 0], [1e200, 0]]]},
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]], "outcomes": ["0", "0"]},
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]], "outcomes": nested(50)},
]


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_settings_are_refused(data):
    with pytest.raises(InputError):
        Setting.from_dict(data)


@pytest.mark.parametrize(
    "confusion", [nested(200), [[[HUGE, 0], [0, 1]]], {"a": 1}, [], [[[1, 0], [0, None]]]]
)
def test_hostile_readouts_are_refused(confusion):
    with pytest.raises(InputError):
        Readout.from_dict({"confusion": confusion})
    with pytest.raises(InputError):
        Readout.from_dict({"confusion": [[[1, 0], [0, 1]]], "error": confusion})


def table(**changes) -> str:
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
        table(n_qubits=HUGE // 10**90 * 10**90),
        table(n_qubits=1e400),
        table(measurement_states=[1, 2]),
        table(measurement_states={"H": [HUGE, 0], "V": [0, 1]}),
        table(data={"basis": 1}),
        table(data=[[]]),
        table(data=[{"basis": [["H"]], "counts": [1]}]),
        table(data=[{"basis": ["H"], "counts": [1e300]}, {"basis": ["V"], "counts": [2]}]),
        table(crosstalk=[[[1, 0], [0, 1]]] * 3),
        table(relative_efficiency={"a": 1}),
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


def test_an_honest_table_is_read(tmp_path):
    file = tmp_path / "table"
    file.write_text(table())
    ((setting, counts),), _ = read_coincidences(file)
    assert setting.id == "Z"
    assert counts.tolist() == [1, 2]
