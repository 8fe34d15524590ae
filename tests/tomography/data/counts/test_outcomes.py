"""Names of outcomes: bits, signs, decimal numbers, bits without their zeros; what is ambiguous."""

from __future__ import annotations

import json

import pytest

from physml.exceptions import InputError
from physml.tomography import load_records
from physml.tomography.data.counts.outcomes import Measured, read_outcomes


@pytest.mark.parametrize(
    ("names", "n", "bits", "remark"),
    [
        (["00", "11"], 2, ["00", "11"], None),
        (["0 1", "11"], 2, ["01", "11"], None),
        (["+-", "--"], 2, ["01", "11"], "eigenvalues"),
        (["0", "1", "10", "11"], 2, ["00", "01", "10", "11"], "leading zeros"),
        (["0", "1", "2", "3"], 2, ["00", "01", "10", "11"], "decimal"),
        (["0", "7"], 3, ["000", "111"], "decimal"),
        (["0", "1", "111"], 3, ["000", "001", "111"], "leading zeros"),
        (["10", "2"], 4, ["1010", "0010"], "decimal"),
        (["0", "1"], 1, ["0", "1"], None),
    ],
)
def test_names_that_can_be_read_in_one_way(names, n, bits, remark):
    found, said = read_outcomes(names, n, "file")
    assert list(found.values()) == bits
    assert (said is None) == (remark is None)
    assert remark is None or remark in said


@pytest.mark.parametrize(
    ("names", "n", "message"),
    [
        (["0", "1"], 2, "2 bits"),  # bits of one qubit, or numbers
        (["0", "10", "1000"], 4, "2 bits|4 bits"),
        (["10", "1"], 4, "4 bits"),
        (["00", "1"], 2, "2 bits"),
        (["00", "22"], 2, "'22'"),
        (["0", "1", "10", "2"], 2, "2 bits"),
        (["0", "4"], 2, "2 bits"),
        (["01", "001"], 2, "'001'"),
        (["0a"], 2, "'0a'"),
        (["011", "110"], 2, "--measured 0,1"),
        (["-1", "+1"], 1, "1 bits"),
    ],
)
def test_names_that_leave_a_doubt_are_refused(names, n, message):
    if names == ["0", "10", "1000"]:  # 1000 is no decimal number of four bits
        assert read_outcomes(names, n, "file")[0] == {"0": "0000", "10": "0010", "1000": "1000"}
        return
    with pytest.raises(InputError, match=message):
        read_outcomes(names, n, "file")


def test_bits_are_chosen_in_the_order_that_was_said():
    choice = Measured.of([2, 0])
    found, _ = read_outcomes(["011", "110"], 2, "file", choice)
    assert found == {"011": "10", "110": "01"}
    assert choice.used
    with pytest.raises(InputError, match="2 of the bits 0 to 2"):
        read_outcomes(["011"], 2, "file", Measured.of([0, 3]))
    with pytest.raises(InputError, match="2 of the bits 0 to 2"):
        read_outcomes(["011"], 2, "file", Measured.of([0, 1, 2]))
    for bad in ([], [0, 0], [-1], [True], [0.5]):
        with pytest.raises(InputError, match="measured="):
            Measured.of(bad)


def test_a_list_of_measurements_is_enough(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"axes": "X", "counts": [5, 3]}, {"axes": "Z", "counts": [8, 0]}]))
    assert load_records(path).copies == 16
    path.write_text(json.dumps({"data": 1}))
    with pytest.raises(InputError, match="list of measurements, or counts by label"):
        load_records(path)


def test_json_with_names_of_all_kinds(tmp_path):
    path = tmp_path / "r.json"

    def read(counts, **options):
        path.write_text(json.dumps({"measurements": [{"axes": "xz", "counts": counts}]}))
        records = load_records(path, **options)
        return records.measurements[0].counts.tolist(), records.remarks

    assert read({"00": 5, "10": 3})[0] == [5, 0, 3, 0]
    assert read({"++": 5, "-+": 3})[0] == [5, 0, 3, 0]
    counts, remarks = read({"0": 5, "2": 3})
    assert counts == [5, 0, 3, 0]
    assert "decimal" in remarks[0]
    assert read({"000": 5, "101": 3, "001": 2}, measured=[2, 1])[0] == [5, 0, 5, 0]
    with pytest.raises(InputError, match="whole numbers"):
        read({"000": 0.5, "010": 0.5}, measured=[0, 2])  # their sum is whole
    with pytest.raises(InputError, match="--measured"):
        read({"000": 5})
