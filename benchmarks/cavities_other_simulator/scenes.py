"""A second generator of clusters with cavities, for judging what is fitted on the first.

It shares no line with `physml.cavities.simulator`: densities are integrated along the line of
sight by a rule of its own, haloes are of other families, their centres, axis ratios and directions
change with radius, and lopsidedness and spirals go out to the field's edge. Nothing is trained or
calibrated on it. Families and seeds of development (`DEVELOPMENT`) and of judging (`JUDGING`)
differ: a method may be chosen on the one and is measured on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from physml.cavities.core.halo import fill_sources

#: Side of an image [pixel].
SIDE = 128
#: Families of haloes and disturbances, by what they are for.
DEVELOPMENT = (("king", "truncated"), ("lopsided", "elliptic"))
JUDGING = (("vikhlinin", "polytrope"), ("lopsided", "twist", "offset", "spiral", "edge"))
#: Least share of the emission that is missing where a cavity can be seen.
VISIBLE = 0.02

Array = NDArray[np.float64]


@dataclass
class Body:
    """One cavity.

    Attributes
    ----------
    centre : ndarray, shape (3,)
        From the halo's centre; z along the line of sight [pixel].
    matrix : ndarray, shape (3, 3)
        p^T matrix p < 1 inside [pixel^-2].
    emptied : float
        Share of its emission that is missing.
    """

    centre: Array
    matrix: Array
    emptied: float

    def outline(self) -> tuple[float, float, float]:
        """Semi-axes [pixel] and direction [rad] of its shadow."""
        m = self.matrix
        shadow = m[:2, :2] - np.outer(m[:2, 2], m[2, :2]) / m[2, 2]
        value, vector = np.linalg.eigh(shadow)
        major = vector[:, 0]
        theta = float(np.arctan2(major[1], major[0]) % np.pi)
        return float(value[0] ** -0.5), float(value[1] ** -0.5), theta

    @property
    def volume(self) -> float:
        """Volume [pixel^3]."""
        return float(4 / 3 * np.pi / np.sqrt(np.linalg.det(self.matrix)))

    def chord(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Middle and half length of the chord at places on the sky; half 0 outside."""
        m, u, v = self.matrix, x - self.centre[0], y - self.centre[1]
        slope = (m[0, 2] * u + m[1, 2] * v) / m[2, 2]
        rest = (m[0, 0] * u * u + 2 * m[0, 1] * u * v + m[1, 1] * v * v - 1) / m[2, 2]
        return self.centre[2] - slope, np.sqrt(np.clip(slope**2 - rest, 0, None))

    def inside(self, x: Array, y: Array, z: Array) -> NDArray[np.bool_]:
        """Whether places, shape (m,), lie in it."""
        p = np.stack([x, y, z]) - self.centre[:, None]
        return np.asarray(np.einsum("im,ij,jm->m", p, self.matrix, p) < 1)


@dataclass
class Scene:
    """One image of this generator, with its truth.

    Attributes
    ----------
    counts, exposure : ndarray, shape (128, 128)
        Counts, masked sources filled, and relative exposure.
    invalid : ndarray of bool, shape (128, 128)
    bodies : list of Body
        Cavities that can be seen.
    labels : ndarray of int, shape (128, 128)
        k where the k-th is deepest, counted from 1; 0 outside.
    place : tuple of float
        x, y of the halo's centre [pixel].
    """

    counts: Array
    exposure: Array
    invalid: NDArray[np.bool_]
    bodies: list[Body]
    labels: NDArray[np.int64]
    place: tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """What a set of scenes has.

    Attributes
    ----------
    nuisance : bool
        Disturbed haloes, point sources, exposure structure, wide point spread function.
    partial : bool
        Cavities emptied in part, far from the plane of the sky.
    empty : bool
        No cavities.
    strength : float
        Amplitudes of the disturbances, relative; above 1 each halo has at least two of them.
    round : bool
        A round field of view, of which the observer's exposure says nothing.
    noisy : bool
        Each event counts 1.5 to 3 times, as after a division by a constant that nobody noted.
    """

    nuisance: bool = False
    partial: bool = False
    empty: bool = False
    strength: float = 1.0
    round: bool = False
    noisy: bool = False

    def seed(self, number: int, judging: bool) -> list[int]:
        """Root of the random stream of one scene."""
        first = [11 if judging else 7, int(self.nuisance), int(self.partial), number]
        more = [int(self.empty), round(10 * self.strength), int(self.round), int(self.noisy)]
        return first if more == [0, 10, 0, 0] else first + more


def profile(family: str, rng: Generator) -> Callable[[Array], Array]:
    """Emissivity as a function of the radius squared, of random shape."""
    core = float(np.exp(rng.normal(np.log(5.0), 0.8)))
    if family == "king":
        slope, far = 3 * rng.uniform(0.42, 0.75), float(core * np.exp(rng.normal(2.2, 0.5)))
        level = float(np.exp(rng.normal(np.log(0.03), 1.2)))
        outer = 3 * rng.uniform(0.45, 0.8)
        return lambda s: (1 + s / core**2) ** -slope + level * (1 + s / far**2) ** -outer
    if family == "truncated":
        slope, edge = rng.uniform(0.7, 1.3), rng.uniform(40, 120)
        return lambda s: (s + core**2) ** -slope * np.exp(-np.sqrt(s + 1) / edge)
    if family == "vikhlinin":
        cusp, beta = rng.uniform(0.2, 1.3), rng.uniform(0.4, 0.7)
        bend, scale = rng.uniform(0.5, 3.5), float(np.exp(rng.uniform(np.log(25), np.log(120))))
        core = max(core, 6.0)
        return lambda s: (
            ((s + 0.25) / core**2) ** (-cusp / 2)
            * (1 + s / core**2) ** (cusp / 2 - 3 * beta)
            * (1 + (s / scale**2) ** 1.5) ** (-bend / 3)
        )
    if family == "polytrope":
        scale, power = float(np.exp(rng.uniform(np.log(6), np.log(40)))), rng.uniform(4, 9)

        def gas(s: Array) -> Array:
            x = np.sqrt(s + 0.04) / scale
            return (np.log1p(x) / x) ** power

        return gas
    raise ValueError(f"no family {family!r}")


class Halo:
    """Emissivity of a disturbed halo about its own centre.

    Parameters
    ----------
    family : str
    disturbances : tuple of str
        What it has of "lopsided", "elliptic", "twist", "offset", "spiral" and "edge".
    strength : float
        Scale of their amplitudes.
    rng : Generator
    """

    def __init__(
        self, family: str, disturbances: tuple[str, ...], strength: float, rng: Generator
    ) -> None:
        self.gas = profile(family, rng)
        has = set(disturbances)
        self.flat = rng.uniform(0, 0.3)
        self.deep = rng.uniform(0.75, 1.25)
        self.angle = rng.uniform(0, np.pi)
        self.change = rng.normal(0, 0.12) * strength if has & {"elliptic", "twist"} else 0.0
        self.twist = rng.normal(0, 0.5) * strength if "twist" in has else 0.0
        self.turn = float(np.exp(rng.uniform(np.log(8), np.log(50))))
        self.offset = rng.normal(0, 5.0, 2) * strength if "offset" in has else np.zeros(2)
        self.lopsided = abs(rng.normal(0, 0.10)) * strength if "lopsided" in has else 0.0
        self.spiral = rng.uniform(0.02, 0.12) * strength if "spiral" in has else 0.0
        self.winding = rng.uniform(1, 4) * rng.choice([-1, 1])
        self.jump = rng.uniform(0.05, 0.35) * strength if "edge" in has else 0.0
        self.front = rng.uniform(15, 55)
        self.phase = rng.uniform(0, 2 * np.pi, 3)

    def emissivity(self, x: Array, y: Array, z: Array) -> Array:
        """Emissivity at places from the centre [pixel], arbitrary norm."""
        r2 = x * x + y * y + z * z
        far = r2 / (r2 + self.turn**2)
        u, v = x - self.offset[0] * far, y - self.offset[1] * far
        angle = self.angle + self.twist * far
        axis = 1 - np.clip(self.flat + self.change * far, 0, 0.5)
        c, s = np.cos(angle), np.sin(angle)
        along, across = u * c + v * s, (v * c - u * s) / axis
        out = self.gas(along**2 + across**2 + (z / self.deep) ** 2)
        phi, r = np.arctan2(y, x), np.sqrt(r2 + 0.25)
        density = 1 + self.lopsided * np.sqrt(far) * np.cos(phi - self.phase[0])
        density = density + self.spiral * np.cos(
            phi - self.winding * np.log(r / 10) - self.phase[1]
        ) * np.exp(-0.5 * (z / 30) ** 2)
        sector = np.clip(np.cos(phi - self.phase[2]), 0, None)
        density = density + self.jump * sector * (r < self.front)
        return np.clip(density, 0.05, None) ** 2 * out


def draw_bodies(rng: Generator, partial: bool) -> list[Body]:
    """Draw a pair of cavities, emptied wholly or in part, at any angle to the sky."""
    spread, most = (45.0, 60.0) if partial else (22.0, 60.0)
    distance = float(np.exp(rng.uniform(np.log(7), np.log(48))))
    radius = float(np.clip(distance * np.exp(rng.normal(np.log(0.6), 0.25)), 3.5, 32))
    radius = min(radius, 0.95 * distance)
    phi, bend = rng.uniform(0, 2 * np.pi), np.pi + np.radians(22) * rng.normal()
    tilt = np.radians(np.clip(spread * rng.normal(), -most, most))
    along, emptied = rng.random() < 0.5, rng.uniform(0.35, 1.0) if partial else 1.0
    bodies = []
    for k in range(2):
        d, r = np.array([distance, radius]) * (np.exp(rng.normal(-0.1, 0.16, 2)) if k else 1.0)
        angle, rise = phi + k * bend, -tilt if k else tilt
        e = np.clip(rng.normal(0.28, 0.15), 0, 0.6)
        a, b = r / np.sqrt(1 - e), r * np.sqrt(1 - e)
        turn = angle + (0 if along else np.pi / 2) + np.radians(15) * rng.normal()
        lift = rise if along else 0.0
        axes = np.array(
            [
                [np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)],
                [-np.sin(turn), np.cos(turn), 0],
                [-np.cos(turn) * np.sin(lift), -np.sin(turn) * np.sin(lift), np.cos(lift)],
            ]
        )
        scale = np.array([a, b, rng.uniform(b, a)]) ** -2.0
        flat = d * np.cos(rise)
        place = np.array([flat * np.cos(angle), flat * np.sin(angle), d * np.sin(rise)])
        bodies.append(Body(place, axes.T @ (scale[:, None] * axes), float(emptied)))
    return bodies


def exposure_of(rng: Generator) -> Array:
    """Vignetting, a gap between chips, or the end of one."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    ax, ay = rng.uniform(30, 98, 2)
    out = 1 - rng.uniform(0.05, 0.5) * ((x - ax) ** 2 + (y - ay) ** 2) / SIDE**2
    t = rng.uniform(0, np.pi)
    across = (x - SIDE / 2) * np.cos(t) + (y - SIDE / 2) * np.sin(t) - rng.uniform(-45, 45)
    if rng.random() < 0.6:
        out = out * (1 - rng.uniform(0.3, 1) * gaussian_filter((abs(across) < 3) * 1.0, 1.5))
    if rng.random() < 0.2:
        out = np.where(across > rng.uniform(35, 60), 0, out)
    return np.asarray(np.clip(out, 0, None) / out.max())


def draw_scene(number: int, families: tuple[tuple[str, ...], tuple[str, ...]], kind: Kind) -> Scene:
    """Draw an image, with a pair of cavities or without.

    Parameters
    ----------
    number : int
        Its seed, together with the families.
    families : tuple
        `DEVELOPMENT` or `JUDGING`: haloes, and disturbances of images with nuisances.
    kind : Kind
    """
    nuisance = kind.nuisance
    rng = np.random.default_rng(kind.seed(number, families == JUDGING))
    family = str(rng.choice(families[0]))
    some = tuple(d for d in families[1] if nuisance and rng.random() < 0.5)
    if kind.strength > 1 and len(some) < 2:
        some = tuple(str(d) for d in rng.choice(families[1], 2, replace=False))
    halo = Halo(family, some, kind.strength, rng)
    place = tuple(float(v) for v in (SIDE - 1) / 2 + rng.normal(0, 0.5, 2))
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    x, y = x - place[0], y - place[1]
    # All that is drawn is alike before and behind the plane of the sky; z = 2 sinh t.
    x32, y32, step = x.astype(np.float32), y.astype(np.float32), np.float32(0.26)
    smooth = halo.emissivity(x32, y32, np.float32(0)) * step
    for v in np.arange(1, 24, dtype=np.float32) * step:
        smooth = smooth + halo.emissivity(x32, y32, 2 * np.sinh(v)) * 2 * np.cosh(v) * step
    smooth = 2.0 * smooth.astype(float)
    bodies = [] if kind.empty else draw_bodies(rng, kind.partial)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    share = np.zeros((len(bodies), SIDE, SIDE))
    for k, body in enumerate(bodies):
        middle, half = body.chord(x, y)
        shadow = half > 0
        px, py, middle, half = x[shadow], y[shadow], middle[shadow], half[shadow]
        hidden = np.zeros_like(px)
        for node, weight in zip(nodes, weights, strict=True):
            z = middle + node * half
            free = ~np.any([b.inside(px, py, z) for b in bodies[:k]], axis=0) if k else 1.0
            hidden += body.emptied * weight * half * free * halo.emissivity(px, py, z)
        share[k][shadow] = hidden
    share /= smooth
    sky = smooth * np.clip(1 - share.sum(0), 0, None)
    total, ground = np.exp(rng.uniform(np.log(5e3), np.log(1e6))), np.exp(rng.uniform(-6.2, -0.9))
    exposure = np.ones((SIDE, SIDE))
    if nuisance:
        if rng.random() < 0.6:
            exposure = exposure_of(rng)
        if rng.random() < 0.4:
            sky[round(place[1]), round(place[0])] += sky.sum() * 10 ** rng.uniform(-3, -1.5)
    live = round_field(rng) if kind.round else np.ones((SIDE, SIDE), bool)
    exposure = exposure * live
    width = rng.uniform(0.7, 2.8) if nuisance else rng.uniform(0.4, 1.0)
    sky = gaussian_filter(sky, width / 2.355, mode="nearest")
    sky *= total * (1 - ground) / (exposure * sky).sum()
    hidden = np.zeros((SIDE, SIDE), bool)
    if nuisance and rng.random() < 0.6:
        stars = np.zeros((SIDE, SIDE))
        for _ in range(rng.integers(1, 9)):
            i, j = rng.integers(0, SIDE, 2)
            flux = 10 * (total / 1e5) ** 0.5 * (1 + rng.pareto(1.1))
            stars[i, j] += flux
            far = np.hypot(*(np.mgrid[:SIDE, :SIDE] - np.array([i, j])[:, None, None]))
            # Those that stand out are masked, as an observer would.
            if flux > 5 + 4.5 * np.sqrt(sky[i, j] * np.pi * max(width, 1) ** 2):
                hidden |= far < 1.5 * max(width, 1) + 1
        sky = sky + gaussian_filter(stars, width / 2.355)
    live = exposure > 0
    expected = np.where(live, exposure * sky + total * ground / live.sum(), 0)
    counted = rng.uniform(1.5, 3) if kind.noisy else 1.0
    counts = counted * rng.poisson(expected / counted).astype(float)
    counts = fill_sources(counts, hidden & live, rng).astype(float)
    deep = np.where(live, share, 0)
    labels = np.zeros((SIDE, SIDE), int)
    if bodies:
        labels = np.where(deep.max(0) > VISIBLE, deep.argmax(0) + 1, 0)
    known = np.ones((SIDE, SIDE)) if kind.round else exposure
    unseen = hidden if kind.round else hidden | ~live
    return Scene(counts, known, unseen, bodies, labels, (place[0], place[1]))


def round_field(rng: Generator) -> NDArray[np.bool_]:
    """Pixels inside of a disc that ends inside of the image."""
    y, x = np.mgrid[:SIDE, :SIDE]
    radius, (x0, y0) = rng.uniform(0.32, 0.55) * SIDE, SIDE / 2 + rng.normal(0, 6, 2)
    return np.asarray((x - x0) ** 2 + (y - y0) ** 2 < radius**2)
