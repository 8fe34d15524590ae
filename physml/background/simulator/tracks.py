r"""Electron tracks in an unbounded medium, made once and used again and again.

In the continuous-slowing-down approximation the rest of a track depends on the energy that is
left and on nothing else: the tail of a 30 MeV track from where 50 keV are left *is* a 50 keV
track. So a library of some thousand long tracks serves electrons of all energies, each with a
track drawn at random and turned to its direction; where it leaves the material it is cut. The
deposits of millions of electrons become gathers from one array.

Physics: collisions that lose less than `HARD_LOSS` are in the mean loss (Berger and Seltzer, in
ICRU 37; below a few keV with the mean excitation energy of Joy and Luo 1989); harder ones and hard
photons are drawn at run time (electrons.py). Elastic scattering is screened Rutherford with
Bishop's screening (as in Joy 1995, *Monte Carlo Modeling for Electron Microscopy*) and the
McKinley-Feshbach factor, large angles one by one, small ones in groups at a random hinge (as Baro
et al. 1995, Nucl. Instrum. Methods B 100, 31).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from ..core.arrays import Floats, Ints, Singles
from .materials import CLASSICAL_RADIUS, ELECTRON_MASS, FINE_STRUCTURE, Material

#: Energies of the library, keV.
HIGHEST, LOWEST = 3e4, 0.2
#: Energy losses to one electron, and photons, that are drawn one by one, keV.
HARD_LOSS, HARD_PHOTON = 20.0, 20.0
#: Length of a segment over what is left of the range: an electron that turns back at once leaves
#: less than a few per cent of its energy. Further on, `COARSE` segments are taken as one.
SEGMENT, COARSE = 0.015, 3
#: Path between groups of collisions over the transport mean free path.
_SUBSTEP = 0.05
_TRACKS = 4000


def collision_loss(material: Material, energy: ArrayLike, cut: float | None = None) -> Floats:
    """Mean collision loss of an electron, keV/um; of losses below `cut` where given."""
    e = np.asarray(energy, float)
    tau = e / ELECTRON_MASS
    b2 = 1 - 1 / (1 + tau) ** 2
    d = 0.5 * tau if cut is None else np.minimum(cut / ELECTRON_MASS, 0.5 * tau)
    f = -1 - b2 + np.log((tau - d) * d) + tau / (tau - d)
    f = f + (0.5 * d**2 + (2 * tau + 1) * np.log1p(-d / tau)) / (tau + 1) ** 2
    excitation = material.excitation / (1 + 0.85 * material.excitation / e)
    log = np.log(2 * (tau + 2)) - 2 * np.log(excitation / ELECTRON_MASS)
    delta = material.density_effect(np.sqrt(tau * (tau + 2)))
    return material.xi_rate / b2 * np.maximum(log + f - delta, 0.1)


def radiative_loss(material: Material, energy: ArrayLike) -> Floats:
    """Mean loss to bremsstrahlung, keV/um (Heitler's limits; some 20 % near 1 MeV)."""
    e = np.asarray(energy, float)
    total = e + ELECTRON_MASS
    screened = 4 * (np.log(183 * material.z ** (-1 / 3)) + 1 / 18)
    factor = np.clip(4 * (np.log(2 * total / ELECTRON_MASS) - 1 / 3), 16 / 3, screened)
    sigma = FINE_STRUCTURE * CLASSICAL_RADIUS**2 * material.z * (material.z + 1)
    return sigma * material.atoms * total * factor


def photon_spectrum(energy: ArrayLike, photon: ArrayLike) -> Floats:
    """Shape k dN/dk of bremsstrahlung, whose integral over k / E is 1."""
    ratio = np.asarray(photon, float) / np.asarray(energy, float)
    return np.where(ratio < 1, (1 - ratio + 0.75 * ratio**2) / 0.75, 0.0)


def photon_rate(material: Material, energy: Floats, cut: float) -> Floats:
    """Photons above `cut` that an electron radiates per path, 1/um."""
    ratio = np.minimum(cut / energy, 1.0)
    number = (-np.log(ratio) - (1 - ratio) + 0.375 * (1 - ratio**2)) / 0.75
    return radiative_loss(material, energy) / energy * number


def moller_rate(material: Material, energy: Floats, cut: float) -> Floats:
    """Collisions that lose more than `cut` to the electron that comes off slower, 1/um."""
    e = np.asarray(energy, float)
    total = e + ELECTRON_MASS
    w = np.minimum(cut, 0.5 * e)
    b2 = 1 - (ELECTRON_MASS / total) ** 2
    mixed = ELECTRON_MASS * (2 * e + ELECTRON_MASS) / total**2
    number = 1 / w - 1 / (e - w) + (0.5 * e - w) / total**2 - mixed / e * np.log((e - w) / w)
    return material.xi_rate / b2 * np.maximum(number, 0.0)


def draw_moller(energy: Floats, cut: float, rng: Generator) -> Floats:
    """Draw energies of the slower electron, between the cut and half of the energy."""
    out = np.empty_like(energy)
    todo = np.arange(len(energy))
    while len(todo):
        e = energy[todo]
        total = e + ELECTRON_MASS
        u = rng.random(len(todo))
        w = 1 / (1 / cut - u * (1 / cut - 2 / e))  # from 1/w^2
        mixed = ELECTRON_MASS * (2 * e + ELECTRON_MASS) / total**2
        # Times w^2; convex in w, so that the largest is that at an end (at most 1 at w << e).
        density = 1 + (w / (e - w)) ** 2 + (w / total) ** 2 - mixed * w / (e - w)
        largest = np.maximum(1.0, 2 + 0.25 * (e / total) ** 2 - mixed)
        good = rng.random(len(todo)) * largest < density
        out[todo[good]] = w[good]
        todo = todo[~good]
    return out


def draw_photon(energy: Floats, cut: Floats, rng: Generator) -> Floats:
    """Draw energies of bremsstrahlung photons above a cut: 1/k times the shape of the spectrum."""
    out = np.empty_like(energy)
    todo = np.arange(len(energy))
    while len(todo):
        e, lowest = energy[todo], cut[todo]
        k = lowest * (e / lowest) ** rng.random(len(todo))
        good = rng.random(len(todo)) < 0.75 * photon_spectrum(e, k)
        out[todo[good]] = k[good]
        todo = todo[~good]
    return out


@dataclass(frozen=True)
class Scattering:
    """Elastic scattering at one energy: lengths in um."""

    screening: float
    mean_free_path: float
    transport: float


def scattering(material: Material, energy: float) -> Scattering:
    """Screened Rutherford scattering of an electron of an energy in keV.

    With mu = (1 - cos theta) / 2: p(mu) = eta (1 + eta) / (mu + eta)^2. Z (Z + 1) counts the
    atom's electrons as well.
    """
    total = energy + ELECTRON_MASS
    momentum2 = energy * (energy + 2 * ELECTRON_MASS)  # (p c)^2
    z = material.z
    # Bishop's fit to partial-wave calculations, with E p-squared over twice the mass.
    eta = 3.4e-3 * z**0.67 * 2 * ELECTRON_MASS / momentum2
    amplitude = CLASSICAL_RADIUS * ELECTRON_MASS * total / momentum2
    sigma = np.pi * z * (z + 1) * amplitude**2 / (eta * (1 + eta))
    first = 2 * eta * ((1 + eta) * np.log1p(1 / eta) - 1)
    free = 1 / (material.atoms * sigma)
    return Scattering(float(eta), float(free), float(free / first))


@dataclass(frozen=True)
class TrackLibrary:
    """Tracks in one medium on a common grid of energies.

    Attributes
    ----------
    material : Material
    energy : ndarray, shape (nodes,)
        Falling, keV.
    range : ndarray, shape (nodes,)
        Path that is left, um (collisions below `HARD_LOSS` only).
    hazard : ndarray, shape (nodes,)
        Mean number of hard collisions and photons on the way from rest up to each node.
    segment : ndarray of float32, shape (tracks, nodes - 1, 3)
        Displacement from node to node, um.
    coarse : TrackLibrary or None
        The same tracks with every `COARSE`-th of the nodes.
    """

    material: Material
    energy: Floats
    range: Floats
    hazard: Floats
    segment: Singles
    coarse: TrackLibrary | None = None

    @cached_property
    def spacing(self) -> float:
        """Step of the logarithm of the range from node to node."""
        return float(np.log(self.range[0] / self.range[1]))

    @cached_property
    def log_energy_rising(self) -> Floats:
        """Logarithm of the energies, increasing."""
        return np.log(self.energy[::-1])

    @cached_property
    def hazard_rising(self) -> Floats:
        """Hazards in the order of increasing energy."""
        return np.ascontiguousarray(self.hazard[::-1])

    @cached_property
    def _even(self) -> tuple[float, float, Floats]:
        """Logarithm of the range at evenly spaced logarithms of the energy: first, pace, table."""
        first, last = float(self.log_energy_rising[0]), float(self.log_energy_rising[-1])
        number = 8192
        grid = np.linspace(first, last, number)
        log_range = np.log(self.range[::-1])
        return (
            first,
            (number - 1) / (last - first),
            np.interp(grid, self.log_energy_rising, log_range),
        )

    def log_range_of(self, energy: ArrayLike) -> Floats:
        """Logarithm of `range_of`."""
        # numpy's interp searches for the place; on an even grid it is known.
        first, pace, table = self._even
        place = (np.log(np.asarray(energy, float)) - first) * pace
        place = np.clip(place, 0, len(table) - 1.001)
        below = place.astype(np.int64)
        share = place - below
        return table[below] * (1 - share) + table[below + 1] * share

    def range_of(self, energy: ArrayLike) -> Floats:
        """Path that an electron of an energy in keV has left, um."""
        return np.exp(self.log_range_of(energy))

    def place(self, energy: Floats) -> tuple[Ints, Floats]:
        """Segment in which an energy lies, and the share of it that is behind, by path."""
        log_range = self.log_range_of(energy)
        r = np.exp(log_range)
        j = ((np.log(self.range[0]) - log_range) / self.spacing).astype(np.int64)
        j = np.clip(j, 0, len(self.energy) - 2)
        behind = (self.range[j] - r) / (self.range[j] - self.range[j + 1])
        return j, np.clip(behind, 0, 1)


@lru_cache(maxsize=4)
def library(material: Material, tracks: int = _TRACKS) -> TrackLibrary:
    """Make the tracks of a medium: the same on every call and in every process."""
    energy, distance, hazard = _nodes(material)
    rng = np.random.default_rng(np.random.SeedSequence(material.z))
    segment = np.empty((tracks, len(energy) - 1, 3), np.float32)
    heading = np.tile([0.0, 0.0, 1.0], (tracks, 1))
    for j in range(len(energy) - 1):
        middle = float(np.sqrt(energy[j] * energy[j + 1]))
        step = float(distance[j] - distance[j + 1])
        elastic = scattering(material, middle)
        segment[:, j], heading = _walk(elastic, material.z, middle, step, heading, rng)
    every = slice(None, None, COARSE)
    joined = segment.reshape(tracks, -1, COARSE, 3).sum(2)
    coarse = TrackLibrary(material, energy[every], distance[every], hazard[every], joined)
    return TrackLibrary(material, energy, distance, hazard, segment, coarse)


def _nodes(material: Material) -> tuple[Floats, Floats, Floats]:
    """Energies at equal steps of the logarithm of the range, ranges, hazards."""
    fine = np.exp(np.linspace(np.log(LOWEST), np.log(HIGHEST), 4000))
    soft_photons = np.minimum(HARD_PHOTON / fine, 1.0)
    loss = collision_loss(material, fine, HARD_LOSS)
    loss = loss + soft_photons * radiative_loss(material, fine)
    path = fine / loss
    grid = np.diff(np.log(fine))
    distance = np.cumsum(np.append(fine[0] / loss[0], 0.5 * (path[1:] + path[:-1]) * grid))
    hard = moller_rate(material, fine, HARD_LOSS) + photon_rate(material, fine, HARD_PHOTON)
    each = hard * path
    hazard = np.append(0.0, np.cumsum(0.5 * (each[1:] + each[:-1]) * grid))
    number = int(np.log(distance[-1] / distance[0]) / SEGMENT) // COARSE * COARSE
    nodes = distance[-1] * np.exp(-SEGMENT * np.arange(number + 1))
    log_fine = np.log(fine)
    energy = np.exp(np.interp(np.log(nodes), np.log(distance), log_fine))
    return energy, nodes, np.interp(np.log(energy), log_fine, hazard)


def _walk(
    elastic: Scattering, z: int, energy: float, step: float, heading: Floats, rng: Generator
) -> tuple[Floats, Floats]:
    """Walk one segment of given path: displacement and new heading of each track."""
    eta = elastic.screening
    substeps = max(1, int(np.ceil(step / (_SUBSTEP * elastic.transport))))
    h = step / substeps
    free = max(elastic.mean_free_path, 2 * _SUBSTEP * elastic.transport)
    hard_share = elastic.mean_free_path / free
    largest = 1 / (hard_share / (eta * (1 + eta)) + 1 / (1 + eta)) - eta  # of a soft mu
    largest = max(largest, 0.0)
    soft = eta * (1 + eta) * (np.log1p(largest / eta) - largest / (largest + eta))
    soft *= h / elastic.mean_free_path
    beta = np.sqrt(1 - (ELECTRON_MASS / (energy + ELECTRON_MASS)) ** 2)
    mott = np.pi * FINE_STRUCTURE * z * beta
    ceiling = 1 + 0.25 * mott
    moved = np.zeros_like(heading)
    for _ in range(substeps):
        before = rng.random(len(heading))[:, None] * h
        moved += before * heading
        if soft > 0:
            mu = np.minimum(rng.exponential(soft, len(heading)), 1.0)
            heading = turn(heading, 1 - 2 * mu, rng)
        number = rng.poisson(ceiling * h / free, len(heading))
        for k in range(int(number.max(initial=0))):
            who = np.flatnonzero(number > k)
            mu = 1 / (rng.random(len(who)) * hard_share / (eta * (1 + eta)) + 1 / (1 + eta)) - eta
            mu = np.clip(mu, 0, 1)
            root = np.sqrt(mu)
            happens = rng.random(len(who)) * ceiling < (1 - beta**2 * mu + mott * root * (1 - root))
            who, mu = who[happens], mu[happens]
            heading[who] = turn(heading[who], 1 - 2 * mu, rng)
        moved += (h - before) * heading
    return moved, heading


def normals(direction: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors that make a right-handed frame with unit vectors, shape (n, 3) each.

    Duff et al. (2017, J. Comput. Graph. Tech. 6, 1).
    """
    x, y, z = direction[:, 0], direction[:, 1], direction[:, 2]
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b = x * y * a
    first, second = np.empty_like(direction), np.empty_like(direction)
    first[:, 0], first[:, 1], first[:, 2] = 1 + sign * x * x * a, sign * b, -sign * x
    second[:, 0], second[:, 1], second[:, 2] = b, sign + y * y * a, -y
    return first, second


def turn(direction: Floats, cosine: ArrayLike, rng: Generator, azimuth: Floats | None = None):
    """Turn unit vectors (n, 3) by angles whose cosines are given, at random azimuths."""
    c = np.asarray(cosine, float)
    s = np.sqrt(np.maximum(1 - c * c, 0))
    phi = rng.random(len(direction)) * (2 * np.pi) if azimuth is None else azimuth
    first, second = normals(direction)
    return (
        c[:, None] * direction
        + (s * np.cos(phi))[:, None] * first
        + (s * np.sin(phi))[:, None] * second
    )
