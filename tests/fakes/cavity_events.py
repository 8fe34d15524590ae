"""Event lists as telescopes write them, of clusters with known places and energies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

#: Sky pixels: number of the reference pixel and size [arcsec].
STYLES = {
    "chandra": {"centre": 4096.5, "pixel": 0.492, "chip": "ccd_id", "quality": "grade"},
    "xmm": {"centre": 25921.0, "pixel": 0.05, "chip": "CCDNR", "quality": "PATTERN"},
}


@dataclass
class FakeEvents:
    """An event list in memory, and how it was made.

    Attributes
    ----------
    columns : dict of ndarray
        x, y [sky pixel], energy [eV], time [s], chip, quality, for each event.
    style : str
        Key of `STYLES`.
    half : float
        Half side of the square field of view [sky pixel].
    """

    columns: dict
    style: str
    half: float
    header: dict = field(default_factory=dict)

    def hdus(self, gti=((0.0, 1000.0),), units=True, sky=True) -> fits.HDUList:
        """FITS extensions EVENTS and GTI."""
        style = STYLES[self.style]
        chandra = self.style == "chandra"
        form = "E" if chandra else "J"
        names = {
            "time": ("time" if chandra else "TIME", "D", "s"),
            "x": ("x" if chandra else "X", form, "pixel"),
            "y": ("y" if chandra else "Y", form, "pixel"),
            "energy": ("energy", "E", "eV") if chandra else ("PI", "I", "CHAN"),
            "chip": (style["chip"], "B", ""),
            "quality": (style["quality"], "I", ""),
        }
        columns = []
        for key, (name, kind, unit) in names.items():
            values = self.columns[key] if kind in "DE" else np.rint(self.columns[key])
            columns.append(fits.Column(name, kind, unit=unit if units and unit else None,
                                       array=values))  # fmt: skip
        if not chandra:
            columns.append(fits.Column("FLAG", "J", array=np.zeros(len(self.columns["x"]), int)))
        events = fits.BinTableHDU.from_columns(columns, name="EVENTS")
        events.header["TELESCOP"] = "CHANDRA" if chandra else "XMM"
        events.header["INSTRUME"] = "ACIS" if chandra else "EMOS2"
        events.header["OBS_ID"], events.header["EXPOSURE"] = "12345", 1000.0
        if sky:
            for number, (name, value) in {2: ("RA---TAN", 150.0), 3: ("DEC--TAN", 20.0)}.items():
                step = style["pixel"] / 3600 * (-1 if number == 2 else 1)
                cards = {"TCTYP": name, "TCRVL": value, "TCRPX": style["centre"], "TCDLT": step,
                         "TCUNI": "deg"}  # fmt: skip
                events.header.update({f"{card}{number}": v for card, v in cards.items()})
            events.header["RADECSYS"] = "ICRS"
        events.header.update(self.header)
        tables = []
        for one in [gti] if isinstance(gti, tuple) else gti:
            start, stop = np.transpose(one)
            cards = [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=stop)]
            tables.append(fits.BinTableHDU.from_columns(cards, name="GTI"))
        return fits.HDUList([fits.PrimaryHDU(), events, *tables])

    def write(self, path, **options):
        """Write the list and return its path."""
        self.hdus(**options).writeto(path, overwrite=True)
        return path


def fake_events(style="chandra", number=40_000, half=None, sky_share=0.5, seed=3) -> FakeEvents:
    """A cluster over an even background in a square field.

    Parameters
    ----------
    style : str
    number : int
        Events.
    half : float
        Half side of the field [sky pixel].
    sky_share : float
        Share of even background.
    """
    rng = np.random.default_rng(seed)
    style_of = STYLES[style]
    half = half or 140 / style_of["pixel"]
    core = 15 / style_of["pixel"]
    even = rng.random(number) < sky_share
    # A beta model with beta 2/3, by inversion within the field.
    radius = core * np.sqrt((1 - rng.random(number) * 0.9) ** -2 - 1)
    angle = rng.uniform(0, 2 * np.pi, number)
    centre = style_of["centre"]
    x = np.where(even, rng.uniform(-half, half, number), radius * np.cos(angle))
    y = np.where(even, rng.uniform(-half, half, number), radius * np.sin(angle))
    inside = (np.abs(x) < half) & (np.abs(y) < half)
    x, y = centre + x[inside], centre + y[inside]
    count = len(x)
    columns = {
        "x": x,
        "y": y,
        "energy": rng.uniform(100, 10_000, count),
        "time": np.sort(rng.uniform(0, 1000, count)),
        "chip": 1 + (x > centre) + 2 * (y > centre),
        "quality": rng.integers(0, 6, count),
    }
    return FakeEvents(columns, style, half)
