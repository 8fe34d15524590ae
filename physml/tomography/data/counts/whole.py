"""Checks of a file as a whole: measurements that are there twice, counts that do not add up."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.measurements import Setting

#: Chance below which equal counts of two measurements are called a likely copy.
CHANCE = 1e-3
#: Largest difference between effects that are the same.
SAME = 1e-9
_SHOWN = 4


class Counted(Protocol):
    """A setting with its counts (k,), int64, as `records.Measurement`."""

    @property
    def setting(self) -> Setting:
        """Measurement of these counts."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of each outcome."""


M = TypeVar("M", bound=Counted)


def without_copies(
    measurements: Sequence[M], places: Sequence[str], source: str
) -> tuple[list[M], list[str], list[str]]:
    """Measurements of different ids.

    Parameters
    ----------
    measurements : sequence of Counted
    places : sequence of str
        Where each stands, for messages.
    source : str
        The file.

    Returns
    -------
    measurements : list of Counted
        The first of each id.
    places : list of str
        Of these.
    remarks : list of str
        Names what was there twice; and measurements of different ids that have the same setting
        and the same counts, where chance makes that in fewer than one of 1,000 files.

    Raises
    ------
    InputError
        The same id has another setting or other counts.
    """
    first: dict[str, int] = {}
    copies = []
    for k, m in enumerate(measurements):
        j = first.setdefault(m.setting.id, k)
        if j == k or not m.setting.id:
            continue
        other = measurements[j]
        if not _same(other, m):
            raise InputError.expected(
                source,
                "an id of its own for each measurement",
                f"{m.setting.id!r} with {_short(other.counts)} ({places[j]}) and with "
                f"{_short(m.counts)} ({places[k]})"
                + (", of other settings" if _same_counts(other, m) else ""),
                "A copy has the same counts; what was measured again needs another id.",
            )
        copies.append((j, k))
    twice = {k for _, k in copies}
    keep = [k for k in range(len(measurements)) if k not in twice]
    remarks = []
    if copies:
        words = [f"{measurements[k].setting.id!r} ({places[j]}, {places[k]})" for j, k in copies]
        remarks.append(f"counted once, though in the file twice: {_listed(words)}")
    kept = [measurements[k] for k in keep]
    where = [places[k] for k in keep]
    return kept, where, [*remarks, *_likely_copies(kept, where)]


def _likely_copies(measurements: Sequence[Counted], places: Sequence[str]) -> list[str]:
    """Remark on measurements of different ids with the same counts of the same setting."""
    groups: dict[int, list[int]] = defaultdict(list)
    for k, m in enumerate(measurements):
        groups[hash((m.counts.tobytes(), m.setting.effects.shape))].append(k)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    repeats = Counter(_hash(m) for m in measurements)
    pairs = max(len(alike), sum(number * (number - 1) // 2 for number in repeats.values()))
    words = []
    for group in alike:
        first = measurements[group[0]]
        if pairs * _chance(first.counts) > CHANCE:
            continue
        equal = [k for k in group[1:] if _same(first, measurements[k])]
        words += [f"{places[group[0]]} and {places[k]}" for k in equal]
    if not words:
        return []
    return [
        f"the same counts of the same setting, which chance would hardly make: {_listed(words)}; "
        "both were counted, take one out if it is a copy"
    ]


def compare_shots(
    claims: Sequence[tuple[str, int | None, int]], source: str, strict: bool = True
) -> list[str]:
    """Remark on counts that add up to fewer than the shots of their setting.

    Parameters
    ----------
    claims : sequence of (str, int or None, int)
        Name of each setting, shots that the file says, sum of its counts.
    source : str
        The file.
    strict : bool
        Whether more counts than shots are refused; else they are in the remark.

    Raises
    ------
    InputError
        There are more counts than shots.
    """
    known = [(name, shots, total) for name, shots, total in claims if shots]
    more = [c for c in known if c[2] > c[1]]
    if more and strict:
        raise InputError.expected(
            source,
            "no more counts than shots",
            _listed([f"{total} counts in {shots} shots of {name}" for name, shots, total in more]),
        )
    remarks = []
    if more:
        words = [f"{name} {total} in {shots}" for name, shots, total in more]
        remarks.append(f"more counts than shots were asked for: {_listed(words)}")
    fewer = [c for c in known if c[2] < c[1]]
    if fewer:
        words = [f"{name} {total:,} of {shots:,}" for name, shots, total in fewer]
        lost = sum(shots - total for _, shots, total in fewer)
        remarks.append(
            f"counts of {len(fewer)} of {len(claims)} settings do not add up to their shots "
            f"({_listed(words)}): {lost:,} of {sum(c[1] for c in known):,} copies have no outcome "
            "and are left out, as if each outcome had lost the same share"
        )
    return remarks


def _same_counts(a: Counted, b: Counted) -> bool:
    return a.counts.shape == b.counts.shape and bool((a.counts == b.counts).all())


def _same(a: Counted, b: Counted) -> bool:
    """Whether setting and counts are the same."""
    x, y = a.setting.effects, b.setting.effects
    if x is not y and (x.shape != y.shape or np.abs(x - y).max() > SAME):
        return False
    return _same_counts(a, b)


def _hash(m: Counted) -> int:
    """Alike for equal settings; the sum of the digits beyond the eighth is of no matter."""
    effects = m.setting.effects
    # A zero of either sign is the same number.
    return hash((effects.shape, (np.round(effects[:, 0], 8) + 0.0).tobytes()))


def _chance(counts: NDArray[np.int64]) -> float:
    """Largest probability of such counts, that of the frequencies themselves (multinomial)."""
    n = int(counts.sum())
    value = math.lgamma(n + 1)
    for c in counts[counts > 0].tolist():
        value += c * math.log(c / n) - math.lgamma(c + 1)
    return math.exp(value)


def _short(counts: NDArray[np.int64]) -> str:
    return str(counts.tolist())[:60]


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more
