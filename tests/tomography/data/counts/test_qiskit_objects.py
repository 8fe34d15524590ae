"""What qiskit gives: keys and labels of all kinds, registers, results of samplers, experiments.

The classes here stand for those of qiskit 2 (`BitArray`, `DataBin`, `SamplerPubResult`), with
what these have.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data

from physml.cli.main import main
from physml.exceptions import InputError
from physml.tomography import load_records
from physml.tomography.data.counts.qiskit_keys import qiskit_counts
from physml.tomography.data.qiskit import from_qiskit, records_from_qiskit

DATA = pauli_data(noisy("phi+", 0.1), 300)
WANTED = {s.id: c.tolist() for s, c in DATA}
#: As qiskit has them: label and bits turned round.
BITS = {
    s.id[::-1]: {o[::-1]: n for o, n in zip(s.outcomes, c.tolist(), strict=True)} for s, c in DATA
}


def keyed(change, value=int):
    return {a: {change(b): value(n) for b, n in counts.items()} for a, counts in BITS.items()}


def found(results, **options):
    return {s.id: c.tolist() for s, c in from_qiskit(results, **options)}


FORMS = {
    "bits": keyed(str),
    "whole floats": keyed(str, float),
    "numbers of numpy": keyed(str, np.int64),
    "registers of one bit": keyed(" ".join),
    "hexadecimal": keyed(lambda b: hex(int(b, 2))),
    "hexadecimal with zeros": keyed(lambda b: f"0x{int(b, 2):02X}"),
    "binary": keyed(lambda b: f"0b{b}"),
    "integers": keyed(lambda b: int(b, 2)),
    "decimal text": keyed(lambda b: str(int(b, 2))),
    "small letters": {a.lower(): counts for a, counts in BITS.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_keys_and_labels_of_all_kinds(form, tmp_path):
    assert found(FORMS[form]) == WANTED
    if form not in ("numbers of numpy",):  # JSON makes texts of integers
        (tmp_path / "q.json").write_text(json.dumps(FORMS[form]))
        records = load_records(tmp_path / "q.json")
        assert {m.setting.id: m.counts.tolist() for m in records.measurements} == WANTED


def test_tuples_say_nothing_of_their_order():
    last = {tuple(a): counts for a, counts in BITS.items()}
    first = {tuple(a[::-1]): counts for a, counts in BITS.items()}
    text = {str(a): counts for a, counts in first.items()}
    assert found(last, tuples="last") == WANTED
    assert found(first, tuples="first") == found(text, tuples="first") == WANTED
    with pytest.raises(InputError, match="leaves open where qubit 0 stands"):
        found(last)
    with pytest.raises(InputError, match="first or last"):
        found(last, tuples="left")
    assert found({("X",): {"0": 3, "1": 2}}) == {"X": [3, 2]}  # of one qubit there is no doubt


def test_a_file_with_tuples_is_told_how(tmp_path, capsys):
    path = tmp_path / "q.json"
    path.write_text(json.dumps({str(tuple(a)): counts for a, counts in BITS.items()}))
    assert main(["tomography", "predict", str(path)]) == 2
    assert "join the letters to a text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "n", "message"),
    [
        ({"00": 0.51, "11": 0.49}, 2, "a probability: together they are 1"),
        ({"00": 0.53, "11": 0.52, "01": -0.05}, 2, "a quasi-probability"),
        ({0: 1.02, 3: -0.02}, 2, "a quasi-probability"),
        ({"00": 411.5}, 2, "411.5, which is no count"),
        ({"00": float("nan")}, 2, "whole number"),
        ({"00": "5"}, 2, "whole number"),
        ({"00": None}, 2, "whole number"),
        ({"0": 5, "1": 4}, 2, "2 bits"),  # of one bit, or numbers
        ({"10": 5, "1": 4}, 4, "decimal or bits"),
        ({10: 5, 1: 4}, 4, "decimal number or bits"),
        ({10: 5, 11: 4}, 2, "decimal number or bits"),
        ({4: 5}, 2, "Integers are values of bits"),
        ({"0x4": 5}, 2, "2 bits"),
        ({"01": 5, 2: 4}, 2, "keys of one kind"),
        ({"01": 5, "001": 4}, 2, "2 bits"),
        ({"0 01": 5}, 2, "--measured 0,1"),
        ({"1": 5}, 1, None),
        ({True: 5}, 1, "1 bits"),
        ({-1: 5}, 1, "1 bits"),
        ({"": 5}, 1, "1 bits"),
    ],
)
def test_counts_that_leave_a_doubt(counts, n, message):
    if message is None:
        assert qiskit_counts(counts, n).tolist() == [0, 5]
        return
    with pytest.raises(InputError, match=message):
        qiskit_counts(counts, n)


def test_ones_as_floats_may_be_probabilities():
    with pytest.raises(InputError, match="as probabilities are"):
        from_qiskit({"X": {"0": 1.0}, "Z": {"0": 0.0, "1": 1.0}})
    assert found({"X": {"0": 1}, "Z": {"1": 1}}) == {"X": [1, 0], "Z": [0, 1]}


@pytest.mark.parametrize("bit", [0, 1, 2])
@pytest.mark.parametrize("form", ["registers", "bits", "hexadecimal", "integers"])
def test_an_extra_bit_is_left_out(bit, form, tmp_path):
    """A bit that is 1 in a third of the runs, at each place of the key."""
    places = [k for k in range(3) if k != bit]
    results = {}
    for label, counts in BITS.items():
        wide = {}
        for bits, number in counts.items():
            for extra, part in (("0", number - number // 3), ("1", number // 3)):
                turned = list(bits[::-1])
                turned.insert(bit, extra)
                key = "".join(turned)[::-1]
                wide[key] = part
        results[label] = {
            {
                "registers": lambda k: f"{k[:1]} {k[1:]}",
                "bits": str,
                "hexadecimal": lambda k: hex(int(k, 2)),
                "integers": lambda k: int(k, 2),
            }[form](k): v
            for k, v in wide.items()
        }
    assert found(results, measured=places) == WANTED
    with pytest.raises(InputError, match="measured"):
        found(results)
    if form != "integers":
        path = tmp_path / "q.json"
        path.write_text(json.dumps(results))
        records = load_records(path, measured=places)
        assert {m.setting.id: m.counts.tolist() for m in records.measurements} == WANTED


def test_texts_that_are_numbers_are_said():
    records = records_from_qiskit({"XX": {"0": 5, "3": 4}, "ZZ": {"0": 5, "1": 3}})
    assert records.remarks == ["outcomes such as '0' are read as decimal numbers"]
    assert [m.counts.tolist() for m in records.measurements] == [[5, 0, 0, 4], [5, 0, 3, 0]]
    with pytest.raises(InputError, match="2 bits"):  # bits of one qubit, for all that is said
        records_from_qiskit({"XX": {"0": 5, "1": 4}, "ZZ": {"0": 5, "1": 3}})


def test_numbers_have_no_width():
    """A choice of bits that is never seen to be more than two is one of bits all the same."""
    results = {"XZ": {0: 5, 1: 3, 3: 2}}  # bits 0 and 1 of three, of which the last is always 0
    assert found(results, measured=[0, 1])["ZX"] == [5, 0, 3, 2]
    assert found(results, measured=[0, 2])["ZX"] == [5, 0, 5, 0]
    assert found(results, measured=[1, 0])["ZX"] == [5, 3, 0, 2]


def test_qubits_are_left_out_where_each_has_its_letter(tmp_path):
    (tmp_path / "q.json").write_text(json.dumps(BITS))
    wanted = {s.id: c.reshape(2, 2).sum(0).tolist() for s, c in DATA}
    for part in (
        load_records(tmp_path / "q.json", measured=[1]),
        records_from_qiskit(BITS, measured=[1]),
    ):
        assert part.n_qubits == 1
        assert {m.setting.id: m.counts.tolist() for m in part.measurements} == wanted


class BitArray:
    """As `qiskit.primitives.BitArray`."""

    def __init__(self, counts, shape=()):
        self.counts, self.shape = counts, shape
        self.num_bits = len(next(iter(counts)))

    def get_counts(self):
        return self.counts


class DataBin:
    """As `qiskit.primitives.DataBin`: registers by name, and no mapping."""

    def __init__(self, **registers):
        self.registers, self.shape = registers, ()

    def keys(self):
        return self.registers.keys()

    def __getitem__(self, name):
        return self.registers[name]


def pub(counts, metadata=None, **others):
    return SimpleNamespace(data=DataBin(meas=BitArray(counts), **others), metadata=metadata or {})


def test_results_of_a_sampler():
    labels = list(BITS)
    assert found({a: BitArray(c) for a, c in BITS.items()}) == WANTED
    assert found({a: pub(c) for a, c in BITS.items()}) == WANTED
    assert found({a: pub(c).data for a, c in BITS.items()}) == WANTED
    assert found([pub(BITS[a]) for a in labels], labels=labels) == WANTED
    assert found(iter([BITS[a] for a in labels]), labels=labels) == WANTED
    with pytest.raises(InputError, match="Give labels="):
        found([pub(BITS[a]) for a in labels])
    with pytest.raises(InputError, match="9 labels"):
        found([pub(BITS[a]) for a in labels], labels=labels[1:])
    with pytest.raises(InputError, match="one set of parameters"):
        found({"X": BitArray({"0": 5}, (7,))})


def test_registers_by_name():
    results = {a: pub(c, anc=BitArray({"0": 200, "1": 100})) for a, c in BITS.items()}
    assert found(results, register="meas") == WANTED
    with pytest.raises(InputError, match=r"meas \(2 bits\), anc \(1 bits\).*register="):
        found(results)
    with pytest.raises(InputError, match="register="):
        found(results, register="c")


def test_data_of_qiskit_experiments(tmp_path):
    """Bases by number, Z X Y, of qubit 0 first; bits by clbits."""
    data = [
        {
            "counts": {f"{o[::-1]}0": n for o, n in zip(s.outcomes, c.tolist(), strict=True)},
            "metadata": {"m_idx": ["ZXY".index(a) for a in s.id], "clbits": [1, 2]},
            "shots": 300,
        }
        for s, c in DATA
    ]
    assert found(data) == WANTED
    (tmp_path / "q.json").write_text(json.dumps(data))
    records = load_records(tmp_path / "q.json")
    assert {m.setting.id: m.counts.tolist() for m in records.measurements} == WANTED
    again = from_qiskit([*data, data[0]])  # a basis that was measured again
    assert [s.id for s, _ in again][::9] == [f"{DATA[0][0].id}#1", f"{DATA[0][0].id}#2"]
    for change, message in (
        ({"p_idx": [1]}, "a process"),
        ({"cond_clbits": [0]}, "conditions"),
        ({"m_idx": [0, 3]}, "0, 1 or 2"),
        ({"m_idx": None}, "labels="),
        ({"clbits": [0, 0]}, "different numbers"),
        ({"clbits": [0]}, "2 bits"),
    ):
        bad = [{**data[0], "metadata": {**data[0]["metadata"], **change}}]
        with pytest.raises(InputError, match=message):
            found(bad)


def test_bits_of_each_run(tmp_path):
    """As ``get_memory`` and ``get_bitstrings`` give them."""
    memory = {a: [b for b, n in c.items() for _ in range(n)] for a, c in BITS.items()}
    assert found(memory) == WANTED
    (tmp_path / "q.json").write_text(json.dumps(memory))
    assert load_records(tmp_path / "q.json").copies == 2700
    with pytest.raises(InputError, match="bits of each run"):
        found({"X": [3, 2]})


def test_shots_beside_the_counts():
    data = [
        {"counts": {"0": 60, "1": 30}, "metadata": {"m_idx": [k]}, "shots": 100} for k in (0, 1)
    ]
    records = records_from_qiskit(data)
    assert "20 of 200 copies have no outcome" in records.remarks[0]
    assert records_from_qiskit({"X": {"counts": {"0": 9}, "shots": 9}}).remarks == []
    with pytest.raises(InputError, match="90 counts in 80 shots of X"):
        records_from_qiskit([{**data[1], "shots": 80}])


def test_results_of_a_backend(tmp_path):
    body = {
        "backend_name": "aer_simulator",
        "results": [
            {
                "shots": 300,
                "data": {"counts": {hex(int(b, 2)): n for b, n in counts.items()}},
                "header": {"name": label, "memory_slots": 2, "metadata": {}},
            }
            for label, counts in BITS.items()
        ],
    }
    assert found(body) == WANTED
    (tmp_path / "q.json").write_text(json.dumps(body))
    records = load_records(tmp_path / "q.json")
    assert {m.setting.id: m.counts.tolist() for m in records.measurements} == WANTED


def test_labels_that_clash():
    with pytest.raises(InputError, match="each label once, found 'XZ' and 'xz'"):
        found({"XZ": BITS["XZ"], "xz": BITS["XZ"]})
    with pytest.raises(InputError, match="labels of X, Y, Z"):
        found({"XI": BITS["XZ"]})


# --- the case files ---------------------------------------------------------------------------


@pytest.fixture
def cases(shared_data):
    folder = shared_data.parent / "cases" / "tomography"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set PHYSML_SHARED_DATA to their folder")
    return folder


def test_case_files(cases):
    whole = load_records(cases / "21_qiskit_whole_floats.json")
    assert (whole.copies, len(whole.measurements)) == (18_000, 9)
    assert whole.measurements[1].setting.id == "XY"  # YX in qiskit
    with pytest.raises(InputError, match="--measured 0,1"):
        load_records(cases / "22_extra_register.json")
    extra = load_records(cases / "22_extra_register.json", measured=[0, 1])
    assert extra.copies == 9_000
    assert extra.measurements[0].counts.tolist() == [480, 12, 6, 502]  # 10 of qiskit is 01 here
    twice = load_records(cases / "18_same_id_twice.csv")
    assert (twice.copies, len(twice.measurements)) == (9_000, 9)
    short = load_records(cases / "25_shots_do_not_add_up.csv")
    assert "1,800 of 10,800" in short.remarks[0]
