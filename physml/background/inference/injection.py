"""X-rays put into frames that were really read out, to see which share of them a cut keeps.

An X-ray does not know of the particles in its frame. A known one, put anywhere into a frame as it
is, therefore meets what X-rays meet there, whatever the particles, the orbit or the housing: its
score is a draw from the distribution that a retention is a quantile of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints, Singles
from ..core.records import Records
from .inputs import (
    ENERGY,
    FEATURES,
    FLAGGED,
    LOG_STANDOFF,
    PLACE,
    RATE,
    SIDE,
    TOUCH,
    Members,
    outline,
    ragged,
)


@dataclass(frozen=True)
class Library(Records):
    """Known X-rays as members of sets.

    Attributes
    ----------
    feature : ndarray of float32, shape (m, 12)
    patch : ndarray of float32, shape (m, 5, 5)
        Or what the patch network makes of them, as `Members.patch`.
    axis : ndarray of float32, shape (m, 2)
        Last two columns of `inputs.PLACE`.
    """

    feature: Singles
    patch: Singles
    axis: Singles

    @property
    def energy(self) -> Floats:
        """Measured energies, keV."""
        return 10.0 ** self.feature[:, ENERGY].astype(np.float64)


def make_library(
    arrays: Mapping[str, NDArray], number: int, edges: NDArray, rng: np.random.Generator
) -> Library:
    """Draw X-rays from preprocessed data, as many from each energy bin.

    Parameters
    ----------
    arrays : dict of ndarray
        As in `learning.prepared.prepared_spec`.
    number : int
        Size of the library, about; bins with fewer X-rays give what they have.
    edges : ndarray, shape (j + 1,)
        keV.
    rng : numpy.random.Generator
    """
    photon = arrays["event"] & arrays["query"] & (arrays["label"] == 0)
    photon &= arrays["feature"][:, FLAGGED] == 0
    rows = np.flatnonzero(photon)
    column = np.searchsorted(edges, arrays["energy"][rows], side="right") - 1
    each = -(-number // (len(edges) - 1))
    chosen = [rng.permutation(rows[column == k])[:each] for k in range(len(edges) - 1)]
    take = np.concatenate(chosen)
    return Library(
        arrays["feature"][take], arrays["patch"][take].astype(np.float32), arrays["place"][take, 2:]
    )


@dataclass(frozen=True)
class Injected:
    """Padded sets with an injected X-ray each.

    Attributes
    ----------
    feature, place, present : ndarray, shape (n, k, ...)
        As the network wants them.
    patch : ndarray, shape (n, k)
        Rows of `patches`: most sets share their members with others.
    patches : ndarray, shape (t, ...)
        As `Members.patch`.
    slot : ndarray of int, shape (n,)
        Which member was put in.
    free : ndarray of bool, shape (n,)
        False where it fell onto another cluster, and would not have been an event of its own.
    """

    feature: Singles
    patch: Ints
    patches: Singles
    place: Singles
    present: Bools
    slot: Ints
    free: Bools


def put(
    members: Members,
    sets: Ints,
    slot: Ints,
    library: Library,
    which: Ints,
    xy: NDArray,
    rate: NDArray,
    standoff: float | NDArray = 0.0,
    pixel: float = 1.0,
) -> Injected:
    """Put X-rays into sets, in a free slot or in the place of a member.

    Parameters
    ----------
    members : Members
    sets : ndarray of int, shape (n,)
        Set of each X-ray, or -1 for a frame without any cluster.
    slot : ndarray of int, shape (n,)
        Member of the set to replace; its size, to add one.
    library : Library
    which : ndarray of int, shape (n,)
        X-ray of the library.
    xy : ndarray, shape (n, 2)
        Where to, in units of 130 um.
    rate : ndarray, shape (n,)
        Feature `log_rate`.
    standoff : float or ndarray of shape (n,)
        Feature `log_standoff`.
    pixel : float
        Size of the pixels in units of 130 um.
    """
    if len(members) == 0:
        members = replace(_NOTHING, patch=np.zeros((1, *library.patch.shape[1:]), np.float32))
    rows, present = ragged(members.start, np.maximum(sets, 0))
    present &= (sets >= 0)[:, None]
    if len(sets) and slot.max() >= present.shape[1]:
        rows = np.pad(rows, ((0, 0), (0, 1)))
        present = np.pad(present, ((0, 0), (0, 1)))
    feature, place = members.feature[rows], members.place[rows]
    n = np.arange(len(sets))
    present[n, slot] = False
    distance = np.hypot(place[..., 0] - xy[:, :1], place[..., 1] - xy[:, 1:])
    free = ~((distance < (outline(feature) + TOUCH) * pixel) & present).any(1)
    feature[n, slot] = library.feature[which]
    feature[n, slot, RATE], feature[n, slot, LOG_STANDOFF] = rate, standoff
    patch = rows.copy()
    patch[n, slot] = len(members.patch) + n
    patches = np.concatenate([members.patch, library.patch[which]])
    place[n, slot, :2], place[n, slot, 2:] = xy, library.axis[which]
    present[n, slot] = True
    return Injected(feature, patch, patches, place, present, slot, free)


# One set of one member that is never shown: for frames that are all empty.
_NOTHING = Members(
    feature=np.zeros((1, len(FEATURES)), np.float32),
    patch=np.zeros((1, SIDE, SIDE), np.float32),
    place=np.zeros((1, len(PLACE)), np.float32),
    event=np.full(1, -1),
    cluster=np.zeros(1, np.int64),
    query=np.zeros(1, bool),
    start=np.array([0, 1]),
    frame=np.zeros(1, np.int64),
)
