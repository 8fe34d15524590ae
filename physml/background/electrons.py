"""Electrons in the silicon slab and in the wall around it.

All electrons of an exposure move at once, a block of library segments at a time (tracks.py).
An electron ends where it leaves the material, where so little of its range is left that its place
is known, or at a hard collision: then the electrons that come out of that are the next
generation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .materials import ELECTRON_MASS
from .tracks import (
    HARD_LOSS,
    HARD_PHOTON,
    TrackLibrary,
    draw_moller,
    moller_rate,
    normals,
    photon_rate,
    turn,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Segments that are moved at once.
_BLOCK = 12
#: An electron with less range left than this, and too far from the surface, stays where it is, um.
_POINT = 2.0
#: Longest stretch whose charge is set down at one point, um; small against a pixel.
STEP = 25.0
#: Slower electrons are not followed, keV.
SLOWEST = 0.3
#: Largest number of generations; a bound against endless loops that no shower reaches.
_GENERATIONS = 60


@dataclass(frozen=True)
class Electrons:
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
    inside: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of electrons."""
        return len(self.energy)

    def __getitem__(self, rows) -> Electrons:
        return Electrons(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def none(cls) -> Electrons:
        """No electrons."""
        z = np.zeros(0)
        return cls(z, np.zeros((0, 3)), np.zeros((0, 3)), z.astype(np.int64), z.astype(bool))

    @classmethod
    def join(cls, parts: list[Electrons]) -> Electrons:
        """Several sets in one."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Deposits:
    """Energy left at points: keV and um, by owner; whether an electron born in the silicon did."""

    energy: Floats
    position: Floats
    owner: Ints
    inside: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.energy)

    def __getitem__(self, rows) -> Deposits:
        return Deposits(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: list[Deposits]) -> Deposits:
        """Several sets in one."""
        if not parts:
            e = Electrons.none()
            return cls(e.energy, e.position, e.owner, e.inside)
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


class _Walkers:
    """Electrons of one generation on their library tracks."""

    def __init__(self, lib: TrackLibrary, electrons: Electrons, rng: Generator) -> None:
        n = len(electrons)
        self.lib = lib
        self.electrons = electrons
        self.position = electrons.position.copy()
        self.energy = electrons.energy.copy()
        self.track = rng.integers(0, len(lib.segment), n)
        self.at, self.behind = lib.place(electrons.energy)
        self.last, self.collides = self._hard(rng)
        first = lib.segment[self.track, self.at].astype(np.float64)
        self.matrix = _alignment(first, electrons.direction, rng)

    def _hard(self, rng: Generator) -> tuple[Ints, NDArray[np.bool_]]:
        """Node at which each ends: that of the next hard collision, or rest."""
        lib = self.lib
        log_e = np.log(lib.energy[::-1])
        here = np.interp(np.log(self.energy), log_e, lib.hazard[::-1])
        there = here - rng.exponential(size=len(here))
        # Hazard falls along the track: the first node where it is below the drawn value.
        node = np.searchsorted(-lib.hazard, -np.maximum(there, 0.0))
        end = len(lib.energy) - 1
        collides = there > 0
        return np.where(collides, np.clip(node, self.at + 1, end), end), collides

    def block(self, rows: Ints, size: int = _BLOCK) -> tuple[Floats, Ints, NDArray[np.bool_]]:
        """Displacements (n, size, 3) in the track's frame, their segments, which exist."""
        index = self.at[rows, None] + np.arange(size)
        real = index < self.last[rows, None]
        index = np.minimum(index, self.lib.segment.shape[1] - 1)
        moved = self.lib.segment[self.track[rows, None], index].astype(np.float64)
        moved[:, 0] *= (1 - self.behind[rows])[:, None]
        return moved, index, real


def _alignment(segment: Floats, direction: Floats, rng: Generator) -> Floats:
    """Rotations (n, 3, 3) that bring segments into directions, with a random roll."""
    u = segment / np.maximum(np.linalg.norm(segment, axis=1), 1e-30)[:, None]
    v, w = normals(u)
    a, b = normals(direction)
    phi = rng.random(len(u)) * (2 * np.pi)
    c, s = np.cos(phi)[:, None], np.sin(phi)[:, None]
    a, b = c * a + s * b, c * b - s * a
    matrix: Floats = (
        direction[:, :, None] * u[:, None, :]
        + a[:, :, None] * v[:, None, :]
        + b[:, :, None] * w[:, None, :]
    )
    return matrix


def _rotate(matrix: Floats, moved: Floats) -> Floats:
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
    inside : bool
        What is knocked on counts as born in the silicon.
    """
    e = electrons.energy
    knock = moller_rate(lib.material, e, HARD_LOSS)
    shine = photon_rate(lib.material, e, HARD_PHOTON)
    radiates = rng.random(len(e)) * (knock + shine) < shine
    # Hard photons: from 1/k between the cut and E, then the shape of the spectrum.
    bright = electrons[radiates]
    k = _draw_photon(bright.energy, rng)
    slowed = Electrons(
        bright.energy - k, bright.position, bright.direction, bright.owner, bright.inside
    )
    # A grid node can lie just below twice the cut, where no hard collision is possible.
    can = ~radiates & (e > 2 * HARD_LOSS)
    hit = electrons[can]
    w = draw_moller(hit.energy, HARD_LOSS, rng)
    rest = hit.energy - w
    phi = rng.random(len(w)) * (2 * np.pi)
    m2 = 2 * ELECTRON_MASS
    slow = np.sqrt(w * (hit.energy + m2) / (hit.energy * (w + m2)))
    fast = np.sqrt(rest * (hit.energy + m2) / (hit.energy * (rest + m2)))
    knocked = Electrons(
        w,
        hit.position,
        turn(hit.direction, slow, rng, phi),
        hit.owner,
        np.full(len(w), True) if inside else hit.inside,
    )
    scattered = Electrons(
        rest, hit.position, turn(hit.direction, fast, rng, phi + np.pi), hit.owner, hit.inside
    )
    return Electrons.join([slowed, electrons[~radiates & ~can], knocked, scattered])


def _draw_photon(energy: Floats, rng: Generator) -> Floats:
    out = np.empty_like(energy)
    todo = np.arange(len(energy))
    while len(todo):
        e = energy[todo]
        cut = np.minimum(HARD_PHOTON, 0.999 * e)
        k = cut * (e / cut) ** rng.random(len(todo))
        ratio = k / e
        good = rng.random(len(todo)) < 1 - ratio + 0.75 * ratio**2
        out[todo[good]] = k[good]
        todo = todo[~good]
    return np.minimum(out, 0.9999 * energy)


# ------------------------------------------------------------------------------------ the slab


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
    deposits: list[Deposits] = []
    left: list[Electrons] = []
    for _ in range(_GENERATIONS):
        if len(electrons) == 0:
            break
        electrons = _slab_generation(lib, size, electrons, rng, step, deposits, left)
    return Deposits.join(deposits), Electrons.join(left)


def _slab_generation(
    lib: TrackLibrary,
    size: Floats,
    electrons: Electrons,
    rng: Generator,
    step: float,
    deposits: list[Deposits],
    left: list[Electrons],
) -> Electrons:
    walkers = _Walkers(lib, electrons, rng)
    rows = np.arange(len(electrons))
    collided: list[Electrons] = []
    reach = lib.range
    while len(rows):
        moved, index, real = walkers.block(rows)
        path = _rotate(walkers.matrix[rows], moved)
        node = np.cumsum(path, 1) + walkers.position[rows][:, None]
        before = np.concatenate([walkers.position[rows][:, None], node[:, :-1]], 1)
        after_energy = lib.energy[index + 1]
        energy = np.concatenate([walkers.energy[rows][:, None], after_energy[:, :-1]], 1)
        out = ((node < 0) | (node > size)).any(2)
        gap = np.minimum(node[..., 2], size[2] - node[..., 2])
        range_left = reach[index + 1]
        rest = (range_left < _POINT) & (range_left < gap)
        rest |= index + 1 >= len(lib.energy) - 1
        final = index + 1 >= walkers.last[rows][:, None]
        stops = out | rest | final
        ended = stops.any(1)
        k = np.where(ended, stops.argmax(1), moved.shape[1] - 1)
        here = np.arange(len(rows))
        leaves = ended & out[here, k]
        # Share of the last segment that lies inside.
        share = np.ones(len(rows))
        share[leaves] = _share_inside(
            before[here[leaves], k[leaves]], path[here[leaves], k[leaves]], size
        )
        loss = energy - after_energy
        loss[here, k] *= share
        at = before[here, k] + share[:, None] * path[here, k]
        energy_at = energy[here, k] - loss[here, k]
        settles = ended & ~leaves & (rest[here, k] | ~walkers.collides[rows])
        # Midpoints of the segments.
        used = real & (np.arange(moved.shape[1]) <= k[:, None])
        path[here, k] *= share[:, None]
        deposits.append(
            _points(
                loss[used],
                before[used],
                path[used],
                np.repeat(electrons.owner[rows], used.sum(1)),
                np.repeat(electrons.inside[rows], used.sum(1)),
                step,
            )
        )
        who = rows[settles]
        deposits.append(
            Deposits(energy_at[settles], at[settles], electrons.owner[who], electrons.inside[who])
        )
        length = np.maximum(np.linalg.norm(path[here, k], axis=1), 1e-30)
        heading = path[here, k] / length[:, None]
        state = Electrons(energy_at, at, heading, electrons.owner[rows], electrons.inside[rows])
        gone = leaves & (energy_at > SLOWEST)
        left.append(state[gone])
        collided.append(state[ended & ~leaves & ~settles])
        on = ~ended
        rows = rows[on]
        walkers.position[rows] = node[on, -1]
        walkers.energy[rows] = after_energy[on, -1]
        walkers.at[rows] += moved.shape[1]
        walkers.behind[rows] = 0
    return collide(lib, Electrons.join(collided), rng, inside=True)


def _share_inside(start: Floats, path: Floats, size: Floats) -> Floats:
    """Share of straight paths from within a box up to where they leave it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = np.where(path > 0, size, 0.0)
        share = np.where(path != 0, (wall - start) / path, np.inf)
    return np.clip(share.min(1), 0, 1)


def _points(
    energy: Floats,
    start: Floats,
    path: Floats,
    owner: Ints,
    inside: NDArray[np.bool_],
    step: float,
) -> Deposits:
    """Deposits at points no more than `step` apart along straight paths."""
    pieces = np.ceil(np.linalg.norm(path, axis=1) / step).astype(np.int64)
    pieces = np.maximum(pieces, 1)
    if pieces.max(initial=1) == 1:
        return Deposits(energy, start + 0.5 * path, owner, inside)
    source = np.repeat(np.arange(len(energy)), pieces)
    number = np.arange(len(source)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    along = (number + 0.5) / pieces[source]
    return Deposits(
        energy[source] / pieces[source],
        start[source] + along[:, None] * path[source],
        owner[source],
        inside[source],
    )


# ------------------------------------------------------------------------------------ the wall


def through_wall(
    lib: TrackLibrary,
    depth: Floats,
    normal: Floats,
    electrons: Electrons,
    rng: Generator,
) -> Electrons:
    """Follow electrons in a thick wall until they come out of its surface or cannot any more.

    Parameters
    ----------
    lib : TrackLibrary
    depth : ndarray, shape (n,)
        Below the surface, um.
    normal : ndarray, shape (n, 3)
        Of the surface, pointing out of the wall.
    electrons : Electrons
    rng : Generator

    Returns
    -------
    Electrons
        On the surface, heading out of the wall.
    """
    out: list[Electrons] = []
    for _ in range(_GENERATIONS):
        if len(electrons) == 0:
            break
        collided, depth, normal = _wall_generation(lib, depth, normal, electrons, rng, out)
        parents = len(collided)
        # Owners stand in for rows, so that depth and normal follow each electron.
        tagged = Electrons(
            collided.energy,
            collided.position,
            collided.direction,
            np.arange(parents),
            collided.inside,
        )
        new = collide(lib, tagged, rng, inside=False)
        depth, normal = depth[new.owner], normal[new.owner]
        electrons = Electrons(
            new.energy, new.position, new.direction, collided.owner[new.owner], new.inside
        )
        keep = lib.range_of(electrons.energy) > depth
        electrons, depth, normal = electrons[keep], depth[keep], normal[keep]
    return Electrons.join(out)


def _wall_generation(
    lib: TrackLibrary,
    depth: Floats,
    normal: Floats,
    electrons: Electrons,
    rng: Generator,
    out: list[Electrons],
) -> tuple[Electrons, Floats, Floats]:
    walkers = _Walkers(lib, electrons, rng)
    depth = depth.copy()
    # Only the component along the normal decides: one product a segment instead of nine.
    inward = -np.einsum("ni,nij->nj", normal, walkers.matrix)
    rows = np.arange(len(electrons))
    travelled = np.zeros((len(electrons), 3))  # in the frames of the tracks
    collided: list[tuple[Electrons, Floats, Ints]] = []
    while len(rows):
        moved, index, _ = walkers.block(rows)
        q = inward[rows]
        sink = moved[..., 0] * q[:, None, 0]
        sink += moved[..., 1] * q[:, None, 1]
        sink += moved[..., 2] * q[:, None, 2]
        node = np.cumsum(sink, 1) + depth[rows][:, None]
        after_energy = lib.energy[index + 1]
        leaves = node < 0
        hopeless = (lib.range[index + 1] < node) | (after_energy < SLOWEST)
        final = index + 1 >= walkers.last[rows][:, None]
        stops = leaves | hopeless | final
        ended = stops.any(1)
        k = np.where(ended, stops.argmax(1), moved.shape[1] - 1)
        here = np.arange(len(rows))
        emerges = ended & leaves[here, k]
        hits = ended & ~emerges & ~hopeless[here, k] & walkers.collides[rows]
        for chosen, comes_out in ((emerges, True), (hits, False)):
            sel = np.flatnonzero(chosen)
            who, last = rows[sel], k[sel]
            step = sink[sel, last]
            start = node[sel, last] - step
            share = np.clip(-start / np.minimum(step, -1e-30), 0, 1) if comes_out else 1.0
            share = np.broadcast_to(share, step.shape)
            before = np.where(
                last > 0, after_energy[sel, np.maximum(last - 1, 0)], walkers.energy[who]
            )
            energy = before - share * (before - after_energy[sel, last])
            used = np.arange(moved.shape[1]) <= last[:, None]
            weight = used.astype(float)
            weight[np.arange(len(sel)), last] = share
            path = travelled[who] + np.einsum("nk,nkj->nj", weight, moved[sel])
            matrix = walkers.matrix[who]
            position = electrons.position[who] + np.einsum("nij,nj->ni", matrix, path)
            segment = np.einsum("nij,nj->ni", matrix, moved[sel, last])
            heading = segment / np.maximum(np.linalg.norm(segment, axis=1), 1e-30)[:, None]
            state = Electrons(
                energy, position, heading, electrons.owner[who], electrons.inside[who]
            )
            if comes_out:
                out.append(state[energy > SLOWEST])
            else:
                collided.append((state, node[sel, last], who))
        on = ~ended
        walkers.at[rows] += moved.shape[1]
        walkers.behind[rows] = 0
        rows, moved = rows[on], moved[on]
        travelled[rows] += moved.sum(1)
        depth[rows] = node[on, -1]
        walkers.energy[rows] = after_energy[on, -1]
    states = Electrons.join([c[0] for c in collided])
    if not collided:
        return states, np.zeros(0), np.zeros((0, 3))
    who = np.concatenate([c[2] for c in collided])
    return states, np.concatenate([c[1] for c in collided]), normal[who]
