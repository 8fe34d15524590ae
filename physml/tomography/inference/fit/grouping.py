"""Counts by distinct measurement, and in each half of the copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.operators import to_coordinates

#: Directions with less than this share of the largest singular value are not measured.
RANK = 1e-9


@dataclass(frozen=True)
class Grouped:
    """Counts of both halves by distinct measurement, each of which has its place in the rows.

    Attributes
    ----------
    coordinates : Tensor (M, d * d)
        Of the effects of all distinct measurements, one below the other.
    halves : ndarray (2, M), int64
        Counts of the first and of the second half of the copies.
    places : list of slice
        Rows of each distinct measurement.
    names : list of str
        Id of the first setting of each.
    """

    coordinates: Tensor
    halves: NDArray[np.int64]
    places: list[slice]
    names: list[str]

    @property
    def total(self) -> NDArray[np.int64]:
        """Counts (M,) of both halves."""
        total: NDArray[np.int64] = self.halves.sum(0)
        return total

    def halves_can_be_told_apart(self) -> bool:
        """Whether two states, one for each half, are an alternative that the data can refute.

        A wrong label or basis is the same fault in both halves where they share settings that
        determine a state: two states then fit no better than one. Where the halves share none, as
        in adaptive designs, each half has to determine its state and to have as much again as half
        of its parameters left over; with less, two states fit anything.
        """
        if not bool((self.halves.sum(1) > 0).all()):
            return False
        used = [
            [at for at in self.places if int(self.halves[half, at].sum()) > 0] for half in (0, 1)
        ]
        both = [at for at in used[0] if any(at == other for other in used[1])]
        size = self.coordinates.shape[1]
        if self._rank(both) == size:
            return True
        wanted = size - 1 + (size - 1) / 2
        return all(
            self._rank(half) == size and sum(at.stop - at.start - 1 for at in half) >= wanted
            for half in used
        )

    def _rank(self, places: Sequence[slice]) -> int:
        if not places:
            return 0
        rows = torch.cat([self.coordinates[at] for at in places])
        return int(torch.linalg.matrix_rank(rows, rtol=RANK))


def key_of(effects: NDArray[np.complex128] | NDArray[np.float64]) -> bytes:
    """Key that equal measurements share, of their effects or of coordinates of these."""
    return bytes((np.round(effects, 10) + 0).tobytes())  # + 0: no negative zeros


def group(
    effects: Sequence[NDArray[np.complex128]],
    counts: Sequence[NDArray[np.int64]],
    names: Sequence[str],
) -> Grouped:
    """Add up the counts of equal measurements, in each half of the copies."""
    place: dict[bytes, int] = {}
    kept: list[NDArray[np.complex128]] = []
    labels: list[str] = []
    sums: list[NDArray[np.int64]] = []
    copies = np.cumsum([int(c.sum()) for c in counts])
    for e, c, name, until in zip(effects, counts, names, copies, strict=True):
        key = key_of(e)
        if key not in place:
            place[key] = len(kept)
            kept.append(e)
            labels.append(name)
            sums.append(np.zeros((2, len(c)), np.int64))
        # The measurement that contains the middle belongs to the half where most of it lies.
        second = int(2 * (int(until) - int(c.sum()) // 2) > int(copies[-1]))
        sums[place[key]][second] += c
    coordinates = to_coordinates(torch.from_numpy(np.concatenate(kept)))
    ends = np.cumsum([0, *(len(e) for e in kept)]).tolist()
    places = [slice(first, last) for first, last in pairwise(ends)]
    return Grouped(coordinates, np.concatenate(sums, 1), places, labels)
