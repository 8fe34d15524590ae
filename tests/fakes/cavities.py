"""Detectors without a network, and observations with known cavities, for the tests.

`TruthDetector` knows where the cavities of the sky are and answers as a perfect network would:
in the pixels of whatever field it is shown. It finds the field by its centre, which the search
passes on, so that a wrong half pixel anywhere on the way shows in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from matplotlib.figure import Figure

COLUMNS = [
    *("x", "y", "semi_major", "semi_minor", "theta", "radius", "radius_err", "area"),
    *("decrement", "snr", "probability"),
]
#: Constants of the merging: the probability is the support.
MERGING = {"order": 4.0, "silence": 0.02, "same_ratio": 2.5, "offset": 0.0, "slope": 1.0}


@dataclass
class Detection:
    probability: np.ndarray
    labels: np.ndarray
    table: Table
    model: np.ndarray


@dataclass
class Cavity:
    """A planted ellipse in input pixels."""

    x: float
    y: float
    a: float
    b: float
    theta: float = 0.0
    probability: float = 0.95


@dataclass
class TruthDetector:
    """Answers with planted ellipses that fit into a field and are neither tiny nor huge in it."""

    cavities: list[Cavity]
    centre: tuple[float, float]
    limits: tuple[float, float] = (2.5, 45.0)
    cut: float = 0.3
    card: dict = field(default_factory=lambda: {"name": "truth", "merging": MERGING})
    scales: tuple[int, ...] = (1,)

    def threshold(self, total_counts: float) -> float:
        return self.cut

    def detect(self, counts, exposure=None, background=None, invalid=None, centre=None, **_):
        # The search shows the binnings of one image after the other.
        return [
            self._one(np.asarray(counts[i], float), centre[i], self.scales[i % len(self.scales)])
            for i in range(len(counts))
        ]

    def _one(self, counts, centre, k) -> Detection:
        size = counts.shape[0]
        Y, X = np.mgrid[:size, :size]
        probability = np.full(counts.shape, 0.01, np.float32)
        labels = np.zeros(counts.shape, np.int32)
        rows = []
        for c in self.cavities:
            # Field position from the offset to the cluster centre alone.
            x = centre[0] + (c.x - self.centre[0]) / k
            y = centre[1] + (c.y - self.centre[1]) / k
            a, b = c.a / k, c.b / k
            radius = np.sqrt(a * b)
            inside_field = a < x < size - 1 - a and a < y < size - 1 - a
            if not (self.limits[0] <= radius <= self.limits[1] and inside_field):
                continue
            cos, sin = np.cos(c.theta), np.sin(c.theta)
            u = ((X - x) * cos + (Y - y) * sin) / a
            v = ((Y - y) * cos - (X - x) * sin) / b
            mask = u * u + v * v <= 1
            labels[mask] = len(rows) + 1
            probability[mask] = c.probability
            size_and_area = (radius, 0.05 * radius, float(mask.sum()))
            rows.append((x, y, a, b, c.theta % np.pi, *size_and_area, 0.3, 12.0, c.probability))
        table = Table(rows=rows or None, names=COLUMNS, dtype=[float] * len(COLUMNS))
        model = np.full(counts.shape, max(counts.mean(), 1e-3), np.float32)
        return Detection(probability, labels, table, model)


@dataclass
class CentroidDetector:
    """Reports the centroid of all counts in the field, at full precision.

    Shown an image of one compact blob, it ties the answer to the data themselves: any shift
    between the rebinned pixels and their positions turns up.
    """

    card: dict = field(default_factory=lambda: {"name": "centroid", "merging": MERGING})

    def threshold(self, total_counts: float) -> float:
        return 0.3

    def detect(self, counts, exposure=None, background=None, invalid=None, centre=None, **_):
        out = []
        for image in np.asarray(counts, float):
            Y, X = np.indices(image.shape)
            x, y = (X * image).sum() / image.sum(), (Y * image).sum() / image.sum()
            rows = [(x, y, 8.0, 6.0, 0.4, np.sqrt(48), 0.5, 150.0, 0.3, 10.0, 0.9)]
            labels = ((X - x) ** 2 + (Y - y) ** 2 < 49).astype(np.int32)
            table = Table(rows=rows, names=COLUMNS)
            flat = np.full(image.shape, 0.1, np.float32)
            out.append(Detection(flat, labels, table, flat))
        return out


def beta_image(
    shape=(256, 256), centre=None, core=12.0, beta=0.55, total=2e5, cavities=(), depth=0.4, seed=1
) -> np.ndarray:
    """Poisson counts of a beta model with flat-bottomed holes at the cavities."""
    rng = np.random.default_rng(seed)
    centre = centre or ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    r2 = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    mu = (1 + r2 / core**2) ** (0.5 - 3 * beta)
    for c in cavities:
        cos, sin = np.cos(c.theta), np.sin(c.theta)
        u = ((x - c.x) * cos + (y - c.y) * sin) / c.a
        v = ((y - c.y) * cos - (x - c.x) * sin) / c.b
        mu = np.where(u * u + v * v < 1, mu * (1 - depth), mu)
    return rng.poisson(mu * total / mu.sum()).astype(float)


def tan_wcs(
    shape=(256, 256), pixel=0.492, rotation=0.0, stretch=1.0, cd=True, ra=225.3, dec=1.7
) -> WCS:
    """Tangential WCS with north up and east left, turned by `rotation` [deg], pixels in arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [shape[1] / 2 + 3.3, shape[0] / 2 - 5.1]
    t = np.radians(rotation)
    turn = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    matrix = turn @ np.diag([-pixel, pixel * stretch]) / 3600
    if cd:
        wcs.wcs.cd = matrix
    else:
        wcs.wcs.cdelt = [-pixel / 3600, pixel * stretch / 3600]
        wcs.wcs.pc = np.linalg.solve(np.diag(wcs.wcs.cdelt), matrix)
    wcs.wcs.set()
    return wcs


def write_fits(path, data, wcs=None, **cards):
    """Write an image and return its path."""
    header = wcs.to_header() if wcs is not None else fits.Header()
    if wcs is not None and wcs.wcs.has_cd():
        header = fits.Header()
        for i in (1, 2):
            header[f"CTYPE{i}"] = wcs.wcs.ctype[i - 1]
            header[f"CRVAL{i}"] = wcs.wcs.crval[i - 1]
            header[f"CRPIX{i}"] = wcs.wcs.crpix[i - 1]
            for j in (1, 2):
                header[f"CD{i}_{j}"] = wcs.wcs.cd[i - 1, j - 1]
    for key, value in cards.items():
        header[key] = value
    fits.PrimaryHDU(np.asarray(data), header).writeto(path, overwrite=True)
    return path


def draw_no_overview(monkeypatch) -> None:
    """Let products have a picture of nothing: to draw one takes a second, most of a test's time."""
    small = "physml.cavities.results.products.plot_overview"
    monkeypatch.setattr(small, lambda result: Figure(figsize=(0.5, 0.5)))
