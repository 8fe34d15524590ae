"""Names of outcomes: bits, signs, numbers; and which of the bits belong to the qubits.

A name may be bits (``01``), signs of the eigenvalues (``+-``), or a number: decimal, or bits
that lost their leading zeros in a spreadsheet. Numbers are read where all names together leave no
doubt which of the two they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from physml.exceptions import InputError

_SIGNS = str.maketrans({"+": "0", "-": "1", "−": "1"})


@dataclass
class Measured:
    """Which bits of an outcome, or which of the qubits, are wanted.

    Attributes
    ----------
    places : tuple of int, optional
        Numbers of bits or of qubits, in the order wanted; all where it is None.
    used : bool
        Whether the bits were chosen already while a file was read.
    """

    places: tuple[int, ...] | None = None
    used: bool = False

    @classmethod
    def of(cls, given: Sequence[int] | None) -> Measured:
        """Choice of these places; InputError where one is negative, or there twice."""
        if given is None:
            return cls()
        places = tuple(given)
        whole = all(isinstance(k, int) and not isinstance(k, bool) and k >= 0 for k in places)
        if not places or not whole or len(set(places)) < len(places):
            raise InputError.expected(
                "measured=", "different numbers of bits from 0 on, such as 0,1", f"{given!r:.60}"
            )
        return cls(places)

    def of_bits(self, width: int, n: int, place: str, which: str) -> tuple[int, ...] | None:
        """Bits of an outcome that belong to the n qubits of its setting; None: all, in order.

        Parameters
        ----------
        width : int
            Bits of an outcome.
        n : int
            Qubits of the setting.
        place : str
            For errors.
        which : str
            Where bit 0 stands, for errors.

        Raises
        ------
        InputError
            Too few bits, or more than qubits and nobody said which.
        """
        if width == n:
            return None
        if width < n:
            raise InputError.expected(place, f"{n} bits, one for each qubit", f"{width}")
        if self.places is None:
            raise InputError.expected(
                place,
                f"{n} bits, one for each qubit",
                f"{width}",
                f"Say which bits are of the qubits, such as --measured "
                f"{','.join(map(str, range(n)))}; bit 0 is {which}.",
            )
        if len(self.places) != n or max(self.places) >= width:
            raise InputError.expected(
                "measured=",
                f"{n} of the bits 0 to {width - 1}, one for each qubit of a setting",
                ",".join(map(str, self.places)),
            )
        self.used = True
        return self.places


def read_outcomes(
    names: Iterable[str], n: int, place: str, measured: Measured | None = None
) -> tuple[dict[str, str], str | None]:
    """Bits of each name of an outcome, qubit 0 first.

    Parameters
    ----------
    names : iterable of str
        All of a file: whether they are decimal numbers is told by all together.
    n : int
        Qubits of the setting.
    place : str
        For errors.
    measured : Measured, optional
        Which bits belong to the qubits, where there are more.

    Returns
    -------
    dict
        Name -> n bits.
    str or None
        What was assumed.

    Raises
    ------
    InputError
        Other names, or names that can be read in two ways.
    """
    given = list(dict.fromkeys(names))
    remark = None
    bits = {name: name.replace(" ", "") for name in given}
    if given and all(re.fullmatch(r"[-+−]+", b) for b in bits.values()):
        bits = {name: b.translate(_SIGNS) for name, b in bits.items()}
        remark = "outcomes + and - are read as 0 and 1, the eigenvalues +1 and -1"
    widths = {len(b) for b in bits.values()}
    binary = all(re.fullmatch("[01]+", b) for b in bits.values())
    if binary and len(widths) == 1 and (width := widths.pop()) >= n:
        places = (measured or Measured()).of_bits(width, n, place, "the first one")
        if places is not None:
            bits = {name: "".join(b[k] for k in places) for name, b in bits.items()}
        return bits, remark
    plain = [name for name in given if re.fullmatch(f"[01]{{{n}}}", bits[name])]
    number = r"0|[1-9][0-9]{0,18}"
    odd = [name for name in given if not re.fullmatch(number, bits[name])]
    if any(name in odd for name in plain):  # "01" is no number: the others are at fault
        odd = [name for name in given if name not in plain]
    if odd:
        raise InputError.expected(
            place, f"outcomes of {n} bits, such as {'01' * n:.{n}}", repr(odd[0][:40])
        )
    return _numbers(bits, n, place, binary)


def _numbers(
    bits: dict[str, str], n: int, place: str, binary: bool
) -> tuple[dict[str, str], str | None]:
    """Numbers without leading zeros, which are decimal or binary."""
    decimal = {name: int(b) for name, b in bits.items()}
    longest = max(map(len, bits.values()))
    readings = {}
    if max(decimal.values()) < 1 << n:
        readings["decimal numbers"] = decimal
    if binary and longest <= n:
        readings["bits without their leading zeros"] = {m: int(b, 2) for m, b in bits.items()}
    found = list(readings.values())
    if len(found) == 2 and found[0] != found[1]:
        clash = next(name for name in bits if found[0][name] != found[1][name])
        raise InputError.expected(
            place,
            f"outcomes of {n} bits, with their leading zeros",
            f"{clash!r}, which may be decimal or bits",
        )
    # 0 and 1 alone, and bits that are all too short, may as well be those of fewer qubits.
    if not found or (longest < n if binary else max(decimal.values()) < 2):
        raise InputError.expected(
            place, f"outcomes of {n} bits, such as {'01' * n:.{n}}", str(list(bits))[:60]
        )
    made = {name: format(value, f"0{n}b") for name, value in found[0].items()}
    return made, f"outcomes such as {max(bits, key=len)!r} are read as {next(iter(readings))}"
