"""Pauli strings, and groups of them that stabilise a state."""

from __future__ import annotations

from collections.abc import Sequence

from physml.exceptions import InputError


def check_observable(text: str, n_qubits: int) -> str:
    """A Pauli string of I, X, Y, Z, qubit 0 first; InputError otherwise."""
    letters = text.strip().upper()
    if len(letters) != n_qubits or set(letters) - set("IXYZ") or set(letters) <= {"I"}:
        raise InputError.expected(
            "observable", f"{n_qubits} letters of I, X, Y, Z, not all I", repr(text)[:60]
        )
    return letters


def stabiliser_group(generators: Sequence[str]) -> list[tuple[str, int]]:
    """All products of commuting Pauli strings with signs: (string, sign), the identity first.

    Parameters
    ----------
    generators : sequence of str
        One for each qubit, such as "XXX", "-ZZI": the state is the +1 eigenstate of all.

    Raises
    ------
    InputError
        They do not commute, are not independent, or are not one for each qubit.
    """
    parsed = []
    for text in generators:
        sign = -1 if text.strip().startswith("-") else 1
        parsed.append((check_observable(text.strip().lstrip("+-"), len(generators)), sign))
    group = [("I" * len(generators), 1)]
    for name, sign in parsed:
        more = []
        for other, s in group:
            product_name, phase = _multiply(other, name)
            if phase.imag:
                raise InputError.expected("stabilisers", "strings that commute", f"{name}, {other}")
            more.append((product_name, int(phase.real) * s * sign))
        group += more
    if len({name for name, _ in group}) < len(group):
        raise InputError.expected("stabilisers", "independent strings", f"{list(generators)[:6]}")
    return group


_ORDER = {"XY": ("Z", 1j), "YZ": ("X", 1j), "ZX": ("Y", 1j)}


def _multiply(a: str, b: str) -> tuple[str, complex]:
    phase, out = 1 + 0j, ""
    for p, q in zip(a, b, strict=True):
        if p == q:
            out += "I"
        elif "I" in (p, q):
            out += p if q == "I" else q
        elif p + q in _ORDER:
            letter, factor = _ORDER[p + q]
            out, phase = out + letter, phase * factor
        else:
            letter, factor = _ORDER[q + p]
            out, phase = out + letter, phase * -factor
    return out, phase


def named_generators(name: str, n: int) -> list[str]:
    """Stabilisers of ghz, of a linear cluster state, or of a product such as 0+0; InputError."""
    key = name.strip().lower()
    if key == "ghz":
        return ["X" * n] + ["I" * q + "ZZ" + "I" * (n - q - 2) for q in range(n - 1)]
    if key == "cluster":
        letters = [["I"] * n for _ in range(n)]
        for q in range(n):
            letters[q][q] = "X"
            for other in (q - 1, q + 1):
                if 0 <= other < n:
                    letters[q][other] = "Z"
        return ["".join(row) for row in letters]
    single = {"0": "Z", "1": "-Z", "+": "X", "-": "-X"}
    if len(key) == n and set(key) <= set(single):
        return [
            single[c].replace(single[c][-1], "") + "I" * q + single[c][-1] + "I" * (n - q - 1)
            for q, c in enumerate(key)
        ]
    raise InputError.expected(
        "fidelity",
        f"ghz, cluster, a product of {n} states 0 1 + -, or stabilisers",
        repr(name)[:60],
    )
