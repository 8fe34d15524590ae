"""Which events are binned, and how: band, chips, size of a pixel; read without heavy imports."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from physml.exceptions import InputError

#: Band of an event list where none is given [eV]: the gas of clusters outshines the particles.
BAND = (500.0, 7000.0)
_FLOAT = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+"
_BAND = re.compile(rf"\s*({_FLOAT})\s*[:\-,]\s*({_FLOAT})\s*(k?eV)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """Events to be binned.

    Attributes
    ----------
    band : tuple of float, or None
        Lowest and highest energy [eV]; None for `BAND`, or all where the list has no energies.
    bin : float or None
        Side of a pixel of the image [pixel of the event list]; None for the telescope's.
    chips : tuple of int, or None
        Numbers of the chips or cameras; None for all.
    """

    band: tuple[float, float] | None = None
    bin: float | None = None
    chips: tuple[int, ...] | None = None

    @property
    def given(self) -> list[str]:
        """Names of what was chosen by hand."""
        return [name for name in ("band", "bin", "chips") if getattr(self, name) is not None]


def select_events(band: Any = None, bin: Any = None, chips: Any = None) -> Selection:
    """Selection from what a user wrote.

    Parameters
    ----------
    band : str or pair of float, optional
        ``500:7000`` in eV, or ``0.5:7keV``.
    bin : int, float or str, optional
    chips : str, int or list of int, optional
        ``7``, ``0,1,2,3`` or ``0:3``.

    Raises
    ------
    InputError
        It cannot be read, or means no event.
    """
    return Selection(_band(band), _bin(bin), _chips(chips))


def _band(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    several = isinstance(given, Iterable) and not isinstance(given, str)
    text = ":".join(map(str, given)) if several else str(given)
    match = _BAND.fullmatch(text)
    if not match:
        raise InputError(f"band=: expected energies such as 500:7000 (eV), found {text!r}")
    unit = (match.group(3) or "").lower()
    low, high = (float(match.group(k)) * (1e3 if unit == "kev" else 1.0) for k in (1, 2))
    if not unit and high < 100:
        raise InputError(
            f"band=: expected energies in eV, or with their unit, found {text!r}. "
            f"Did you mean {text.strip()}keV?"
        )
    if not low < high:
        raise InputError(f"band=: expected a lower and a higher energy, found {text!r}")
    return low, high


def _bin(given: Any) -> float | None:
    if given is None:
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < 1e6:
        raise InputError(
            f"bin=: expected a number of the event list's pixels above 0, found {given!r}"
        )
    return value


def _chips(given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    if isinstance(given, Iterable) and not isinstance(given, str):
        parts = [str(part) for part in given]
    else:
        parts = re.split(r"[,\s]+", str(given).strip())
    found: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", part)
        if not match:
            raise InputError(f"chips=: expected numbers such as 7 or 0:3, found {given!r}")
        first = int(match.group(1))
        found += range(first, int(match.group(2) or first) + 1)
    if not found:
        raise InputError(f"chips=: expected at least one number, found {given!r}")
    return tuple(sorted(set(found)))
