"""Lists of targets: columns, paths, names, what is refused."""

from __future__ import annotations

import pytest
from astropy import units as u
from astropy.table import QTable

from physml.cavities.data.targets import read_targets, write_template
from physml.exceptions import InputError, OutputError

OPTIONS = {"exposure", "background", "mask", "pressure", "redshift", "ra", "dec", "scales"}
OPTIONS |= {"centre", "threshold", "units"}


def read(tmp_path, text, name="list.csv"):
    (tmp_path / name).write_text(text)
    return read_targets(tmp_path / name, OPTIONS)


def test_a_row_becomes_arguments(tmp_path):
    text = (
        "Name,Image,exposure,z,RA,Dec,scales,ObsID,x,y\n"
        'NGC 5813,a.fits,e/a.fits,0.0065,15:01:11,+01:42:07,"1,2",12952,,\n'
        "Abell 1835,/data/b.fits[1],,0.25,,,,495,12,13.5\n"
    )
    one, two = read(tmp_path, text)
    assert (one.name, one.folder, one.literature) == ("NGC 5813", "NGC_5813", "NGC 5813")
    assert one.image == tmp_path / "a.fits"
    assert one.options == {
        "exposure": tmp_path / "e/a.fits",
        "redshift": 0.0065,
        "ra": "15:01:11",
        "dec": "+01:42:07",
        "scales": "1,2",
    }
    assert one.carried == {"ObsID": 12952}
    assert str(two.image) == "/data/b.fits[1]"
    assert two.options == {"redshift": 0.25, "centre": (12.0, 13.5)}


def test_units_of_a_table_are_used(tmp_path):
    table = QTable({"image": ["a.fits"], "ra": [15.0] * u.hourangle, "dec": [60.0] * u.arcmin})
    table.write(tmp_path / "t.ecsv")
    (target,) = read_targets(tmp_path / "t.ecsv", OPTIONS)
    assert target.options == pytest.approx({"ra": 225.0, "dec": 1.0})
    assert target.name == "a"


def test_folders_are_of_harmless_names_and_each_its_own(tmp_path):
    names = ["../../etc", "..", "a/b", "a b", "A_B", "RX J1504-0248", "ü"]
    text = "name,image\n" + "".join(f"{name},i{k}.fits\n" for k, name in enumerate(names))
    targets = read(tmp_path, text)
    folders = [t.folder for t in targets]
    assert len({f.lower() for f in folders}) == len(names)
    assert all("/" not in f and not f.startswith(".") for f in folders)
    assert folders[5] == "RX_J1504-0248"


def test_a_centre_in_one_cell(tmp_path):
    (target,) = read(tmp_path, "image,centre\na.fits,10 20.5\n")
    assert target.options == {"centre": (10.0, 20.5)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,file_name\na,b\n", "a column 'image'"),
        ("image,redshfit\na.fits,0.1\n", "column 'redshift', found 'redshfit'"),
        ("image,redshift\na.fits,near\n", "number in column 'redshift'"),
        ("image,name\n,b\n", "row 1: expected the file of an image"),
        ("name,image\na,b.fits\na,c.fits\n", "each name once, found twice: a"),
        ("image,x,y\na.fits,3,\n", "x and y"),
        ("image,centre\na.fits,3\n", "a centre 'x y'"),
        ("image,z,redshift\na.fits,0.1,0.2\n", "one column for 'redshift'"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_a_column_that_is_like_none_is_carried(tmp_path):
    (target,) = read(tmp_path, "image,mass,z_err\na.fits,3e14,0.1\n")
    assert target.carried == {"mass": 3e14, "z_err": 0.1}


def test_the_template_is_a_list(tmp_path):
    write_template(tmp_path / "t.ecsv")
    one, two = read_targets(tmp_path / "t.ecsv", OPTIONS)
    assert one.options["redshift"] == 0.006525
    assert two.literature == "A1835"
    table = QTable.read(tmp_path / "t.ecsv")
    assert all(table[name].info.description for name in table.colnames)
    with pytest.raises(OutputError):
        write_template(tmp_path / "t.ecsv")
    with pytest.raises(InputError, match="ecsv"):
        write_template(tmp_path / "t.csv")
