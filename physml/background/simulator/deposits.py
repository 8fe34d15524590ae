"""Energy that primaries and their secondaries leave in the slab.

Two passes. The first follows everything that can move between surfaces: electrons from the
housing, light from the housing, electrons knocked out of the silicon. It settles which primaries
can have left anything but one connected track. The second sets down tracks, only where they are
wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints
from ..core.frames import ORIGINS
from ..core.records import Records
from .electrons import Deposits, Electrons, through_slab
from .geometry import Geometry
from .housing_electrons import Setup, by_nuclei, fly
from .photons import convert, shine
from .primaries import Primaries
from .protons import CUT, delta_cosine, draw_transfers, largest_transfer, ranges, soft_loss, xi_rate
from .tracks import HARD_LOSS, turn

PRIMARY, OUTSIDE, INSIDE, PHOTON = range(len(ORIGINS))
#: Whatever leaves more than this in one connected track is told from an X-ray by its energy, keV.
SMALL = 20.0
#: A primary with a shorter way through the silicon can leave less than that, um.
SHORT = 150.0


@dataclass(frozen=True)
class Hits(Records):
    """Primaries that cross the slab.

    Attributes
    ----------
    row : ndarray of int
        In `Primaries`.
    start, direction : ndarray, shape (n, 3)
        Where they enter (um), and unit vectors.
    path : ndarray
        Length in the silicon, um; a particle that stops there has less.
    """

    row: Ints
    start: Floats
    direction: Floats
    path: Floats


def hits(geometry: Geometry, primaries: Primaries) -> Hits:
    """Find the primaries that cross the slab."""
    near, far = geometry.to_slab(primaries.position, primaries.direction)
    row = np.flatnonzero(np.isfinite(near))
    direction = primaries.direction[row]
    start = primaries.position[row] + near[row, None] * direction
    return Hits(row, np.clip(start, 0, geometry.size), direction, far[row] - near[row])


@dataclass(frozen=True)
class Deltas(Records):
    """Electrons that primaries knock on in the slab.

    Attributes
    ----------
    electrons : Electrons
        `owner` is the row in `Primaries`.
    along : ndarray
        Distance from the primary's entry, um.
    hit : ndarray of int
        Row in `Hits`.
    """

    electrons: Electrons
    along: Floats
    hit: Ints


def knock_on(
    setup: Setup,
    primaries: Primaries,
    struck: Hits,
    start: Floats,
    path: Floats,
    low: float,
    high: float,
    rng: Generator,
) -> Deltas:
    """Draw the electrons that primaries knock on in stretches of their way through the slab.

    Parameters
    ----------
    setup : Setup
    primaries : Primaries
    struck : Hits
    start, path : ndarray, shape (n_hits,)
        Begin and length of each stretch, um from the entry.
    low, high : float
        Energies of the electrons, keV.
    rng : Generator
    """
    material = setup.slab.material
    energy = primaries.energy[struck.row]
    # Velocity hardly changes on the way, except for the slowest.
    half = ranges(material).energy(ranges(material).range(energy) - 0.5 * struck.path)
    middle = np.maximum(half, 0.3 * energy)
    largest = np.clip(largest_transfer(middle), low, high)
    mean = xi_rate(material, middle) * primaries.charge2[struck.row] * path
    number = rng.poisson(mean * (1 / low - 1 / largest))
    hit = np.repeat(np.arange(len(struck.row)), number)
    transfer, happens = draw_transfers(middle[hit], rng, low, high)
    hit, transfer = hit[happens], transfer[happens]
    row = struck.row[hit]
    along = start[hit] + rng.random(len(hit)) * path[hit]
    heading = struck.direction[hit]
    place = struck.start[hit] + along[:, None] * heading
    direction = turn(heading, delta_cosine(middle[hit], transfer), rng)
    electrons = Electrons(transfer, place, direction, row, np.ones(len(hit), bool))
    return Deltas(electrons, along, hit)


def _can_leave(setup: Setup, electrons: Electrons) -> Bools:
    """Electrons that have the range to reach a surface of the slab, as a mask."""
    gap = np.minimum(electrons.position, setup.geometry.size - electrons.position).min(1)
    found: Bools = setup.slab.range_of(electrons.energy) > gap
    return found


def _near_surface(setup: Setup, struck: Hits) -> Floats:
    """Length at each end of a hit's way from which an electron of `HARD_LOSS` can leave, um."""
    reach = float(setup.slab.range_of(HARD_LOSS))
    ends = struck.start + struck.path[:, None] * struck.direction
    size = setup.geometry.size
    # Along a line through a box the distance to the nearest face rises, then falls; it exceeds the
    # reach at the latest where that to the slowest of the faces at its ends does.
    slow = np.abs(struck.direction)
    with np.errstate(divide="ignore"):
        far = np.where(slow > 0, reach / slow, np.inf)
    near_face = np.minimum(struck.start, size - struck.start) < reach
    near_face |= np.minimum(ends, size - ends) < reach
    stretch = np.where(near_face, far, 0.0).max(1)
    return np.minimum(stretch, 0.5 * struck.path)


@dataclass(frozen=True)
class FirstPass:
    """Result of the first pass: what moved between surfaces.

    Attributes
    ----------
    deposits : Deposits
        Left by it in the slab.
    deltas : Deltas
        Knocked on in the slab and not followed yet: all above `HARD_LOSS`, the others near the
        surface only.
    struck : Hits
    near : ndarray
        How far from its ends is near, by hit, um.
    loose : ndarray of bool, shape (n_primaries,)
        Something small may be there that is not part of a long connected track.
    """

    deposits: Deposits
    deltas: Deltas
    struck: Hits
    near: Floats
    loose: Bools


def first_pass(setup: Setup, primaries: Primaries, rng: Generator) -> FirstPass:
    """Follow all that flies through the cavity."""
    g, p = setup.geometry, primaries
    struck = hits(g, p)
    near = _near_surface(setup, struck)
    begin = np.zeros(len(near))
    deltas = Deltas.join(
        [
            knock_on(setup, p, struck, begin, struck.path, HARD_LOSS, np.inf, rng),
            knock_on(setup, p, struck, begin, near, CUT, HARD_LOSS, rng),
            knock_on(setup, p, struck, struck.path - near, near, CUT, HARD_LOSS, rng),
        ]
    )
    leaving = _can_leave(setup, deltas.electrons)
    light = convert(g, setup.housing.material, shine(g, setup.housing.material, p, rng), rng)
    born = Electrons.join([deltas.electrons[leaving], light])
    # Numbers stand in for owners, so that what each left is known.
    numbered = replace(born, owner=np.arange(len(born)))
    stayed, left = through_slab(setup.slab, g.size, numbered, rng, setup.step)
    of_light = np.bincount(stayed.owner, stayed.energy, len(born))[len(born) - len(light) :]
    stayed = replace(stayed, owner=born.owner[stayed.owner])
    left = replace(left, owner=born.owner[left.owner])
    arrivals = fly(setup, left, by_nuclei(setup, p, rng), rng)
    loose = np.zeros(len(p), bool)
    loose[arrivals.owner[arrivals.left < SMALL]] = True
    loose[light.owner[of_light < SMALL]] = True
    loose[struck.row[struck.path < SHORT]] = True
    deposits = Deposits.join([stayed, arrivals.deposits])
    return FirstPass(deposits, deltas[~leaving], struck, near, loose)


@dataclass(frozen=True)
class Left(Records):
    """Energy left at points: keV and um, by owner; index in `ORIGINS`."""

    energy: Floats
    position: Floats
    owner: Ints
    origin: NDArray[np.int8]


def second_pass(
    setup: Setup, primaries: Primaries, first: FirstPass, wanted: Bools, rng: Generator
) -> Left:
    """Set down all that the wanted primaries left.

    Parameters
    ----------
    setup : Setup
    primaries : Primaries
    first : FirstPass
    wanted : ndarray of bool, shape (n_primaries,)
    rng : Generator
    """
    kept = first.deposits[wanted[first.deposits.owner]]
    deltas = first.deltas[wanted[first.deltas.electrons.owner]]
    far = deltas.electrons.energy > HARD_LOSS
    tracks, _ = through_slab(
        setup.slab, setup.geometry.size, deltas.electrons[far], rng, setup.step
    )
    secondary = Deposits.join([kept, tracks])
    origin = np.where(secondary.inside, INSIDE, OUTSIDE).astype(np.int8)
    own = _own_tracks(setup, primaries, first, deltas[~far], wanted, rng)
    return Left.join([Left(secondary.energy, secondary.position, secondary.owner, origin), own])


def _own_tracks(
    setup: Setup,
    primaries: Primaries,
    first: FirstPass,
    near: Deltas,
    wanted: Bools,
    rng: Generator,
) -> Left:
    """Losses along the primaries' paths.

    Collisions below the cut, and the delta electrons that stay on the spot: nobody could tell the
    two apart.
    """
    chosen = wanted[first.struck.row]
    old = np.flatnonzero(chosen)
    struck = first.struck[old]
    pieces = np.maximum(np.ceil(struck.path / setup.step), 1).astype(np.int64)
    hit = np.repeat(np.arange(len(old)), pieces)
    begin = np.cumsum(pieces) - pieces
    step = struck.path / pieces
    along = (np.arange(len(hit)) - begin[hit] + 0.5) * step[hit]
    table = ranges(setup.slab.material)
    left = table.range(primaries.energy[struck.row])[hit] - along
    energy = np.maximum(table.energy(left), 1e3)
    charge2 = primaries.charge2[struck.row][hit]
    loss = soft_loss(setup.slab.material, energy, charge2, step[hit], rng)
    loss[left <= 0] = 0.0
    edge = first.near[old]
    middle = knock_on(setup, primaries, struck, edge, struck.path - 2 * edge, CUT, HARD_LOSS, rng)
    new_row = np.cumsum(chosen) - 1
    spot = Deltas.join([middle, replace(near, hit=new_row[near.hit])])
    piece = np.minimum((spot.along / step[spot.hit]).astype(np.int64), pieces[spot.hit] - 1)
    loss += np.bincount(begin[spot.hit] + piece, spot.electrons.energy, len(loss))
    position = struck.start[hit] + along[:, None] * struck.direction[hit]
    left_here = Left(loss, position, struck.row[hit], np.full(len(loss), PRIMARY, np.int8))
    return left_here[loss > 0]
