"""A survey of targets with planted cavities, for tests, also in processes that may be killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from fakes.cavities import Cavity, TruthDetector, beta_image, tan_wcs, write_fits
from physml.cavities.predict import CavityPredictor

SHAPE = (160, 160)
CENTRE = (80.0, 78.0)
#: One that is sure, and one below the threshold.
CAVITIES = [Cavity(104.0, 84.0, 11.0, 8.0, 0.4, 0.95), Cavity(56.0, 70.0, 9.0, 8.0, 0.6, 0.62)]
PIXEL = 0.5


def wcs(number: int) -> Any:
    return tan_wcs(SHAPE, pixel=PIXEL, rotation=25.0 * number, ra=40.0 * number + 10, dec=-30.0)


def write_targets(folder: Path, number: int) -> Path:
    """Images of that many targets, T0 and so on, and a list of them."""
    rows = []
    for k in range(number):
        image = beta_image(SHAPE, CENTRE, cavities=CAVITIES, total=1e5, seed=k)
        write_fits(folder / f"t{k}.fits", image, wcs(k))
        place = wcs(k).pixel_to_world(*CENTRE)
        rows.append((f"T {k}", f"t{k}.fits", place.ra.deg, place.dec.deg, 0.02, "1", 100 + k))
    names = ("name", "image", "ra", "dec", "redshift", "scales", "obsid")
    QTable(rows=rows, names=names).write(folder / "targets.ecsv")
    return folder / "targets.ecsv"


def write_literature(folder: Path, numbers: list[int]) -> Path:
    """The planted cavities of some targets as another paper has them, and one of its own."""
    rows = []
    for k in numbers:
        centre = wcs(k).pixel_to_world(*CENTRE)
        for c in CAVITIES:
            place = wcs(k).pixel_to_world(c.x, c.y)
            away, angle = centre.separation(place).arcsec, centre.position_angle(place).deg
            rows.append((f"t{k}", away, angle, 0.5 * (c.a + c.b) * PIXEL))
        rows.append((f"t{k}", 90.0, 10.0, 2.0))
    rows.append(("Perseus", 30.0, 10.0, 2.0))
    table = QTable(rows=rows, names=("Name", "Dist", "Angle", "Rad"))
    table["Dist"].unit = table["Rad"].unit = u.arcsec
    table.write(folder / "known.ecsv")
    return folder / "known.ecsv"


class SlowDetector(TruthDetector):
    """One that takes a while, so that there is time to kill it."""

    def detect(self, *arguments: Any, **named: Any) -> Any:
        time.sleep(0.15)
        return super().detect(*arguments, **named)


def use_truth() -> None:
    """Let surveys of this process search with planted cavities instead of weights."""
    detector = SlowDetector(CAVITIES, CENTRE, cut=0.9)
    CavityPredictor.load = classmethod(lambda cls, path=None: cls(detector))  # type: ignore[assignment, method-assign]


def equal_tables(one: Path, two: Path) -> None:
    """Both ECSV tables hold the same, but for the times of their runs."""
    a, b = QTable.read(one), QTable.read(two)
    assert a.colnames == b.colnames
    for name in a.colnames:
        left, right = np.asarray(a[name]), np.asarray(b[name])
        np.testing.assert_array_equal(left, right, err_msg=name)
