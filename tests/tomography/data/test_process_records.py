"""Files of process tomography: read alike in all forms, and refused with the place named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.tomography import load_process_records

WIDE = "input,axes,0,1\n0,Z,90,10\n+,X,80,20\n"


def write(folder, text, name="counts.csv"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_the_same_from_all_forms(tmp_path):
    long = "input;basis;outcome;count\n0;z;0;90\n0;z;1;10\nX+;x;0;80\nX+;x;1;20\n"
    r = 0.5**0.5
    whole = {
        "measurements": [
            {"input": [[1, 0], [0, 0]], "axes": "Z", "counts": [90, 10]},
            {
                "input": {"state": [[r, 0], [r, 0]]},
                "setting": {"shots": 100, "local": [[[[r, 0], [r, 0]], [[r, 0], [-r, 0]]]]},
                "counts": {"0": 80, "1": 20},
            },
        ]
    }
    first = load_process_records(write(tmp_path, WIDE))
    assert first.n_qubits == 1
    assert first.copies == 200
    for text, name in ((long, "long.csv"), (whole, "a.json")):
        other = load_process_records(write(tmp_path, text, name))
        for a, b in zip(first.measurements, other.measurements, strict=True):
            assert np.abs(a.state - b.state).max() < 1e-12
            gap = a.measurement.setting.effects - b.measurement.setting.effects
            assert np.abs(gap).max() < 1e-12
            assert a.measurement.counts.tolist() == b.measurement.counts.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axes,0,1\nZ,1,2\n", "columns 'input' and 'axes'"),
        ("input,axes,0,1\n", "lines of counts"),
        ("input,axes,0,1\n2,Z,1,2\n", "line 2"),
        ("input,axes,0,1\n0,Z,1,2\n0,W,1,2\n", "line 3"),
        ("input,axes,0,1\n0,Z,1,-2\n", "line 2"),
        ("input,axes,0,1\n0,Z,1.5,2\n", "whole numbers"),
        ("input,axes,0,1\n0,Z,nan,2\n", "whole numbers"),
        ("input,axes,0,1\n0,Z,,2\n", "a number"),
        ("input,axes,0,1\n0,Z,1\n", "4 cells"),
        ("input,axes,00,01\n00,ZZ,1,2\n", "columns"),
        ("input,axes,0,1,shots\n0,Z,1,2,4\n", "add up"),
        ("id,input,axes,0,1\na,0,Z,1,2\na,0,X,1,2\n", "each id once"),
        ("input,axes,0,1\n0,Z,1,2\n00,ZZ,1,2\n", "columns"),
        ("input,axes,outcome\n0,Z,1\n", "a column 'counts'"),
        ("input,axes,outcome,counts\n0,Z,1,3\n0,Z,1,3\n", "once"),
        ("input,axes,outcome,counts\n0,Z,2,3\n", "outcomes"),
        ("input,axes,axes,0\n0,Z,1,3\n", "each column once"),
    ],
)
def test_what_csv_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as caught:
        load_process_records(write(tmp_path, text))
    assert "counts.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": "7"}, "a state of 1 qubits"),
        ({"input": None}, "a label"),
        ({"input": [[1, 0], [1, 0], [0, 0]]}, "vector"),
        ({"input": {"density_matrix": np.ones((2, 2, 2)).tolist()}}, "Hermitian"),
        ({"axes": "XX"}, "4 numbers"),
        ({"axes": "ZZZ", "counts": [1] * 8}, "1 or 2 qubits"),
        ({"counts": [1, 2, 3]}, "2 numbers"),
        ({"shots": 4}, "add up"),
    ],
)
def test_what_json_is_refused(tmp_path, change, words):
    body = {"measurements": [{"input": "0", "axes": "Z", "counts": [90, 10], **change}]}
    with pytest.raises(InputError, match=words):
        load_process_records(write(tmp_path, body, "a.json"))


def test_what_was_assumed_is_said(tmp_path):
    lines = "input,axes,outcome,counts\n0,Z,0,9\n"
    assert "never seen" in load_process_records(write(tmp_path, lines)).remarks[0]
    lines = WIDE + "0,Z,90,10\n"
    assert "again" in load_process_records(write(tmp_path, lines)).remarks[0]
    assert load_process_records(write(tmp_path, WIDE)).remarks == []
