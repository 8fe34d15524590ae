r"""Electrons that particles set free in the housing around the detector, and their flights.

A particle that crosses the housing's surface at an angle with cosine c knocks on electrons all
along its path. One of energy T comes out only from a depth of less than its range R(T), so that

    N = (xi' / c) int R(T) / T^2 dT

only of them (about 0.3 a crossing) have to be drawn and followed; the rest cannot come out, and
leaving them out is exact. Their angles and depths follow from the kinematics of the collision,
their energies and directions at the surface from the walk through the housing (electrons.py). The
same holds for fast electrons that cross the surface.

What comes out flies straight to the slab or to another side of the housing, until it stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from ..core.arrays import Bools, Floats, Ints
from ..core.records import Records
from .electrons import STEP, Deposits, Electrons, through_housing, through_slab
from .geometry import Geometry
from .materials import ELECTRON_MASS, Material
from .primaries import Primaries
from .protons import CUT, beta_squared, delta_cosine, largest_transfer
from .tracks import HARD_LOSS, HIGHEST, TrackLibrary, library, turn

#: Flights from surface to surface that are followed; one electron in a thousand would go on.
FLIGHTS = 6
#: Steeper than this nothing crosses a surface; the grazing rest is one in 1e6.
_GRAZING = 1e-3


@dataclass(frozen=True)
class Setup:
    """Housing and slab of one exposure, with the electron tracks of their materials.

    Attributes
    ----------
    geometry : Geometry
    housing, slab : TrackLibrary
        Of their materials.
    step : float
        See `through_slab`, um.
    """

    geometry: Geometry
    housing: TrackLibrary
    slab: TrackLibrary
    step: float = STEP


@lru_cache(maxsize=4)
def _reach(material: Material) -> tuple[Floats, Floats]:
    """Log energies and int R(T) / T^2 dT from the cut up to each, um / keV."""
    grid = np.linspace(np.log(CUT), np.log(HIGHEST), 2000)
    energy = np.exp(grid)
    each = library(material).range_of(energy) / energy
    steps = 0.5 * (each[1:] + each[:-1]) * np.diff(grid)
    return grid, np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class Crossings:
    """Charged particles that cross the housing's surface.

    Attributes
    ----------
    position, direction : ndarray, shape (n, 3)
    xi : ndarray
        Xi per path, keV/um.
    largest, beta2 : ndarray
        Largest energy that is knocked on (keV), velocity squared over c squared.
    path : ndarray
        Length in the housing, um.
    leaving : ndarray of bool
        It comes out of the housing (else it goes in).
    owner : ndarray of int
    inside : ndarray of bool
    """

    position: Floats
    direction: Floats
    xi: Floats
    largest: Floats
    beta2: Floats
    path: Floats
    leaving: Bools
    owner: Ints
    inside: Bools


@dataclass(frozen=True)
class InHousing(Records):
    """Electrons in the housing: how deep below its surface (um), and that surface's normal."""

    electrons: Electrons
    depth: Floats
    normal: Floats


def set_free(
    setup: Setup, crossings: Crossings, cosine: Callable[[Floats, Ints], Floats], rng: Generator
) -> InHousing:
    """Electrons that particles knock on where they cross the surface, and which may come out.

    Parameters
    ----------
    setup : Setup
    crossings : Crossings
    cosine : callable
        (transfers, rows of the crossings) -> cosines between particle and electron.
    rng : Generator
    """
    c = crossings
    normal = setup.geometry.housing_normal(c.position)
    steep = np.maximum(np.abs((normal * c.direction).sum(1)), _GRAZING)
    grid, table = _reach(setup.housing.material)
    total = np.interp(np.log(np.clip(c.largest, CUT, HIGHEST)), grid, table)
    mean = c.xi / steep * total
    if setup.geometry.yields is not None:
        mean = mean * setup.geometry.electron_yield(normal)
    row = np.repeat(np.arange(len(c.xi)), rng.poisson(mean))
    transfer = np.exp(np.interp(rng.random(len(row)) * total[row], table, grid))
    depth = rng.random(len(row)) * setup.housing.range_of(transfer)
    along = depth / steep[row]
    happens = rng.random(len(row)) < 1 - c.beta2[row] * transfer / c.largest[row]
    happens &= along < c.path[row]
    row, transfer, depth, along = row[happens], transfer[happens], depth[happens], along[happens]
    way = np.where(c.leaving[row], -along, along)
    electrons = Electrons(
        transfer,
        c.position[row] + way[:, None] * c.direction[row],
        turn(c.direction[row], cosine(transfer, row), rng),
        c.owner[row],
        c.inside[row],
    )
    return InHousing(electrons, depth, normal[row])


def by_nuclei(setup: Setup, primaries: Primaries, rng: Generator) -> InHousing:
    """Electrons set free by protons and helium nuclei where they enter and leave the cavity."""
    g, p = setup.geometry, primaries
    way_out = g.to_housing(p.position, p.direction)[:, None] * p.direction
    exit_point = g.onto_housing(p.position + way_out)
    energy = np.tile(p.energy, 2)
    n = len(p)
    crossings = Crossings(
        np.concatenate([p.position, exit_point]),
        np.tile(p.direction, (2, 1)),
        setup.housing.material.xi_rate / beta_squared(energy) * np.tile(p.charge2, 2),
        largest_transfer(energy),
        beta_squared(energy),
        np.concatenate([p.path, g.housing_path(exit_point, p.direction)]),
        np.arange(2 * n) < n,
        np.tile(np.arange(n), 2),
        np.zeros(2 * n, bool),
    )
    return set_free(setup, crossings, lambda t, row: delta_cosine(energy[row], t), rng)


def by_electrons(setup: Setup, electrons: Electrons, leaving: bool, rng: Generator) -> InHousing:
    """Slow electrons set free by electrons that cross the housing's surface.

    Collisions above `HARD_LOSS` are part of the electrons' own walk.
    """
    e = electrons.energy
    crossings = Crossings(
        electrons.position,
        electrons.direction,
        setup.housing.material.xi_rate / beta_squared(e, ELECTRON_MASS),
        np.minimum(HARD_LOSS, 0.5 * e),
        np.zeros(len(e)),  # the factor 1 - beta^2 T / T_max is that of heavy particles
        setup.housing.range_of(e),
        np.full(len(e), leaving),
        electrons.owner,
        electrons.inside,
    )

    def cosine(transfer: Floats, row: Ints) -> Floats:
        m2 = 2 * ELECTRON_MASS
        square = transfer * (e[row] + m2) / (e[row] * (transfer + m2))
        return np.sqrt(np.minimum(square, 1.0))

    return set_free(setup, crossings, cosine, rng)


@dataclass(frozen=True)
class Arrivals:
    """Electrons that came through the cavity into the slab, and what they left there.

    Attributes
    ----------
    deposits : Deposits
    owner : ndarray of int
        One entry for each electron that entered the slab.
    energy, position : ndarray
        With what energy and where it entered, keV and um.
    left : ndarray
        What it and the electrons that it knocked on there left, keV.
    """

    deposits: Deposits
    owner: Ints
    energy: Floats
    position: Floats
    left: Floats


def fly(setup: Setup, flying: Electrons, in_housing: InHousing, rng: Generator) -> Arrivals:
    """Follow electrons through housing and cavity until they stop, in the slab or in the housing.

    Parameters
    ----------
    setup : Setup
    flying : Electrons
        In the cavity or on one of its surfaces, heading into it.
    in_housing : InHousing
    rng : Generator
    """
    g = setup.geometry
    deposits, entered = [Deposits.none()], [Electrons.none()]
    losses = [np.zeros(0)]
    for _ in range(FLIGHTS):
        if len(flying) + len(in_housing) == 0:
            break
        near, far = g.to_slab(flying.position, flying.direction)
        # What has just left the slab touches it still, to rounding.
        hits = np.isfinite(near) & (far > 1e-3)
        going, arriving = flying[~hits], flying[hits]
        at = arriving.position + np.maximum(near[hits], 0)[:, None] * arriving.direction
        arriving = replace(arriving, position=np.clip(at, 0, g.size))
        entered.append(arriving)
        # Numbers stand in for owners, so that each arrival's own deposits are known.
        numbered = replace(arriving, owner=np.arange(len(arriving)))
        there, left = through_slab(setup.slab, g.size, numbered, rng, setup.step)
        losses.append(np.bincount(there.owner, there.energy, len(arriving)).astype(np.float64))
        deposits.append(replace(there, owner=arriving.owner[there.owner]))
        left = replace(left, owner=arriving.owner[left.owner])
        distance = g.to_housing(going.position, going.direction)
        at = going.position + distance[:, None] * going.direction
        going = replace(going, position=g.onto_housing(at))
        if g.opening > 0:
            going = going[~g.open(going.position)]
        normal = g.housing_normal(going.position)
        knocked = by_electrons(setup, going, False, rng)
        held = InHousing.join([InHousing(going, np.zeros(len(going)), normal), knocked, in_housing])
        back = through_housing(setup.housing, held.depth, held.normal, held.electrons, rng)
        back = replace(back, position=g.onto_housing(back.position))
        in_housing = by_electrons(setup, back, True, rng)
        flying = Electrons.join([left, back])
    arrived = Electrons.join(entered)
    return Arrivals(
        Deposits.join(deposits),
        arrived.owner,
        arrived.energy,
        arrived.position,
        np.concatenate(losses),
    )
