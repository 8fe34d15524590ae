"""Electrons in the silicon slab and in the housing around it.

All electrons of an exposure move at once, a block of library segments at a time (tracks.py).
An electron ends where it leaves the material, where so little of its range is left that its place
is known, or at a hard collision: the electrons that come out of that join the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints, Singles, spans
from ..core.records import Records
from .materials import ELECTRON_MASS
from .tracks import (
    COARSE,
    HARD_LOSS,
    HARD_PHOTON,
    TrackLibrary,
    draw_moller,
    draw_photon,
    moller_rate,
    normals,
    photon_rate,
    turn,
)

#: Segments that are moved at once.
_BLOCK = 12
#: Of these, as many as are set down as one point where they are short; divides the above.
_GROUP = 6
#: An electron with less range left than this, and too far from the surface, stays where it is, um.
_POINT = 2.0
#: Electrons that start closer to a face than this share of their range do so on fine segments.
_CLOSE = 0.3
#: Longest stretch whose charge is set down at one point, um; small against a pixel.
STEP = 25.0
#: Slower electrons are not followed, keV: none are made either (protons.CUT), and the entrance
#: layers of a detector would stop them.
SLOWEST = 1.0


@dataclass(frozen=True)
class Electrons(Records):
    """Electrons at one place each.

    Attributes
    ----------
    energy : ndarray, shape (n,)
        Kinetic, keV.
    position, direction : ndarray, shape (n, 3)
        um and unit vectors, axes x, y, z.
    owner : ndarray of int, shape (n,)
        Row of the primary.
    inside : ndarray of bool, shape (n,)
        Born in the silicon.
    """

    energy: Floats
    position: Floats
    direction: Floats
    owner: Ints
    inside: Bools

    @classmethod
    def none(cls) -> Electrons:
        """No electrons."""
        z = np.zeros(0)
        return cls(z, np.zeros((0, 3)), np.zeros((0, 3)), z.astype(np.int64), z.astype(bool))


@dataclass(frozen=True)
class Deposits(Records):
    """Energy left at points: keV and um, by owner; whether an electron born in the silicon did."""

    energy: Floats
    position: Floats
    owner: Ints
    inside: Bools

    @classmethod
    def none(cls) -> Deposits:
        """No deposits."""
        e = Electrons.none()
        return cls(e.energy, e.position, e.owner, e.inside)


@dataclass(frozen=True)
class _Walkers(Records):
    """Electrons on their library tracks; fields have a row for each.

    `at` is the segment to come and `behind` the share of it that lies behind the start; at node
    `last` the electron collides or is at rest; `matrix` turns the track into place.
    """

    energy: Floats
    position: Floats
    owner: Ints
    inside: Bools
    track: Ints
    at: Ints
    behind: Floats
    last: Ints
    collides: Bools
    matrix: Singles

    def advanced(self, rows: Bools, energy: Floats, position: Floats, by: Ints) -> _Walkers:
        """Those that go on, some segments further."""
        w = self[rows]
        return replace(
            w, energy=energy, position=position, at=w.at + by[rows], behind=np.zeros(len(energy))
        )

    def coarser(self) -> _Walkers:
        """Go over to the segments of the coarse library."""
        return replace(self, at=self.at // COARSE, last=-(-self.last // COARSE))

    def block(self, lib: TrackLibrary, size: int) -> tuple[Singles, Ints]:
        """Displacements (n, size, 3) in the frames of the tracks, and their segments."""
        index = np.minimum(self.at[:, None] + np.arange(size), lib.segment.shape[1] - 1)
        rows = self.track[:, None] * lib.segment.shape[1] + index
        moved = lib.segment.reshape(-1, 3).take(rows, axis=0)
        moved[:, 0] *= (1 - self.behind)[:, None]
        return moved, index


def _start(lib: TrackLibrary, electrons: Electrons, rng: Generator) -> _Walkers:
    """Put electrons on tracks drawn at random."""
    e = electrons
    track = rng.integers(0, len(lib.segment), len(e))
    at, behind = lib.place(e.energy)
    # Hazard falls along the track: the first node where it is below the drawn value.
    here = np.interp(np.log(e.energy), lib.log_energy_rising, lib.hazard_rising)
    there = here - rng.exponential(size=len(e))
    collides = there > 0
    end = len(lib.energy) - 1
    node = end + 1 - np.searchsorted(lib.hazard_rising, np.maximum(there, 0.0), side="right")
    last = np.where(collides, np.clip(node, at + 1, end), end)
    matrix = _alignment(lib.segment[track, at], e.direction, rng)
    return _Walkers(
        e.energy, e.position, e.owner, e.inside, track, at, behind, last, collides, matrix
    )


def _block_size(lib: TrackLibrary, walkers: _Walkers) -> tuple[int, Ints]:
    """Length of a block, and the segments of it that each electron may take.

    Short blocks waste little of the work, long ones little of the overhead. On the fine library
    a block ends at a node that the coarse one has as well.
    """
    number = len(walkers)
    if lib.coarse is not None:
        return _BLOCK, (walkers.at + _BLOCK) // COARSE * COARSE - walkers.at
    size = _BLOCK if number > 1000 else 3 * _BLOCK if number > 100 else 6 * _BLOCK
    return size, np.full(number, size)


def _first(stops: Bools, goes: Ints) -> tuple[Ints, Bools]:
    """Last segment that each electron takes, and whether it ends there."""
    k = stops.argmax(1)
    ended = stops[np.arange(len(k)), k] & (k < goes)
    return np.where(ended, k, goes - 1), ended


def _alignment(segment: Singles, direction: Floats, rng: Generator) -> Singles:
    """Rotations (n, 3, 3) that bring segments into directions, with a random roll."""
    u = segment / np.maximum(_norm(segment), 1e-30)[:, None]
    v, w = normals(u)
    a, b = normals(direction)
    phi = rng.random(len(u)) * (2 * np.pi)
    c, s = np.cos(phi)[:, None], np.sin(phi)[:, None]
    a, b = c * a + s * b, c * b - s * a
    matrix = direction[:, :, None] * u[:, None, :]
    matrix += a[:, :, None] * v[:, None, :]
    matrix += b[:, :, None] * w[:, None, :]
    return matrix.astype(np.float32)


def _norm(vectors: NDArray) -> NDArray:
    """Lengths of vectors along the last axis."""
    length: NDArray = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return length


def _rotate(matrix: Singles, moved: Singles) -> Singles:
    """Apply rotations (n, 3, 3) to displacements (n, k, 3)."""
    out = np.empty_like(moved)
    x, y, z = moved[..., 0], moved[..., 1], moved[..., 2]
    for i in range(3):
        m = matrix[:, i, :, None]
        out[..., i] = m[:, 0] * x + m[:, 1] * y + m[:, 2] * z
    return out


def collide(lib: TrackLibrary, electrons: Electrons, rng: Generator, inside: bool) -> Electrons:
    """Let electrons make a hard collision, or radiate a hard photon (which is lost).

    Parameters
    ----------
    lib : TrackLibrary
        Of the material.
    electrons : Electrons
    rng : Generator
    inside : bool
        What is knocked on counts as born in the silicon.
    """
    e = electrons.energy
    knock = moller_rate(lib.material, e, HARD_LOSS)
    shine = photon_rate(lib.material, e, HARD_PHOTON)
    radiates = rng.random(len(e)) * (knock + shine) < shine
    # Hard photons: from 1/k between the cut and E, then the shape of the spectrum.
    bright = electrons[radiates]
    k = draw_photon(bright.energy, np.minimum(HARD_PHOTON, 0.999 * bright.energy), rng)
    k = np.minimum(k, 0.9999 * bright.energy)
    slowed = replace(bright, energy=bright.energy - k)
    # A grid node can lie just below twice the cut, where no hard collision is possible.
    can = ~radiates & (e > 2 * HARD_LOSS)
    hit = electrons[can]
    w = draw_moller(hit.energy, HARD_LOSS, rng)
    rest = hit.energy - w
    phi = rng.random(len(w)) * (2 * np.pi)
    m2 = 2 * ELECTRON_MASS
    slow = np.sqrt(w * (hit.energy + m2) / (hit.energy * (w + m2)))
    fast = np.sqrt(rest * (hit.energy + m2) / (hit.energy * (rest + m2)))
    knocked = replace(
        hit, energy=w, direction=turn(hit.direction, slow, rng, phi), inside=hit.inside | inside
    )
    scattered = replace(hit, energy=rest, direction=turn(hit.direction, fast, rng, phi + np.pi))
    return Electrons.join([slowed, electrons[~radiates & ~can], knocked, scattered])


def through_slab(
    lib: TrackLibrary, size: Floats, electrons: Electrons, rng: Generator, step: float = STEP
) -> tuple[Deposits, Electrons]:
    """Follow electrons in a box [0, size] until they leave or stop.

    Parameters
    ----------
    lib : TrackLibrary
    size : ndarray, shape (3,)
        um.
    electrons : Electrons
        Within the box, or on its surface and heading inwards.
    rng : Generator
    step : float
        Longest stretch whose charge is set down at one point, um.

    Returns
    -------
    deposits : Deposits
    left : Electrons
        On the surface, heading outwards.
    """
    deposits, left = [Deposits.none()], [Electrons.none()]
    coarse = lib.coarse or lib
    walkers = _start(coarse, Electrons.none(), rng)
    while len(electrons) or len(walkers):
        gap = np.minimum(electrons.position, size - electrons.position).min(1, initial=np.inf)
        close = gap < _CLOSE * lib.range_of(electrons.energy)
        fresh = _start(lib, electrons[close], rng)
        fresh, hits_a = _slab_block(lib, size, fresh, step, deposits, left)
        walkers = _Walkers.join([walkers, _start(coarse, electrons[~close], rng)])
        walkers, hits_b = _slab_block(coarse, size, walkers, step, deposits, left)
        walkers = _Walkers.join([walkers, fresh.coarser()])
        electrons = collide(lib, Electrons.join([hits_a, hits_b]), rng, inside=True)
    return Deposits.join(deposits), Electrons.join(left)


def _slab_block(
    lib: TrackLibrary,
    size: Floats,
    walkers: _Walkers,
    step: float,
    deposits: list[Deposits],
    left: list[Electrons],
) -> tuple[_Walkers, Electrons]:
    """Move all by a block of segments: those that go on, those that collide."""
    if len(walkers) == 0:
        return walkers, Electrons.none()
    length, goes = _block_size(lib, walkers)
    moved, index = walkers.block(lib, length)
    path = _rotate(walkers.matrix, moved)
    node = np.cumsum(path, 1, dtype=np.float64)
    node += walkers.position[:, None]
    before = np.concatenate([walkers.position[:, None], node[:, :-1]], 1)
    after_energy = lib.energy[index + 1]
    loss = np.concatenate([walkers.energy[:, None], after_energy[:, :-1]], 1) - after_energy
    gap = np.minimum(node[..., 2], size[2] - node[..., 2])
    inside = gap >= 0
    for axis in (0, 1):
        inside &= np.abs(node[..., axis] - 0.5 * size[axis]) <= 0.5 * size[axis]
    rest = lib.range[index + 1] < np.minimum(gap, _POINT)
    rest |= index + 2 >= len(lib.energy)
    stops = rest | ~inside
    stops |= index + 1 >= walkers.last[:, None]
    k, ended = _first(stops, goes)
    here = np.arange(len(walkers))
    leaves = ended & ~inside[here, k]
    # Share of the last segment that lies inside.
    share = np.ones(len(walkers))
    out = np.flatnonzero(leaves)
    share[out] = _share_inside(before[out, k[out]], path[out, k[out]], size)
    loss[here, k] *= share
    path[here, k] *= share[:, None].astype(np.float32)
    at: Floats = before[here, k].astype(np.float64) + path[here, k]
    before_energy = np.where(k > 0, after_energy[here, np.maximum(k - 1, 0)], walkers.energy)
    energy = before_energy - loss[here, k]
    settles = ended & ~leaves & (rest[here, k] | ~walkers.collides)
    loss[np.arange(length) > k[:, None]] = 0.0
    deposits.append(_set_down(loss, before, path, walkers, step))
    deposits.append(
        Deposits(energy[settles], at[settles], walkers.owner[settles], walkers.inside[settles])
    )
    last = path[here, k].astype(np.float64)
    heading = last / np.maximum(_norm(last), 1e-30)[:, None]
    state = Electrons(energy, at, heading, walkers.owner, walkers.inside)
    left.append(state[leaves & (energy > SLOWEST)])
    on = ~ended
    return (
        walkers.advanced(on, after_energy[here, k][on], node[here, k][on], goes),
        state[ended & ~leaves & ~settles],
    )


def _share_inside(start: Floats, path: Singles, size: Floats) -> Floats:
    """Share of straight paths from within a box up to where they leave it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        face = np.where(path > 0, size, 0.0)
        share = np.where(path != 0, (face - start) / path, np.inf)
    return np.clip(share.min(1), 0, 1)


def _set_down(
    loss: Floats, before: Floats, path: Singles, walkers: _Walkers, step: float
) -> Deposits:
    """Deposits along the segments of a block, no further apart than `step`.

    Where several segments together are shorter than that, they are one point.
    """
    n, length = loss.shape
    shape = (n, length // _GROUP, _GROUP)
    extent = _norm(path)
    together = loss.reshape(shape).sum(2)
    short = extent.reshape(shape).sum(2) < step
    row, group = np.nonzero(short & (together > 0))
    middle = (before[row[:, None], group[:, None] * _GROUP + np.arange(_GROUP)]).astype(np.float64)
    middle += 0.5 * path.reshape(*shape, 3)[row, group]
    part = loss.reshape(shape)[row, group] / together[row, group][:, None]
    near = Deposits(
        together[row, group],
        np.einsum("ng,ngi->ni", part, middle),
        walkers.owner[row],
        walkers.inside[row],
    )
    row, k = np.nonzero(~np.repeat(short, _GROUP, axis=1) & (loss > 0))
    pieces = np.maximum(np.ceil(extent[row, k] / step), 1).astype(np.int64)
    source, number = spans(np.zeros_like(pieces), pieces)
    along = (number + 0.5) / pieces[source]
    far = Deposits(
        (loss[row, k] / pieces)[source],
        before[row, k][source] + along[:, None] * path[row, k][source],
        walkers.owner[row][source],
        walkers.inside[row][source],
    )
    return Deposits.join([near, far])


def through_housing(
    lib: TrackLibrary, depth: Floats, normal: Floats, electrons: Electrons, rng: Generator
) -> Electrons:
    """Follow electrons in a thick housing until they come out of its surface or cannot any more.

    Parameters
    ----------
    lib : TrackLibrary
        Of its material.
    depth : ndarray, shape (n,)
        Below the surface, um.
    normal : ndarray, shape (n, 3)
        Of the surface, pointing out of the housing.
    electrons : Electrons
    rng : Generator

    Returns
    -------
    Electrons
        On the surface, heading out of the housing.
    """
    out = [Electrons.none()]
    # Nobody sees what is left in the housing: long segments do.
    lib = lib.coarse or lib
    sinking = _Sinking(_start(lib, electrons, rng), depth, normal)
    while len(sinking.walkers):
        sinking, (collided, depth, normal) = _housing_block(lib, sinking, out)
        if len(collided) == 0:
            continue
        # Owners stand in for rows, so that depth and normal follow each electron.
        new = collide(lib, replace(collided, owner=np.arange(len(collided))), rng, inside=False)
        new = new[lib.range_of(new.energy) > depth[new.owner]]
        depth, normal = depth[new.owner], normal[new.owner]
        new = replace(new, owner=collided.owner[new.owner])
        sinking = _Sinking.join([sinking, _Sinking(_start(lib, new, rng), depth, normal)])
    return Electrons.join(out)


@dataclass(frozen=True)
class _Sinking(Records):
    """Electrons on their tracks in the housing, their depths (um) and the surface's normals."""

    walkers: _Walkers
    depth: Floats
    normal: Floats


def _housing_block(
    lib: TrackLibrary, sinking: _Sinking, out: list[Electrons]
) -> tuple[_Sinking, tuple[Electrons, Floats, Floats]]:
    """Move all by a block: those that go on, and those that collide with depth and normal."""
    walkers, depth, normal = sinking.walkers, sinking.depth, sinking.normal
    length, goes = _block_size(lib, walkers)
    moved, index = walkers.block(lib, length)
    # Only the component along the normal decides: one product a segment instead of three.
    inward = -np.einsum("ni,nij->nj", normal, walkers.matrix).astype(np.float32)
    sink = np.matmul(moved, inward[:, :, None])[..., 0]
    node = np.cumsum(sink, 1, dtype=np.float64)
    node += depth[:, None]
    leaves = node < 0
    hopeless = lib.range[index + 1] < node
    hopeless |= index + 2 >= len(lib.energy)
    stops = leaves | hopeless
    stops |= index + 1 >= walkers.last[:, None]
    k, ended = _first(stops, goes)
    here = np.arange(len(walkers))
    emerges = ended & leaves[here, k]
    hits = ended & ~emerges & ~hopeless[here, k] & walkers.collides
    # Most end in the housing: places are worked out for the others only.
    who = np.flatnonzero(emerges | hits | ~ended)
    last = k[who]
    share = np.ones(len(who))
    came_out = emerges[who]
    step = sink[who, last]
    start = node[who, last] - step
    share[came_out] = np.clip(start[came_out] / np.maximum(-step[came_out], 1e-30), 0, 1)
    before = np.where(
        last > 0, lib.energy[index[who, np.maximum(last - 1, 0)] + 1], walkers.energy[who]
    )
    energy = before - share * (before - lib.energy[index[who, last] + 1])
    weight = (np.arange(length) <= last[:, None]).astype(np.float32)
    weight[np.arange(len(who)), last] = share
    path = np.matmul(weight[:, None, :], moved[who])[:, 0]
    w = walkers[who]
    position = w.position + np.matmul(w.matrix, path[:, :, None])[..., 0]
    segment = np.matmul(w.matrix, moved[who, last][:, :, None])[..., 0].astype(np.float64)
    heading = segment / np.maximum(_norm(segment), 1e-30)[:, None]
    state = Electrons(energy, position, heading, w.owner, w.inside)
    out.append(state[came_out & (energy > SLOWEST)])
    on, hit = ~ended[who], hits[who]
    sunk, normal = node[who, last], normal[who]
    going = w.advanced(on, energy[on], position[on], goes[who])
    return (_Sinking(going, sunk[on], normal[on]), (state[hit], sunk[hit], normal[hit]))
