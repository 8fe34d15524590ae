"""Tables of users: formats, units, empty cells."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table

from physml.cavities.data.tables import cell, read_table
from physml.exceptions import InputError


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits"])
def test_formats_give_the_same(tmp_path, suffix):
    table = Table({"name": ["A 1", "NGC 2"], "z": [0.1, 0.25], "n": [3, 4]})
    path = tmp_path / f"t.{suffix}"
    table.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(suffix, suffix))
    read = read_table(path, "a table")
    for name in table.colnames:
        assert [cell(v) for v in read[name]] == table[name].tolist()


def test_vizier_writes_units_and_dashes_below_the_names(tmp_path):
    path = tmp_path / "asu.tsv"
    lines = ["#   VizieR Astronomical Server", "#Table", "", "Name\tDist\tAng\tNote"]
    lines += [" \tkpc\tdeg\t ", "-----\t----\t---\t----", "A 133\t12.5\t30\tbig", "A 262\t\t40\t "]
    path.write_text("\n".join(lines) + "\n")
    read = read_table(path, "a table")
    assert read["Dist"].unit == u.kpc
    assert cell(read["Dist"][0]) == 12.5 * u.kpc
    assert cell(read["Dist"][1]) is None
    assert cell(read["Note"][1]) is None


def test_columns_without_dashes_below_are_rows(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("Name\tDist\nkpc\t1\nb\t2\n")
    assert len(read_table(path, "a table")) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  NGC 5813 ", "NGC 5813"),
        ("", None),
        (" -- ", None),
        ("NaN", None),
        (np.float64("nan"), None),
        (np.nan * u.deg, None),
        (3 * u.deg, 3 * u.deg),
        (np.int64(4), 4),
        (b"a", "a"),
        (np.ma.masked, None),
        (np.bool_(False), False),
        (0.0, 0.0),
    ],
)
def test_cell(value, expected):
    found = cell(value)
    assert found == expected
    assert type(found) is type(expected)


def test_masked_cells_of_columns_and_quantities_are_empty():
    table = Table({"a": MaskedColumn([1.0, 2.0], mask=[True, False], unit="kpc")})
    assert [cell(v) for v in QTable(table)["a"]] == [None, 2.0 * u.kpc]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.xlsx", "a b\n1 2\n", "ends in .csv"),
        ("t.txt", "a b\n1 2\n", "byte-by-byte description"),
        ("t.csv", "name,z\n", "empty table"),
        ("t.csv", "", "empty table"),
        ("t.csv", "a,b\n1,2,3\n", "text in columns"),
        ("t.tsv", "a\tb\nfurlong/x\tkpc\n---\t---\n1\t2\n", "unit that astropy knows"),
        ("t.ecsv", "no header\n", "ECSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name, "a table")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: expected a table, found no such file"):
        read_table(tmp_path / "none.csv", "a table")
