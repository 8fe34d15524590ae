"""Make an event list as Chandra's software writes it, of a cluster with two cavities.

    python make_events.py folder/

writes `cluster_evt2.fits` (EVENTS and GTI), `sources.reg` (a point source, in the pixels of the
list) and `truth.ecsv` (the cavities). A beta model, two ellipses in which 45 % of the light lacks,
an even background, a field of view that is turned, and a flare of the background outside of the
good times.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

PIXEL = 0.492  # arcsec
CENTRE = 4096.5  # sky pixel of the cluster
RA, DEC = 150.0, 20.0
HALF, TURN = 200.0, np.radians(20.0)  # field of view: half a side, sky pixels
CAVITIES = {"x": [48.0, -45.0], "y": [16.0, -22.0], "a": [19.0, 17.0], "b": [15.0, 14.0]}
DEPTH = 0.45
SOURCE = (-95.0, 70.0)  # sky pixels from the cluster


def inside_field(x, y):
    """Whether places lie on the detector."""
    u, v = x * np.cos(TURN) + y * np.sin(TURN), y * np.cos(TURN) - x * np.sin(TURN)
    return (np.abs(u) < HALF) & (np.abs(v) < HALF)


def cluster(rng, number, core=24.0, edge=600.0):
    """Places of events of a beta model with beta 0.6, thinned in the cavities."""
    power = 1.5 - 3 * 0.6  # of the light within a radius: 1 - (1 + r^2 / core^2)^power
    most = 1 - (1 + (edge / core) ** 2) ** power
    radius = core * np.sqrt((1 - rng.random(number) * most) ** (1 / power) - 1)
    angle = rng.uniform(0, 2 * np.pi, number)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    keep = np.ones(number, bool)
    for cx, cy, a, b in zip(*CAVITIES.values(), strict=True):
        lacks = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        keep &= ~lacks | (rng.random(number) > DEPTH)
    return x[keep], y[keep]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, default=250_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    x, y = cluster(rng, arguments.counts)
    source = rng.normal(0, 1.5, (2, 600)) + np.array(SOURCE)[:, None]
    even, flare = rng.uniform(-300, 300, (2, 60_000)), rng.uniform(-300, 300, (2, 20_000))
    parts = [(x, y), tuple(source), tuple(even), tuple(flare)]
    x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    gas = len(parts[0][0]) + source.shape[1]
    energy = np.append(rng.exponential(1800, gas) + 300, rng.uniform(300, 12_000, len(x) - gas))
    time = rng.uniform(0, 50_000, len(x))
    time[-flare.shape[1] :] = rng.uniform(50_000, 52_000, flare.shape[1])
    rows = np.flatnonzero(inside_field(x, y))
    rows = rows[np.argsort(time[rows])]
    events = fits.BinTableHDU(
        Table(
            {
                "time": time[rows],
                "ccd_id": np.full(len(rows), 7, np.int16),
                "x": (CENTRE + x[rows]).astype(np.float32),
                "y": (CENTRE + y[rows]).astype(np.float32),
                "energy": energy[rows].astype(np.float32),
                "grade": rng.choice([0, 2, 3, 4, 6], len(rows)).astype(np.int16),
            },
            units={"time": "s", "x": "pixel", "y": "pixel", "energy": "eV"},
        ),
        name="EVENTS",
    )
    cards = {"TELESCOP": "CHANDRA", "INSTRUME": "ACIS", "OBJECT": "made cluster", "CONTENT": "EVT2",
             "OBS_ID": "99999", "EXPOSURE": 5e4, "RADESYS": "ICRS"}  # fmt: skip
    for column, (kind, value, step) in {
        3: ("RA---TAN", RA, -PIXEL / 3600),
        4: ("DEC--TAN", DEC, PIXEL / 3600),
    }.items():
        named = {"TCTYP": kind, "TCRVL": value, "TCDLT": step, "TCRPX": CENTRE, "TCUNI": "deg"}
        cards |= {f"{name}{column}": value for name, value in named.items()}
    events.header.update(cards)
    good = fits.BinTableHDU(Table({"START": [0.0], "STOP": [5e4]}, units=["s", "s"]), name="GTI")
    good.header["CCD_ID"] = 7
    arguments.folder.mkdir(parents=True, exist_ok=True)
    hdus = fits.HDUList([fits.PrimaryHDU(), events, good])
    hdus.writeto(arguments.folder / "cluster_evt2.fits", overwrite=True)
    place = ",".join(f"{CENTRE + part:.2f}" for part in SOURCE)
    (arguments.folder / "sources.reg").write_text(f"# CIAO version 1.0\ncircle({place},8)\n")
    truth = Table({name: np.add(values, CENTRE if name in "xy" else 0)
                   for name, values in CAVITIES.items()})  # fmt: skip
    truth.write(arguments.folder / "truth.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
