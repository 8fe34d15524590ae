"""Tables of known cavities: kinds of columns, units, names of targets."""

from __future__ import annotations

import pytest
from astropy import units as u
from astropy.table import QTable

from physml.cavities.data.literature import of_targets, plain_name, read_literature
from physml.exceptions import InputError


def read(tmp_path, text, columns=None, name="known.csv"):
    (tmp_path / name).write_text(text)
    return read_literature(tmp_path / name, columns)


@pytest.mark.parametrize(
    ("names", "plain"),
    [
        (["Abell 0133", "A133", "ACO 133", "abell133"], "a133"),
        (["NGC 5813", "ngc5813", "NGC_5813"], "ngc5813"),
        (["RX J1532.9+3021", "RXJ1532.9+3021"], "rxj1532.9+3021"),
        (["M 87", "Messier 87"], "m87"),
        (["3C 388"], "3c388"),
        (["MS 0735.6+7421", "MS0735.6+7421"], "ms735.6+7421"),
    ],
)
def test_names_of_one_target(names, plain):
    assert {plain_name(name) for name in names} == {plain}


def test_names_of_others_stay_apart():
    names = ["A 133", "A 1330", "NGC 5813", "NGC 5846", "RXJ1532.9+3021", "RXJ1532.9-3021"]
    assert len({plain_name(name) for name in names}) == len(names)


def test_units_in_names(tmp_path):
    text = "Cluster,Dist [kpc],Angle,a_kpc,b_kpc,z,S/N\nA 133,12,45,3,5,0.0566,7\n"
    (one,) = read(tmp_path, text)
    assert one.distance == 12 * u.kpc
    assert (one.semi_major, one.semi_minor) == (5 * u.kpc, 3 * u.kpc)
    assert (one.azimuth, one.redshift, one.snr) == (45.0, 0.0566, 7.0)


def test_units_of_the_file(tmp_path):
    table = QTable({"Name": ["A", "A"], "RAJ2000": [10.0, 11.0] * u.deg, "DEJ2000": [1, 2] * u.deg})
    table["Rad"] = [0.5, 0.25] * u.arcmin
    table.write(tmp_path / "t.fits")
    one, two = read_literature(tmp_path / "t.fits")
    assert (one.ra, one.dec) == (10.0, 1.0)
    assert one.semi_major == one.semi_minor == 30 * u.arcsec
    assert (one.number, two.number) == ("1", "2")


def test_sexagesimal_positions(tmp_path):
    (one,) = read(tmp_path, "Name,RA,DEC,r [arcsec]\nA,15:01:11.2,+01:42:07\n".replace("\n,", "\n"))
    assert (one.ra, one.dec) == (pytest.approx(225.296667), pytest.approx(1.701944))
    assert one.semi_major is None


def test_pa_alone_is_the_direction_and_beside_another_angle_the_orientation(tmp_path):
    (one,) = read(tmp_path, "Name,Dist_arcsec,PA\nA,3,20\n")
    assert (one.azimuth, one.position_angle) == (20.0, None)
    (two,) = read(tmp_path, "Name,Dist_arcsec,Azimuth,PA\nA,3,20,70\n")
    assert (two.azimuth, two.position_angle) == (20.0, 70.0)


def test_columns_that_are_named(tmp_path):
    text = "System,R1 [kpc],Q\nA 133,12,45\n"
    columns = {"distance": "R1 [kpc]", "azimuth": "Q"}
    (one,) = read(tmp_path, text, columns)
    assert (one.distance, one.azimuth) == (12 * u.kpc, 45.0)


def test_cavities_by_target(tmp_path):
    known = read(tmp_path, "Name,Dist_kpc,Angle\nA 133,1,2\nNGC 5813,3,4\nAbell 133,5,6\n")
    found = of_targets(known)
    assert [c.distance.value for c in found["a133"]] == [1, 5]
    assert [c.number for c in found["a133"]] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("Name,Dist,Angle\nA,1,2\n", None, "a unit of angle or of length for column 'Dist'"),
        ("Name,Dist [s],Angle\nA,1,2\n", None, "a unit of angle or of length"),
        ("Name,Angle\nA,1\n", None, "literature-columns"),
        ("Dist_kpc,Angle\n1,2\n", None, "columns of the target"),
        ("Name,Dist_kpc,Angle\nA,1,2\n", {"distanz": "Dist_kpc"}, "found distanz"),
        ("Name,Dist_kpc,Angle\nA,1,2\n", {"distance": "R"}, "found R"),
    ],
)
def test_what_does_not_suffice_is_refused(tmp_path, text, columns, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, columns)


def test_positions_of_targets_are_not_those_of_cavities(tmp_path):
    """A table with the target's own position in each row, as CDS adds it."""
    head = "Name,RAJ2000,DEJ2000,Dist_arcsec,PA\n"
    shared = "A 133,15.67,-21.88,30,45\nA 133,15.67,-21.88,20,200\nA 85,10.4,-9.3,12,90\n"
    for rows in (shared, "A 133,15.67,-21.88,30,45\nA 85,10.4,-9.3,12,90\n"):
        known = read(tmp_path, head + rows)
        assert {(one.ra, one.dec) for one in known} == {(None, None)}
        assert known[0].distance == 30 * u.arcsec
    own = read(tmp_path, head + "A 133,15.67,-21.88,30,45\nA 133,15.66,-21.89,20,200\n")
    assert [one.ra for one in own] == [15.67, 15.66]
    named = {"ra": "RAJ2000", "dec": "DEJ2000"}
    assert [one.ra for one in read(tmp_path, head + shared, named)][:2] == [15.67, 15.67]
    with pytest.raises(InputError, match="that all cavities of a target share"):
        read(tmp_path, "Name,RA,DEC\nA 133,15.67,-21.88\nA 133,15.67,-21.88\n")


def test_what_was_taken_for_what_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "physml")
    read(tmp_path, "Name,Dist_kpc,PA,Size_kpc,a_kpc\nA 133,1,2,3,4\n")
    (said,) = caplog.messages
    assert "distance = Dist_kpc, azimuth = PA, semi_major = a_kpc" in said
    assert said.endswith("columns not used: Size_kpc")
    read(tmp_path, "Name,Dist_kpc,PA,Size_kpc\nA 133,1,2,3\n")
    assert "no column of sizes" in caplog.messages[-1]


BYTES = """\
Byte-by-byte Description of file: {file}
--------------------------------------------------------------------------------
   Bytes Format Units   Label     Explanations
--------------------------------------------------------------------------------
   1-  8  A8    ---     Name      Name of the target
  10- 13  F4.1  arcsec  Dist      Distance from the centre
  15- 17  I3    deg     PA        ?=- Direction, east of north
  19- 22  F4.1  arcsec  a         ? Semi-axis
  24- 27  F4.1  arcsec  b         ? Semi-axis
--------------------------------------------------------------------------------
"""
ROWS = "NGC 5813  7.5  20  4.1  3.0\nNGC 5813 25.0 200  9.0\nA 133    12.0  45 10.5 12.5\n"
TITLE = "J/ApJS/227/31  X-ray cavities (Shin+, 2016)\n" + 80 * "=" + "\n"


@pytest.mark.parametrize("name", ["table2.dat", "table.txt", "table.mrt"])
def test_tables_described_byte_by_byte(tmp_path, name):
    described = TITLE + BYTES.format(file=name)
    if name.endswith(".dat"):
        (tmp_path / "ReadMe").write_text(described)
        described = ""
    known = read(tmp_path, described + ROWS, name=name)
    assert [one.target for one in known] == ["NGC 5813", "NGC 5813", "A 133"]
    assert [one.azimuth for one in known] == [20, 200, 45]
    assert [one.distance.to_value(u.arcsec) for one in known] == [7.5, 25.0, 12.0]
    assert [one.semi_major.to_value(u.arcsec) for one in known] == [4.1, 9.0, 12.5]
    assert [one.semi_minor.to_value(u.arcsec) for one in known] == [3.0, 9.0, 10.5]


def test_a_table_of_cds_without_its_description_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ReadMe: expected the description of table2\.dat"):
        read(tmp_path, ROWS, name="table2.dat")
    (tmp_path / "ReadMe").write_text(TITLE + BYTES.format(file="table3.dat"))
    with pytest.raises(InputError, match="byte-by-byte description"):
        read(tmp_path, ROWS, name="table2.dat")
