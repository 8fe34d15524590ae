r"""Clusters of the sealed set: gas and cavities in a cube, without a line of our simulator.

The training simulator integrates beta models along chords; its test family is that of Vikhlinin.
Here nothing is shared with it: other profiles, other shapes, other faults, another way of
integrating. All ranges were written down from the literature before anything was searched in
these images; they are lengths in pixels where nothing else is said.

Gas emissivity, as a function of the ellipsoidal radius m, is one of

``einasto``
    n ~ exp(-(2 / alpha) (m / r_2)^alpha): the law of Einasto (1965), slope falling steadily.
``sersic``
    The deprojected Sersic law of Prugniel & Simien (1997, A&A 321, 111), with the exponent of
    Lima Neto et al. (1999, MNRAS 309, 481); used for the X-ray profiles of clusters by Demarco et
    al. (2003, A&A 407, 437).
``hydrostatic``
    Isothermal gas in a halo of dark matter of Navarro, Frenk & White (Makino, Sasaki & Suto 1998,
    ApJ 497, 555): n ~ (1 + m / r_s)^(B r_s / m); six in ten with a cool core on top (Hudson et al.
    2010, A&A 513, A37, find somewhat more).

Shapes: tri-axial (gas axis ratios 0.7 to 1; Lau et al. 2011, ApJ 734, 93), turning isophotes, one
side brighter (m = 1), in one of four a smaller cluster beside. Density fluctuations are
log-normal with a power-law spectrum about that of Kolmogorov and amplitudes of 2 to 15 %
(Churazov et al. 2012, MNRAS 421, 1123; Zhuravleva et al. 2014, Nature 515, 85).

Cavities: numbers as in the catalogue of Shin, Woo & Mulchaey (2016, ApJS 227, 31; 148 cavities in
69 systems, 2.1 each; those that the field would cut are left out), radii of 0.55 of the distance
with a scatter of a quarter (Diehl et al. 2008, ApJ 687, 173), jets at random angles to the sky (at
most 60 degrees). Their walls are soft, their outlines dented, 60 to 100 % of the gas is gone; half
have a bright rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import erfc

#: Side of an image and depth of the cube [pixel].
SIZE, DEPTH = 128, 160
#: Distances along the line of sight to which the gas beyond the cube is followed [pixel].
TAIL = (DEPTH / 2, 640.0)
#: Share of its gas's light that a pixel of a cavity lacks at least, as an observer would notice.
FLOOR = 0.02
#: Most cavities of an image.
SLOTS = 4
#: Numbers of cavities of a system that has some, and how often.
NUMBERS = {1: 0.3, 2: 0.45, 3: 0.1, 4: 0.15}
#: Table of true cavities, with the columns by which `metrics` reads the simulator's.
CAVITY_DTYPE = np.dtype(
    [
        (name, "f4")
        for name in (
            *("x", "y", "radius", "volume", "distance", "line_of_sight", "emptied"),
            *("decrement", "snr"),
        )
    ]
    + [("present", "?"), ("visible", "?")]
)
Cube = NDArray[np.float32]


@dataclass(frozen=True)
class Sky:
    """Light of a cluster before telescope and noise, the sum of all pixels being 1.

    Attributes
    ----------
    light : ndarray of float64, shape (H, W)
        As it is.
    undisturbed : ndarray of float64, shape (H, W)
        Without cavities and rims, in the same unit.
    removed : ndarray of float64, shape (4, H, W)
        Light that each cavity takes away, each by itself.
    shadows : ndarray of bool, shape (4, H, W)
        Pixels whose line of sight meets the cavity.
    cavities : structured ndarray, shape (4,)
        `CAVITY_DTYPE`, without ``snr`` and ``visible``, which depend on the counts.
    """

    light: NDArray[np.float64]
    undisturbed: NDArray[np.float64]
    removed: NDArray[np.float64]
    shadows: NDArray[np.bool_]
    cavities: NDArray[Any]


class Gas:
    """Smooth gas of one cluster.

    Parameters
    ----------
    rng : Generator
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.family = str(rng.choice(["einasto", "sersic", "hydrostatic"]))
        self.x, self.y = 0.5 * (SIZE - 1) + rng.normal(0, 3, 2)
        self.angle = rng.uniform(0, np.pi)
        # Turn of the isophotes for a factor e in radius, about their mean radius.
        self.twist = np.radians(np.clip(rng.normal(0, 12), -30, 30))
        self.axes = rng.uniform(0.7, 1.0, 2)
        self.lopsided, self.side = rng.uniform(0, 0.15), rng.uniform(0, 2 * np.pi)
        self.scale = {
            "einasto": log_uniform(rng, 12, 50),
            "sersic": log_uniform(rng, 12, 45),
            "hydrostatic": log_uniform(rng, 20, 90),
        }[self.family]
        self.shape = {
            "einasto": rng.uniform(0.25, 0.7),
            "sersic": rng.uniform(0.8, 3.0),
            "hydrostatic": rng.uniform(7, 13),
        }[self.family]
        self.core = log_uniform(rng, 2.5, 8)
        has_core = self.family == "hydrostatic" and rng.random() < 0.6
        self.core_share = rng.uniform(0.1, 0.45) if has_core else 0.0
        # A smaller cluster beside: a Plummer sphere of gas.
        self.beside = rng.uniform(0.03, 0.15) if rng.random() < 0.25 else 0.0
        away, where = rng.uniform(25, 58), rng.uniform(0, 2 * np.pi)
        self.beside_at = (away * np.cos(where), away * np.sin(where), rng.normal(0, 15))
        self.beside_core = rng.uniform(2, 8)

    def radius(self, x: Cube, y: Cube, z: Cube) -> Cube:
        """Ellipsoidal radius m of points about the centre [pixel]."""
        flat = np.hypot(x, y)
        turn = self.angle + self.twist * np.log(np.maximum(flat, 2) / 20)
        cos, sin = np.cos(turn), np.sin(turn)
        u, v = x * cos + y * sin, (y * cos - x * sin) / self.axes[0]
        return np.sqrt(u * u + v * v + (z / self.axes[1]) ** 2 + 0.25).astype(np.float32)

    def emissivity(self, x: Cube, y: Cube, z: Cube) -> tuple[Cube, Cube, Cube]:
        """Emissivity of halo, cool core and smaller cluster, in units of their own."""
        m = self.radius(x, y, z)
        if self.family == "einasto":
            halo = np.exp(-4 / self.shape * ((m / self.scale) ** self.shape - 1))
        elif self.family == "sersic":
            halo = sersic(m / self.scale, self.shape)
        else:
            q = m / self.scale
            # Density relative to the centre, (1 + q)^(B / q) e^-B, squared.
            halo = np.exp(2 * self.shape * (np.log1p(q) / q - 1))
        side = np.cos(np.arctan2(y, x) - self.side)
        halo = halo * (1 + self.lopsided * side * m / (m + 0.5 * self.scale)) ** 2
        core = sersic(m / self.core, 1.0) if self.core_share else np.zeros_like(m)
        a, b, c = self.beside_at
        r2 = (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2
        small = (1 + r2 / self.beside_core**2) ** -3 if self.beside else np.zeros_like(m)
        return halo.astype(np.float32), core.astype(np.float32), small.astype(np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw with a uniform logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def sersic(q: Cube, n: float) -> Cube:
    """Deprojected Sersic law at radii in units of the effective radius."""
    p = 1 - 0.6097 / n + 0.05463 / n**2
    b = 2 * n - 1 / 3 + 0.009876 / n  # Prugniel & Simien's, for half of the light within 1
    return q**-p * np.exp(-b * q ** (1 / n))


def fluctuations(rng: np.random.Generator) -> Cube:
    """Gaussian random field of unit variance and a power-law spectrum, shape of the cube.

    P(k) ~ (k^2 + k_0^2)^(-slope / 2); a slope of 11/3 is that of Kolmogorov.
    """
    slope, outer = rng.uniform(3.0, 4.3), rng.uniform(15, 60)
    shape = (SIZE, SIZE, DEPTH)
    white = fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    ky, kx, kz = np.meshgrid(
        np.fft.fftfreq(SIZE),
        np.fft.fftfreq(SIZE),
        np.fft.rfftfreq(DEPTH),
        indexing="ij",
        sparse=True,
    )
    power = (ky**2 + kx**2 + kz**2 + 1 / outer**2) ** (-slope / 2)
    power[0, 0, 0] = 0
    field = fft.irfftn(white * np.sqrt(power).astype(np.float32), shape)
    return (field / field.std()).astype(np.float32)


@dataclass(frozen=True)
class Body:
    """A cavity with soft walls and a dented outline.

    Attributes
    ----------
    x, y, z : float
        Place about the halo's centre [pixel].
    axes : ndarray, shape (3,)
        Half-axes: two in the sky plane, one along the line of sight [pixel].
    angle : float
        Of the first axis [rad].
    emptied : float
        Share of the gas's light that is gone within.
    wall : float
        Width of the wall in units of the radius.
    dent : tuple of float
        Depth, number and phase of the dents of the outline.
    rim : float
        Excess of light of the rim.
    """

    x: float
    y: float
    z: float
    axes: NDArray[np.float64]
    angle: float
    emptied: float
    wall: float
    dent: tuple[float, int, float]
    rim: float

    def rho(self, x: Cube, y: Cube, z: Cube) -> Cube:
        """Distance in units of the wall's distance in that direction."""
        dx, dy, cos, sin = x - self.x, y - self.y, np.cos(self.angle), np.sin(self.angle)
        u, v = (dx * cos + dy * sin) / self.axes[0], (dy * cos - dx * sin) / self.axes[1]
        depth, number, phase = self.dent
        dented = 1 + depth * np.cos(number * np.arctan2(v, u) + phase)
        return np.sqrt(u * u + v * v + ((z - self.z) / self.axes[2]) ** 2) / dented


def draw_bodies(rng: np.random.Generator) -> list[Body]:
    """Cavities of one system: along its jets, the older ones further out."""
    number = int(rng.choice(list(NUMBERS), p=list(NUMBERS.values())))
    axis, tilt = rng.uniform(0, 2 * np.pi), np.arcsin(rng.uniform(-1, 1) * np.sin(np.pi / 3))
    distance = log_uniform(rng, 8, 30)
    out = []
    for k in range(number):
        if k == 2:
            distance *= rng.uniform(1.7, 2.6)
            axis += np.radians(rng.normal(0, 25))
        d = distance * np.exp(rng.normal(0, 0.15))
        along = axis + np.pi * (k % 2) + np.radians(rng.normal(0, 12))
        up = tilt * (1 if k % 2 == 0 else -1)
        share = np.clip(0.55 * np.exp(rng.normal(0, 0.25)), 0.3, 0.85)
        radius = float(np.clip(share * d, 3.2, 28))
        stretch = np.sqrt(rng.uniform(1, 1.9))
        turned = along + rng.choice([0.0, np.pi / 2]) + np.radians(rng.normal(0, 20))
        body = Body(
            x=float(d * np.cos(up) * np.cos(along)),
            y=float(d * np.cos(up) * np.sin(along)),
            z=float(d * np.sin(up)),
            axes=radius * np.array([stretch, 1 / stretch, rng.uniform(0.8, 1.25)]),
            angle=float(turned),
            emptied=float(rng.uniform(0.6, 1.0)),
            wall=float(rng.uniform(0.04, 0.2)),
            dent=(rng.uniform(0, 0.12), int(rng.integers(2, 4)), rng.uniform(0, 2 * np.pi)),
            rim=float(rng.uniform(0.05, 0.3)) if rng.random() < 0.5 else 0.0,
        )
        # What the field or the cube would cut is left out.
        reach = np.hypot(body.x, body.y) + 1.12 * body.axes[:2].max()
        if reach < 0.48 * SIZE and abs(body.z) + 1.6 * body.axes[2] < DEPTH / 2:
            out.append(body)
    return out


def draw_sky(rng: np.random.Generator, *, cavities: bool) -> Sky:
    """Light of a new cluster.

    Parameters
    ----------
    rng : Generator
    cavities : bool
        Whether it has any.
    """
    gas = Gas(rng)
    side = np.arange(SIZE, dtype=np.float32)
    depth = np.arange(DEPTH, dtype=np.float32) - np.float32(0.5 * (DEPTH - 1))
    y, x, z = np.meshgrid(
        side - np.float32(gas.y), side - np.float32(gas.x), depth, indexing="ij", sparse=True
    )
    parts = gas.emissivity(x, y, z)
    factors = mixture(gas, [float(part.sum()) for part in parts])
    cube = sum(f * part for f, part in zip(factors, parts, strict=True) if f)
    sigma = rng.uniform(0.02, 0.15)
    # Emissivity is density squared; the mean of its log-normal field stays at one.
    cube *= np.exp(2 * sigma * fluctuations(rng) - 2 * sigma**2)
    tail = beyond(gas, x[..., 0], y[..., 0], factors)
    undisturbed = cube.sum(2, dtype=np.float64) + tail
    bodies = draw_bodies(rng) if cavities else []
    removed = np.zeros((SLOTS, SIZE, SIZE))
    shadows = np.zeros((SLOTS, SIZE, SIZE), bool)
    table = np.zeros(SLOTS, CAVITY_DTYPE)
    kept = np.ones_like(cube)
    for k, body in enumerate(bodies):
        rho = body.rho(x, y, z)
        gone = np.float32(0.5 * body.emptied) * erfc((rho - 1) / body.wall)
        removed[k] = (cube * gone).sum(2, dtype=np.float64)
        kept *= 1 - gone
        if body.rim:
            kept *= 1 + np.float32(body.rim) * np.exp(-(((rho - 1.15) / 0.1) ** 2))
        within = rho < 1
        shadows[k] = within.any(2)
        table[k] = row_of(body, shadows[k], int(within.sum()))
    light = (cube * kept).sum(2, dtype=np.float64) + tail
    unit = light.sum()
    return Sky(light / unit, undisturbed / unit, removed / unit, shadows, table)


def mixture(gas: Gas, sums: list[float]) -> tuple[float, float, float]:
    """Factors of halo, cool core and smaller cluster that give their shares of the light."""
    shares = (1 - gas.core_share - gas.beside, gas.core_share, gas.beside)
    factors = [share / total if share else 0.0 for share, total in zip(shares, sums, strict=True)]
    return factors[0], factors[1], factors[2]


def beyond(gas: Gas, x: Cube, y: Cube, factors: tuple[float, ...]) -> NDArray[np.float64]:
    """Light of the gas before and behind the cube, by Gauss-Legendre nodes in ln z."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    low, high = np.log(TAIL)
    where = np.exp(low + 0.5 * (high - low) * (nodes + 1))
    out = np.zeros((SIZE, SIZE))
    for z, weight in zip(where, 0.5 * (high - low) * weights * where, strict=True):
        for signed in (z, -z):
            parts = gas.emissivity(x, y, np.array(signed, np.float32))
            out += weight * sum(f * p for f, p in zip(factors, parts, strict=True) if f)
    return out


def row_of(body: Body, shadow: NDArray[np.bool_], voxels: int) -> tuple[Any, ...]:
    """Row of a cavity in the table; snr and visible are filled in later."""
    y, x = np.nonzero(shadow)
    flat = np.hypot(body.x, body.y)
    return (
        *(x.mean(), y.mean(), np.sqrt(len(x) / np.pi), voxels),
        *(np.hypot(flat, body.z), np.arctan2(body.z, flat), body.emptied),
        *(0.0, 0.0, True, False),
    )
