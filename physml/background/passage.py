"""What primaries and their secondaries leave in the slab.

Two passes. The first follows everything that can move between surfaces: electrons from the wall,
light from the wall, electrons knocked out of the silicon. It settles which primaries can have left
anything but one connected track. The second sets down tracks, only where they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .electrons import Deposits, Electrons, through_slab
from .frames import ORIGINS
from .geometry import Geometry
from .photons import convert, shine
from .primaries import Primaries
from .protons import (
    CUT,
    delta_cosine,
    draw_transfers,
    largest_transfer,
    ranges,
    soft_loss,
    xi_rate,
)
from .shell import Shell, by_electrons, by_nuclei, fly
from .tracks import HARD_LOSS, turn

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIMARY, OUTSIDE, INSIDE, PHOTON = range(len(ORIGINS))

#: A primary with a shorter way through the silicon can leave less than 15 keV, um.
SHORT = 150.0


@dataclass(frozen=True)
class Hits:
    """Primaries that cross the slab.

    Attributes
    ----------
    row : ndarray of int
        In `Primaries`.
    start : ndarray, shape (n, 3)
        Where they enter, um.
    path : ndarray
        Length in the silicon, um; a particle that stops there has less.
    """

    row: Ints
    start: Floats
    path: Floats


def hits(geometry: Geometry, primaries: Primaries) -> Hits:
    """Find the primaries that cross the slab."""
    near, far = geometry.to_slab(primaries.position, primaries.direction)
    row = np.flatnonzero(np.isfinite(near))
    start = primaries.position[row] + near[row, None] * primaries.direction[row]
    return Hits(row, np.clip(start, 0, geometry.size), far[row] - near[row])


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
    follow, can_leave : ndarray of bool
        Too energetic to stay where they are; able to reach the surface.
    """

    electrons: Electrons
    along: Floats
    hit: Ints
    follow: NDArray[np.bool_]
    can_leave: NDArray[np.bool_]


def knock_on(shell: Shell, primaries: Primaries, struck: Hits, rng: Generator) -> Deltas:
    """Draw the electrons above `CUT` that primaries knock on in the slab."""
    material = shell.slab.material
    energy = primaries.energy[struck.row]
    # Velocity hardly changes on the way, except for the slowest.
    half = ranges(material).energy(ranges(material).range(energy) - 0.5 * struck.path)
    middle = np.maximum(half, 0.3 * energy)
    largest = np.maximum(largest_transfer(middle), CUT)
    mean = xi_rate(material, middle) * primaries.charge2[struck.row] * struck.path
    number = rng.poisson(mean * (1 / CUT - 1 / largest))
    hit = np.repeat(np.arange(len(struck.row)), number)
    transfer, happens = draw_transfers(middle[hit], rng)
    hit, transfer = hit[happens], transfer[happens]
    row = struck.row[hit]
    along = rng.random(len(hit)) * struck.path[hit]
    heading = primaries.direction[row]
    place = struck.start[hit] + along[:, None] * heading
    reach = shell.slab.range_of(transfer)
    gap = np.minimum(place, shell.geometry.size - place).min(1)
    can_leave = reach > gap
    follow = can_leave | (transfer > HARD_LOSS)
    direction = heading.copy()
    cosine = delta_cosine(middle[hit[follow]], transfer[follow])
    direction[follow] = turn(heading[follow], cosine, rng)
    electrons = Electrons(transfer, place, direction, row, np.ones(len(hit), bool))
    return Deltas(electrons, along, hit, follow, can_leave)


@dataclass(frozen=True)
class FirstPass:
    """What moved between surfaces.

    Attributes
    ----------
    deposits : Deposits
        Left by it in the slab.
    deltas : Deltas
    struck : Hits
    loose : ndarray of bool, shape (n_primaries,)
        Something beside one connected track may be there.
    """

    deposits: Deposits
    deltas: Deltas
    struck: Hits
    loose: NDArray[np.bool_]


def first_pass(shell: Shell, primaries: Primaries, rng: Generator) -> FirstPass:
    """Follow all that flies through the cavity."""
    g, p = shell.geometry, primaries
    number = np.arange(len(p))
    distance = g.to_wall(p.position, p.direction)
    exit_point = g.onto_wall(p.position + distance[:, None] * p.direction)
    entering = by_nuclei(
        shell, p.energy, p.charge2, p.position, p.direction, np.ones(len(p), bool), number, rng
    )
    leaving = by_nuclei(
        shell, p.energy, p.charge2, exit_point, p.direction, np.zeros(len(p), bool), number, rng
    )
    from_wall = Electrons.join([entering, leaving])
    slow = by_electrons(shell, from_wall, np.ones(len(from_wall), bool), rng)
    struck = hits(g, p)
    deltas = knock_on(shell, p, struck, rng)
    from_light = convert(g, shell.wall.material, shine(g, shell.wall.material, p, rng), rng)
    born = Electrons.join([deltas.electrons[deltas.can_leave], from_light])
    stayed, left = through_slab(shell.slab, g.size, born, rng, shell.step)
    arrivals = fly(shell, Electrons.join([from_wall, slow, left]), rng)
    loose = np.zeros(len(p), bool)
    loose[arrivals.owner] = True
    loose[from_light.owner] = True
    loose[struck.row[struck.path < SHORT]] = True
    return FirstPass(Deposits.join([stayed, arrivals.deposits]), deltas, struck, loose)


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
    deltas = first.deltas
    contained = deltas.follow & ~deltas.can_leave & wanted[deltas.electrons.owner]
    tracks, _ = through_slab(
        shell.slab, shell.geometry.size, deltas.electrons[contained], rng, shell.step
    )
    secondary = Deposits.join([kept, tracks])
    energy, position, owner = _own_tracks(shell, primaries, first, wanted, rng)
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
    wanted: NDArray[np.bool_],
    rng: Generator,
) -> tuple[Floats, Floats, Ints]:
    """Losses along the primaries' paths: keV, um, row of the primary.

    Collisions below the cut, and the delta electrons that stay on the spot: nobody could tell the
    two apart.
    """
    struck, deltas = first.struck, first.deltas
    chosen = wanted[struck.row]
    row, path = struck.row[chosen], struck.path[chosen]
    pieces = np.maximum(np.ceil(path / shell.step), 1).astype(np.int64)
    hit = np.repeat(np.arange(len(row)), pieces)
    begin = np.cumsum(pieces) - pieces
    number = np.arange(len(hit)) - begin[hit]
    step = (path / pieces)[hit]
    along = (number + 0.5) * step
    table = ranges(shell.slab.material)
    energy = table.energy(table.range(primaries.energy[row])[hit] - along)
    moving = energy > 0
    loss = soft_loss(
        shell.slab.material, np.maximum(energy, 1e3), primaries.charge2[row][hit], step, rng
    )
    loss[~moving] = 0.0
    local = np.flatnonzero(~deltas.follow & chosen[deltas.hit])
    new_row = np.cumsum(chosen) - 1
    of = new_row[deltas.hit[local]]
    piece = np.minimum((deltas.along[local] / (path / pieces)[of]).astype(np.int64), pieces[of] - 1)
    loss += np.bincount(begin[of] + piece, deltas.electrons.energy[local], len(loss))
    position = struck.start[chosen][hit] + along[:, None] * primaries.direction[row][hit]
    some = loss > 0
    return loss[some], position[some], row[hit][some]
