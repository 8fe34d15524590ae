"""What primaries and their secondaries leave in the slab.

Two passes. The first follows everything that can move between surfaces: electrons from the wall,
light from the wall, electrons knocked out of the silicon. It settles which primaries can have left
anything but one connected track. The second sets down tracks, only where they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..core.frames import ORIGINS
from .electrons import Deposits, Electrons, through_slab
from .geometry import Geometry
from .photons import convert, shine
from .primaries import Primaries
from .protons import CUT, delta_cosine, draw_transfers, largest_transfer, ranges, soft_loss, xi_rate
from .tracks import HARD_LOSS, turn
from .wall_electrons import Shell, by_nuclei, fly

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIMARY, OUTSIDE, INSIDE, PHOTON = range(len(ORIGINS))

#: Whatever leaves more than this in one connected track is told from an X-ray by its energy, keV.
SMALL = 20.0
#: A primary with a shorter way through the silicon can leave less than that, um.
SHORT = 150.0


@dataclass(frozen=True)
class Hits:
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
class Deltas:
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

    def __getitem__(self, rows) -> Deltas:
        return Deltas(self.electrons[rows], self.along[rows], self.hit[rows])


def knock_on(
    shell: Shell,
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
    start, path : ndarray, shape (n_hits,)
        Begin and length of each stretch, um from the entry.
    low, high : float
        Energies of the electrons, keV.
    rng : Generator
    """
    material = shell.slab.material
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


def _can_leave(shell: Shell, electrons: Electrons) -> NDArray[np.bool_]:
    """Which electrons have the range to reach a surface of the slab."""
    gap = np.minimum(electrons.position, shell.geometry.size - electrons.position).min(1)
    found: NDArray[np.bool_] = shell.slab.range_of(electrons.energy) > gap
    return found


def _near_surface(shell: Shell, struck: Hits) -> Floats:
    """Length at each end of a hit's way from which an electron of `HARD_LOSS` can leave, um."""
    reach = float(shell.slab.range_of(HARD_LOSS))
    ends = struck.start + struck.path[:, None] * struck.direction
    size = shell.geometry.size
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
    """What moved between surfaces.

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
    loose: NDArray[np.bool_]


def first_pass(shell: Shell, primaries: Primaries, rng: Generator) -> FirstPass:
    """Follow all that flies through the cavity."""
    g, p = shell.geometry, primaries
    struck = hits(g, p)
    near = _near_surface(shell, struck)
    begin = np.zeros(len(near))
    deltas = _join(
        knock_on(shell, p, struck, begin, struck.path, HARD_LOSS, np.inf, rng),
        knock_on(shell, p, struck, begin, near, CUT, HARD_LOSS, rng),
        knock_on(shell, p, struck, struck.path - near, near, CUT, HARD_LOSS, rng),
    )
    leaving = _can_leave(shell, deltas.electrons)
    light = convert(g, shell.wall.material, shine(g, shell.wall.material, p, rng), rng)
    born = Electrons.join([deltas.electrons[leaving], light])
    # Numbers stand in for owners, so that what each left is known.
    numbered = replace(born, owner=np.arange(len(born)))
    stayed, left = through_slab(shell.slab, g.size, numbered, rng, shell.step)
    of_light = np.bincount(stayed.owner, stayed.energy, len(born))[len(born) - len(light) :]
    stayed = replace(stayed, owner=born.owner[stayed.owner])
    left = replace(left, owner=born.owner[left.owner])
    arrivals = fly(shell, left, by_nuclei(shell, p, rng), rng)
    loose = np.zeros(len(p), bool)
    loose[arrivals.owner[arrivals.left < SMALL]] = True
    loose[light.owner[of_light < SMALL]] = True
    loose[struck.row[struck.path < SHORT]] = True
    deposits = Deposits.join([stayed, arrivals.deposits])
    return FirstPass(deposits, deltas[~leaving], struck, near, loose)


def _join(*parts: Deltas) -> Deltas:
    return Deltas(
        Electrons.join([d.electrons for d in parts]),
        np.concatenate([d.along for d in parts]),
        np.concatenate([d.hit for d in parts]),
    )


@dataclass(frozen=True)
class Left:
    """Energy left at points: keV, um, owner, index in `ORIGINS`."""

    energy: Floats
    position: Floats
    owner: Ints
    origin: NDArray[np.int8]


def second_pass(
    shell: Shell,
    primaries: Primaries,
    first: FirstPass,
    wanted: NDArray[np.bool_],
    rng: Generator,
) -> Left:
    """Set down all that the wanted primaries left.

    Parameters
    ----------
    wanted : ndarray of bool, shape (n_primaries,)
    """
    kept = first.deposits[wanted[first.deposits.owner]]
    deltas = first.deltas[wanted[first.deltas.electrons.owner]]
    far = deltas.electrons.energy > HARD_LOSS
    tracks, _ = through_slab(
        shell.slab, shell.geometry.size, deltas.electrons[far], rng, shell.step
    )
    secondary = Deposits.join([kept, tracks])
    energy, position, owner = _own_tracks(shell, primaries, first, deltas[~far], wanted, rng)
    return Left(
        np.concatenate([secondary.energy, energy]),
        np.concatenate([secondary.position, position]),
        np.concatenate([secondary.owner, owner]),
        np.concatenate(
            [np.where(secondary.inside, INSIDE, OUTSIDE), np.full(len(energy), PRIMARY)]
        ).astype(np.int8),
    )


def _own_tracks(
    shell: Shell,
    primaries: Primaries,
    first: FirstPass,
    near: Deltas,
    wanted: NDArray[np.bool_],
    rng: Generator,
) -> tuple[Floats, Floats, Ints]:
    """Losses along the primaries' paths: keV, um, row of the primary.

    Collisions below the cut, and the delta electrons that stay on the spot: nobody could tell the
    two apart.
    """
    chosen = wanted[first.struck.row]
    old = np.flatnonzero(chosen)
    s = first.struck
    struck = Hits(s.row[old], s.start[old], s.direction[old], s.path[old])
    pieces = np.maximum(np.ceil(struck.path / shell.step), 1).astype(np.int64)
    hit = np.repeat(np.arange(len(old)), pieces)
    begin = np.cumsum(pieces) - pieces
    step = struck.path / pieces
    along = (np.arange(len(hit)) - begin[hit] + 0.5) * step[hit]
    table = ranges(shell.slab.material)
    left = table.range(primaries.energy[struck.row])[hit] - along
    energy = np.maximum(table.energy(left), 1e3)
    charge2 = primaries.charge2[struck.row][hit]
    loss = soft_loss(shell.slab.material, energy, charge2, step[hit], rng)
    loss[left <= 0] = 0.0
    edge = first.near[old]
    middle = knock_on(shell, primaries, struck, edge, struck.path - 2 * edge, CUT, HARD_LOSS, rng)
    new_row = np.cumsum(chosen) - 1
    spot = _join(middle, Deltas(near.electrons, near.along, new_row[near.hit]))
    piece = np.minimum((spot.along / step[spot.hit]).astype(np.int64), pieces[spot.hit] - 1)
    loss += np.bincount(begin[spot.hit] + piece, spot.electrons.energy, len(loss))
    position = struck.start[hit] + along[:, None] * struck.direction[hit]
    some = loss > 0
    return loss[some], position[some], struck.row[hit][some]
