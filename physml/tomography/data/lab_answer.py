"""Answers of laboratories: checked against the setting that was asked for.

An answer is refused where it is of another id (a stale answer), where it repeats a setting and that
is not the one that was asked for, and where its counts do not add up to the shots: each of these
would be wrong numbers without a word. A laboratory that could not measure as many shots as it was
asked for says with ``shots`` how many there were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.checks import check_counts, check_time
from ..core.measurements import Setting, check_shots, pauli_setting

#: Largest difference between the effects of a setting and of its echo, which may be rounded.
ECHO = 1e-3


class HalfWritten(InputError):
    """Text that is no JSON, or not yet."""


class Counts(list[int]):
    """Counts of the outcomes in their order, and when they were taken.

    Parameters
    ----------
    values : iterable of int
    time : float, optional
        Seconds since any moment.
    shots : int, optional
        Copies that were measured, where these are not as many as were asked for.
    """

    def __init__(
        self, values: Iterable[int], time: float | None = None, shots: int | None = None
    ) -> None:
        super().__init__(values)
        self.time = time
        self.shots = shots


def parse_answer(text: bytes, setting: Setting, place: str) -> Counts:
    """Counts in the answer of a laboratory.

    Parameters
    ----------
    text : bytes
        JSON.
    setting : Setting
        That was asked for.
    place : str
        Name of the laboratory in messages.

    Raises
    ------
    HalfWritten
        It is no JSON.
    InputError
        It is no answer to this setting, or an error that the laboratory reports; or the counts
        cannot be.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HalfWritten.expected(place, "counts as JSON", f"something else ({error})") from error
    if not isinstance(data, dict):
        raise InputError.expected(place, "an object with id and counts", type(data).__name__)
    if "error" in data:
        raise InputError(f"{place}: the laboratory refused {setting.id!r}: {data['error']!s:.200}")
    if "id" in data and data["id"] != setting.id:
        raise InputError.expected(
            place,
            f"counts of {setting.id!r}",
            f"a stale answer: those of {data['id']!r:.120}",
            "Its answer has to be of the setting that it was asked for last.",
        )
    if "id" not in data or "counts" not in data:
        raise InputError.expected(
            place, f"id and counts of {setting.id!r}", f"only {', '.join(map(str, data))[:80]}"
        )
    _check_echo(data, setting, place)
    values = check_counts(data["counts"], setting, f"{place}, counts of {setting.id!r}")
    counts = Counts(
        values.tolist(), check_time(data.get("time"), f"{place}, time"), data.get("shots")
    )
    check_complete(counts, setting, place)
    return counts


def check_complete(counts: Any, setting: Setting, place: str) -> None:
    """InputError where counts do not add up to the shots of their setting.

    Parameters
    ----------
    counts : sequence of k integers, or mapping of outcome to integer
        Its ``shots``, where it has them, are the copies that were really measured.
    setting : Setting
    place : str
        Name of the laboratory in messages.
    """
    where = f"{place}, counts of {setting.id!r}"
    total = int(check_counts(counts, setting, where).sum())
    said = getattr(counts, "shots", None)
    wanted = setting.shots if said is None else check_shots(said, f"{where}, shots")
    if total != wanted:
        raise InputError.expected(
            where,
            f"{wanted} counts, as many as shots",
            str(total),
            "A laboratory that measures fewer or more says so in 'shots'.",
        )


def _check_echo(data: dict[str, Any], setting: Setting, place: str) -> None:
    """InputError where an answer repeats a setting that is another one."""
    nested = data.get("setting")
    for given in (data, nested if isinstance(nested, dict) else {}):
        for kind in ("axes", "local", "basis", "effects"):
            if kind not in given:
                continue
            where = f"{place}, {kind} of {setting.id!r}"
            found = _effects(kind, given[kind], where)
            away = (
                float(np.abs(found - setting.effects).max())
                if found.shape == setting.effects.shape
                else np.inf
            )
            if not away <= ECHO:
                raise InputError.expected(
                    where,
                    "the setting that was asked for",
                    f"another one, whose effects are off by {away:.2g}",
                    "The laboratory measured something else: a stale setting, or one turned "
                    "the wrong way.",
                )


def _effects(kind: str, value: Any, where: str) -> NDArray[np.complex128]:
    """Effects (k, d, d) of what a laboratory says that it measured; not checked to be such."""
    try:
        if kind == "axes":
            return pauli_setting(str(value).strip().upper()).effects
        pairs = np.asarray(value, np.float64)
        array = pairs[..., 0] + 1j * pairs[..., 1]
        if kind == "effects":
            return array
        if kind == "local":
            basis = array[0]
            for factor in array[1:]:
                basis = np.kron(basis, factor)
        else:
            basis = array
        effects: NDArray[np.complex128] = np.einsum("ik,jk->kij", basis, basis.conj())
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError.expected(where, "a setting as it was sent", f"no ({error})") from error
    return effects
