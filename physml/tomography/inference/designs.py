"""Which measurements a tomographer asks for: adaptive bases, or a fixed list in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ..core.measurements import Setting, from_effects, mub, pairwise, pauli_settings, sic

ADAPTIVE = ("global", "product", "pauli_adaptive")
FIXED = ("pauli", "mub", "sic", "pairwise")
#: Copies of the first measurement, where nobody says how many.
FIRST_SHOTS = 10
#: Copies of the next measurement as a share of all so far: the number of measurements then grows
#: only as the logarithm of the copies, and the design never lags far behind what is known.
GROWTH = 0.1


@dataclass(frozen=True)
class Design:
    """A design by name, with the settings it goes through where it is fixed.

    Attributes
    ----------
    name : str
        One of `ADAPTIVE` or `FIXED`, or "povm" for settings of the user's own.
    settings : tuple of Setting
        Empty for adaptive designs.
    """

    name: str
    settings: tuple[Setting, ...] = ()

    @property
    def adaptive(self) -> bool:
        """Whether the next measurement depends on the data."""
        return not self.settings

    def to_json(self) -> Any:
        """Name, or the settings of a design of the user's own."""
        if self.name != "povm":
            return self.name
        return [setting.to_dict() for setting in self.settings]


def make_design(given: Any, n_qubits: int) -> Design:
    """Design of whatever was given.

    Parameters
    ----------
    given : str, Setting, ndarray (k, d, d), or a sequence of settings or effects
        A name; or one measurement; or several, of which each is used in turn.
    n_qubits : int

    Raises
    ------
    InputError
        No such name, or settings that are no measurements of that many qubits.
    """
    if isinstance(given, Design):
        return given
    if isinstance(given, str):
        if given in ADAPTIVE:
            return Design(given)
        if given in FIXED:
            return Design(given, tuple(_fixed(given, n_qubits)))
        raise InputError.expected(
            "design=", f"one of {', '.join((*ADAPTIVE, *FIXED))}, or effects", repr(given)
        )
    try:
        settings = _settings(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.expected("design=", "a name, or effects", f"others ({error})") from error
    for setting in settings:
        if setting.dimension != 1 << n_qubits:
            raise InputError.expected(
                "design=",
                f"measurements of {n_qubits} qubits",
                f"effects of dimension {setting.dimension}",
            )
    return Design("povm", tuple(settings))


def _settings(given: Any) -> list[Setting]:
    if isinstance(given, Setting | dict):
        given = [given]
    elif not isinstance(given, Sequence) or np.ndim(given[0] if given else 0) == 2:
        given = [given]  # the effects of one measurement
    if not given:
        raise InputError.expected("design=", "at least one measurement", "none")
    out = []
    for item in given:
        if isinstance(item, Setting):
            from_effects(item.effects, 0)  # checks them
            out.append(item)
        elif isinstance(item, dict):
            out.append(Setting.from_dict({"shots": 0, **item}))
        else:
            out.append(from_effects(item, 0))
    return out


def _fixed(name: str, n: int) -> list[Setting]:
    try:
        if name == "pauli":
            return pauli_settings(n)
        if name == "mub":
            return mub(n)
        return [sic(n) if name == "sic" else pairwise(n)]
    except ValueError as error:
        raise InputError(f"design {name!r}: {error}") from error


def take_turns(design: Design, spent: Sequence[int], shots: int, name: str) -> tuple[int, Setting]:
    """Next setting of a fixed design: the one with the fewest copies, the first of equals.

    Returns
    -------
    index : int
        In the design.
    setting : Setting
        With its shots and id.
    """
    index = int(np.argmin(np.asarray(spent)))
    return index, replace(design.settings[index], shots=shots, id=name)


def next_shots(copies: int) -> int:
    """Copies of the next measurement, where nobody says how many."""
    return max(FIRST_SHOTS, round(GROWTH * copies))
