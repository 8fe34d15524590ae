r"""Photons: X-rays from the mirror, and bremsstrahlung from the housing.

X-rays come in at the back of the slab and are absorbed at an exponential depth; in 4.5 % of the
absorptions above the K edge a 1.74 keV photon leaves the atom and may leave the slab (the escape
line). Bremsstrahlung comes from the electrons that primaries knock on all along their way through
the housing; photons walk through housing, cavity and slab by photoelectric absorption and Compton
scattering (Klein and Nishina), and set electrons free in the silicon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from ..core.arrays import Floats, Ints
from ..core.records import Records
from .electrons import Electrons
from .geometry import Geometry, isotropic, ray_box
from .materials import CLASSICAL_RADIUS, ELECTRON_MASS, SILICON, Material
from .primaries import Primaries
from .protons import beta_squared, largest_transfer
from .tracks import HIGHEST, collision_loss, draw_photon, photon_rate, radiative_loss, turn

#: Photons below this are not followed: 4 keV come out of the last 10 um of the housing.
LOWEST = 4.0
#: Largest number of interactions and crossings of a photon.
_STEPS = 8
#: Si K shell (Krause 1979; Bearden 1967): share of the absorptions above the edge, fluorescence
#: yield, energy of the line in keV.
K_SHARE, K_YIELD, K_LINE = 0.92, 0.050, 1.7398


@dataclass(frozen=True)
class Absorbed(Records):
    """Charge that X-rays leave.

    Attributes
    ----------
    energy : ndarray
        keV.
    position : ndarray, shape (m, 3)
        um.
    photon : ndarray of int
        Row of the photon; one that fluoresces can have two entries, one that passes has none.
    """

    energy: Floats
    position: Floats
    photon: Ints


def absorb(
    energy: Floats,
    x: Floats,
    y: Floats,
    thickness: float,
    rng: Generator,
    *,
    escape: bool = True,
    front: bool = False,
) -> Absorbed:
    """Let X-rays fall on a slab.

    Parameters
    ----------
    energy : ndarray, shape (n,)
        keV.
    x, y : ndarray, shape (n,)
        Where, um.
    thickness : float
        um.
    rng : Generator
    escape : bool
        With fluorescence of silicon.
    front : bool
        They fall on its readout side instead of on its back.
    """
    depth = rng.exponential(1 / SILICON.photoelectric(energy))
    stopped = np.flatnonzero(depth < thickness)
    z = depth[stopped] if front else thickness - depth[stopped]
    position = np.stack([x[stopped], y[stopped], z], 1)
    left = energy[stopped].copy()
    shines = (left > SILICON.edge) & (rng.random(len(left)) < K_SHARE * K_YIELD)
    shines &= escape
    who = np.flatnonzero(shines)
    left[who] -= K_LINE
    free = rng.exponential(1 / SILICON.photoelectric(K_LINE), len(who))
    again = position[who] + free[:, None] * isotropic(len(who), rng)
    held = (again[:, 2] > 0) & (again[:, 2] < thickness)
    return Absorbed(
        np.concatenate([left, np.full(held.sum(), K_LINE)]),
        np.concatenate([position, again[held]]),
        np.concatenate([stopped, stopped[who[held]]]),
    )


def compton_coefficient(material: Material, energy: ArrayLike) -> Floats:
    """Klein and Nishina's total, 1/um."""
    k = np.asarray(energy, float) / ELECTRON_MASS
    log = np.log1p(2 * k)
    first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k)
    sigma = first + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    per_electron = 2 * np.pi * CLASSICAL_RADIUS**2 * sigma
    return per_electron * material.atoms * material.z


def draw_compton(energy: Floats, rng: Generator) -> tuple[Floats, Floats]:
    """Scattered energies (keV) and cosines."""
    out = np.empty_like(energy)
    todo = np.arange(len(energy))
    while len(todo):
        k = energy[todo] / ELECTRON_MASS
        cosine = rng.uniform(-1, 1, len(todo))
        ratio = 1 / (1 + k * (1 - cosine))
        # Klein-Nishina over its largest value, which is that of forward scattering.
        density = 0.5 * ratio**2 * (ratio + 1 / ratio - 1 + cosine**2)
        good = rng.random(len(todo)) < density
        out[todo[good]] = cosine[good]
        todo = todo[~good]
    return energy / (1 + energy / ELECTRON_MASS * (1 - out)), out


@dataclass(frozen=True)
class ThickTarget:
    """Photons above `LOWEST` from electrons that a particle knocks on in a thick housing.

    Attributes
    ----------
    log_energy : ndarray
        Log of electron energies, keV.
    emitted : ndarray
        Photons that one electron of each energy radiates until it stops.
    cumulative : ndarray
        int emitted / T^2 dT up to each energy: photons per xi and path, 1/keV.
    """

    log_energy: Floats
    emitted: Floats
    cumulative: Floats


@lru_cache(maxsize=4)
def thick_target(material: Material) -> ThickTarget:
    """Tabulate the light of a material."""
    grid = np.linspace(np.log(1.001 * LOWEST), np.log(HIGHEST), 1500)
    e = np.exp(grid)
    each = photon_rate(material, e, LOWEST) * e
    each /= collision_loss(material, e) + radiative_loss(material, e)
    emitted = _integral(each, grid)
    return ThickTarget(grid, emitted, _integral(emitted / e, grid))


def _integral(values: Floats, grid: Floats) -> Floats:
    steps = 0.5 * (values[1:] + values[:-1]) * np.diff(grid)
    return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class Light(Records):
    """Photons on their way.

    Attributes
    ----------
    energy : ndarray, shape (n,)
        keV.
    position, direction : ndarray, shape (n, 3)
    owner : ndarray of int
    safe : ndarray
        Path on which photoelectric absorption cannot happen any more, um.
    """

    energy: Floats
    position: Floats
    direction: Floats
    owner: Ints
    safe: Floats

    def moved(self, distance: Floats) -> Light:
        """Further along their directions, in matter."""
        return replace(
            self,
            position=self.position + distance[:, None] * self.direction,
            safe=np.maximum(self.safe - distance, 0.0),
        )


def shine(geometry: Geometry, material: Material, primaries: Primaries, rng: Generator) -> Light:
    """Draw the photons that primaries make in the housing, before and behind the cavity.

    They start on the primary's path (the electrons behind them go less far than the photons) and
    in all directions alike (those electrons have scattered).
    """
    p = primaries
    table = thick_target(material)
    exit_point = p.position + geometry.to_housing(p.position, p.direction)[:, None] * p.direction
    behind = geometry.housing_path(geometry.onto_housing(exit_point), p.direction)
    path = np.concatenate([p.path, behind])
    start = np.concatenate([p.position, exit_point])
    along = np.concatenate([-p.direction, p.direction])
    owner = np.tile(np.arange(len(p)), 2)
    largest = np.clip(largest_transfer(p.energy), LOWEST, HIGHEST)
    total = np.interp(np.log(largest), table.log_energy, table.cumulative)
    mean = material.xi_rate / beta_squared(p.energy) * p.charge2 * total
    number = rng.poisson(np.tile(mean, 2) * path)
    row = np.repeat(np.arange(len(path)), number)
    nucleus = owner[row]
    log_t = np.interp(rng.random(len(row)) * total[nucleus], table.cumulative, table.log_energy)
    transfer = np.exp(log_t)
    happens = rng.random(len(row)) < (
        1 - beta_squared(p.energy)[nucleus] * transfer / largest_transfer(p.energy)[nucleus]
    )
    row, log_t = row[happens], log_t[happens]
    # The electron's energy when it radiates, then the photon's.
    radiating = np.exp(
        np.interp(
            rng.random(len(row)) * np.interp(log_t, table.log_energy, table.emitted),
            table.emitted,
            table.log_energy,
        )
    )
    energy = draw_photon(radiating, np.full(len(radiating), LOWEST), rng)
    position = start[row] + (rng.random(len(row)) * path[row])[:, None] * along[row]
    # No way to the cavity is shorter than the distance from it; absorption on that first part of
    # any way is settled here, and almost all photons are done with.
    outside = np.maximum(geometry.low - position, position - geometry.high)
    bare = np.sqrt((np.maximum(outside, 0) ** 2).sum(1))
    passes = rng.random(len(row)) < np.exp(-bare * material.photoelectric(energy))
    row, energy, position, bare = row[passes], energy[passes], position[passes], bare[passes]
    return Light(energy, position, isotropic(len(row), rng), owner[row], bare)


def convert(geometry: Geometry, housing: Material, light: Light, rng: Generator) -> Electrons:
    """Follow photons from within the housing; electrons that they set free in the slab.

    A photoelectron and the Auger electrons with it count as one electron with all the energy.

    Parameters
    ----------
    geometry : Geometry
    housing : Material
        Of the housing.
    light : Light
    rng : Generator
    """
    electrons = [Electrons.none()]
    in_housing = np.ones(len(light), bool)
    outer_low, outer_high = geometry.low - geometry.housing, geometry.high + geometry.housing
    for _ in range(_STEPS):
        if len(light) == 0:
            break
        held = light[in_housing]
        # A photon in the housing scatters, is absorbed, or reaches the cavity or the outside.
        near, far = ray_box(held.position, held.direction, geometry.low, geometry.high)
        meets = (far > near) & (far > 1e-3)
        outside = ray_box(held.position, held.direction, outer_low, outer_high)[1]
        reach = np.where(meets, np.maximum(near, 0.0), outside)
        n = len(near)
        scatters_at = rng.exponential(size=n) / compton_coefficient(housing, held.energy)
        absorbed_at = held.safe + rng.exponential(size=n) / housing.photoelectric(held.energy)
        scatters = (scatters_at < reach) & (scatters_at < absorbed_at)
        enters = meets & (reach < scatters_at) & (reach < absorbed_at)
        scattered = held[scatters].moved(scatters_at[scatters])
        energy, cosine = draw_compton(scattered.energy, rng)
        turned = turn(scattered.direction, cosine, rng)
        scattered = replace(scattered, energy=energy, direction=turned)
        crossing = Light.join([held[enters].moved(reach[enters]), light[~in_housing]])
        passed, again, born = _through_slab(geometry, crossing, rng)
        electrons.append(born)
        # What crossed the cavity starts in the housing next, what scattered in the slab does not.
        light = Light.join([scattered, passed, again])
        in_housing = np.arange(len(light)) < len(scattered) + len(passed)
        keep = light.energy > LOWEST
        light, in_housing = light[keep], in_housing[keep]
    return Electrons.join(electrons)


def _through_slab(
    geometry: Geometry, light: Light, rng: Generator
) -> tuple[Light, Light, Electrons]:
    """Photons of the cavity that reach the housing, those scattered in the slab, electrons."""
    near, far = geometry.to_slab(light.position, light.direction)
    near = np.maximum(near, 0.0)
    crosses = np.isfinite(far)
    length = np.zeros(len(far))
    length[crosses] = far[crosses] - near[crosses]
    photo = SILICON.photoelectric(light.energy)
    total = photo + compton_coefficient(SILICON, light.energy)
    free = rng.exponential(size=len(total)) / total
    stops = free < length
    hit = light[stops].moved((near + free)[stops])
    absorbed = rng.random(len(hit)) * total[stops] < photo[stops]
    energy, cosine = draw_compton(hit.energy, rng)
    # The electron's direction follows from momentum.
    turned = turn(hit.direction, cosine, rng)
    momentum = hit.energy[:, None] * hit.direction - energy[:, None] * turned
    norm = np.maximum(np.linalg.norm(momentum, axis=1), 1e-30)[:, None]
    n = len(energy)
    direction = np.where(absorbed[:, None], isotropic(n, rng), momentum / norm)
    given = np.where(absorbed, hit.energy, hit.energy - energy)
    born = Electrons(np.maximum(given, 1e-6), hit.position, direction, hit.owner, np.ones(n, bool))
    again = replace(hit, energy=energy, direction=turned)[~absorbed]
    passing = light[~stops]
    # A hair beyond the surface, so that the photon is in the housing.
    distance = geometry.to_housing(passing.position, passing.direction)
    if geometry.opening > 0:
        stays = ~geometry.open(passing.position + distance[:, None] * passing.direction)
        passing, distance = passing[stays], distance[stays]
    passed = passing.moved(distance + 1e-2)
    return passed, again, born
