"""Known cavities and the rows of a catalogue."""

from __future__ import annotations

from astropy import units as u
from astropy.table import QTable

from physml.cavities.evaluation.real_images import KNOWN, Known, found_in
from physml.cavities.evaluation.sealed_set import FIRST
from physml.cavities.evaluation.sets import NAMES
from physml.evaluation.sealed import ledger


def catalogue(rows):
    """Catalogue with x, y [pixel], distance [arcmin], azimuth [deg]."""
    x, y, distance, azimuth = map(list, zip(*rows, strict=True))
    return QTable(
        {"x": x, "y": y, "distance": distance * u.arcmin, "azimuth": azimuth * u.deg},
    )


def test_each_row_is_one_cavity_and_the_nearest_pair_wins():
    known = (Known("near", ((10.0, 10.0, 8.0),)), Known("far", ((14.0, 10.0, 8.0),)))
    one = catalogue([(11.5, 10, 1, 0)])
    assert found_in(one, known) == {"near": 0}
    both = catalogue([(11.5, 10, 1, 0), (10.5, 10, 1, 0)])
    assert found_in(both, known) == {"near": 1, "far": 0}
    assert found_in(catalogue([(30, 10, 1, 0)]), known) == {}
    assert found_in(both[:0], known) == {}


def test_lobes_are_one_cavity():
    known = (Known("two lobes", ((10.0, 10.0, 4.0), (30.0, 10.0, 4.0))),)
    found = found_in(catalogue([(10, 10, 1, 0), (31, 10, 1, 0)]), known)
    assert found == {"two lobes": 0}


def test_directions_are_read_in_their_units():
    rows = [(0, 0, 18.5 / 60, 198.0), (0, 0, 18.0 / 60, 20.0), (0, 0, 18.0 / 60, 110.0)]
    assert found_in(catalogue(rows), KNOWN["ngc4649"]) == {"N": 1, "S": 0}


def test_every_set_stands_in_the_ledger():
    looked_at = {look.name for look in ledger("cavities")}
    assert {*NAMES, *FIRST, *KNOWN, "merging", "other"} == looked_at
