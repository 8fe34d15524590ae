"""Spreadsheets: separators, encodings, commas and points, a line for each shot."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data

from physml.exceptions import InputError
from physml.tomography import load_records

DATA = pauli_data(noisy("phi+", 0.05), 500)
COUNTS = [c.tolist() for _, c in DATA]


def table(separator=",", names=("00", "01", "10", "11"), axes="axes", case=str.upper):
    lines = [separator.join([axes, *names])]
    lines += [separator.join([case(s.id), *map(str, c)]) for s, c in DATA]
    return "\n".join(lines) + "\n"


def read(tmp_path, content, **options):
    path = tmp_path / "counts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_records(path, **options)


FORMS = {
    "semicolons": table(";"),
    "tabulators": table("\t"),
    "blanks": table("  "),
    "small letters": table(case=str.lower),
    "another name of the column": table(axes="Basis"),
    "a line that says the separator": "sep=;\n" + table(";"),
    "windows": table().replace("\n", "\r\n"),
    "a byte-order mark": b"\xef\xbb\xbf" + table().encode(),
    "unicode text of Excel": table("\t").encode("utf-16"),
    "whole floats": table().replace("\n", ".0\n").replace("11.0\n", "11\n", 1),
    "columns without zeros": table(names=("0", "1", "10", "11")),
    "numbered columns": table(names=("0", "1", "2", "3")),
    "signs": table(names=("++", "+-", "-+", "--")),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_table(tmp_path, form):
    records = read(tmp_path, FORMS[form])
    assert [m.counts.tolist() for m in records.measurements] == COUNTS
    for m, (setting, _) in zip(records.measurements, DATA, strict=True):
        assert np.abs(m.setting.effects - setting.effects).max() < 1e-12


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["axes;0;1", "X;411,0;89,0"], "comma may set off decimals or thousands"),
        (["axes\t0\t1", "X\t1,411\t89"], "comma may set off decimals or thousands"),
        (["axes,0,1", "X,1.411,89"], "'1.411', whose point"),
        (["axes,0,1", "X,1.000,89"], "'1.000', whose point"),
        (["axes,0,1", "X,1_000,89"], "a number"),
        (["axes,0,1", "X,12.5,89"], "whole numbers"),
        (["axes,0,1", "X,-3,89"], "0 or more"),
        (["axes,0,1", "X,nan,89"], "a number"),
        (["axes,0,1,1", "X,1,2,3"], "'1' twice"),
        (["axes,0,1", "X,1,2,3"], "3 cells in line 2"),
        (["axes,0", "X,1"], "a column for outcome 1"),
        (["axes,000,001,010,011,100,101,110,111", "XX,1,2,3,4,5,6,7,8"], "--measured 0,1"),
        (["axes,outcome,counts", "X,0,5", "Z,0,3", "X,0,4"], "line 2 and again in line 4"),
        (["axes,outcome,number", "X,0,5"], "a column 'number'"),
        (["axes,shot,outcome", "X,1,0", "X,2,1", "X,1,1"], "line 2 and again in line 4"),
        (["axes,q0,q1", "XX,0,2"], "0 or 1 of each qubit"),
        (["axes,outcome", "XX,0", "XX,1"], "2 bits"),
    ],
)
def test_tables_that_leave_a_doubt_are_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, "\n".join(lines))


def test_extra_bits_of_a_table_are_left_out(tmp_path):
    lines = ["axes,000,001,010,011,100,101,110,111", "XX,1,2,3,4,5,6,7,8"]
    (found,) = read(tmp_path, "\n".join(lines), measured=[2, 0]).measurements
    # Bits 2 and 0 of 000 ... 111: the sums over the middle one.
    assert found.counts.tolist() == [1 + 3, 5 + 7, 2 + 4, 6 + 8]


def test_the_kind_qiskit_of_a_table_has_qubit_0_last(tmp_path):
    (found,) = read(tmp_path, "axes,00,01,10,11\nZX,1,2,3,4\n", kind="qiskit").measurements
    axes = load_records(tmp_path / "counts.csv").measurements[0]
    assert found.counts.tolist() == [1, 3, 2, 4]
    swapped = axes.setting.local[::-1]
    assert np.array_equal(found.setting.local, swapped)


def test_a_line_that_is_a_copy_counts_once(tmp_path):
    lines = ["id,axes,outcome,counts", "a,X,0,5", "a,X,1,4", "b,X,0,5", "b,X,1,4", "a,X,0,5"]
    records = read(tmp_path, "\n".join(lines))
    assert records.copies == 18
    assert records.remarks == ["counted once, though in the file twice: line 2 in line 6"]
    with pytest.raises(InputError, match="line 2 and again in line 7"):
        read(tmp_path, "\n".join([*lines, "a,X,0,6"]))


@pytest.mark.parametrize("columns", ["outcome", "bits", "qubits"])
def test_a_line_for_each_shot(tmp_path, columns):
    rng = np.random.default_rng(0)
    shots = [
        (s.id, outcome)
        for s, c in DATA
        for outcome, number in zip(s.outcomes, c.tolist(), strict=True)
        for _ in range(number)
    ]
    rng.shuffle(shots)  # bases in any order
    if columns == "qubits":  # columns in any order as well
        lines = ["shot,basis,q1,q0", *(f"{k},{a},{o[1]},{o[0]}" for k, (a, o) in enumerate(shots))]
    else:
        lines = [f"shot,basis,{columns}", *(f"{k},{a},{o}" for k, (a, o) in enumerate(shots))]
    records = read(tmp_path, "\n".join(lines))
    found = {axes_of(m): m.counts.tolist() for m in records.measurements}
    assert found == {s.id: c for (s, _), c in zip(DATA, COUNTS, strict=True)}
    assert "4,500 lines of one shot each" in records.remarks[0]


def axes_of(measurement):
    from physml.tomography.data.records_csv import axes_of

    return axes_of(measurement)
