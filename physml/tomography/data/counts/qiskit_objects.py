"""Objects of qiskit as counts by label: results of samplers, of backends and of experiments.

They are told apart by what they can do; qiskit is not imported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from physml.exceptions import InputError

from ...core.measurements import check_shots

#: Indices of `PauliMeasurementBasis` of qiskit-experiments.
_PAULI = "ZXY"


@dataclass(frozen=True)
class Labelled:
    """Counts of one circuit.

    Attributes
    ----------
    label : Any
        As it was given: X, Y, Z of each qubit, the last letter of a text for qubit 0.
    counts : Any
        Mapping of keys to counts.
    bits : tuple of int, optional
        Bits that belong to the qubits, where the circuit says so.
    shots : int, optional
        Runs of the circuit, where that is said.
    """

    label: Any
    counts: Any
    bits: tuple[int, ...] | None = None
    shots: int | None = None


def labelled(results: Any, labels: Sequence[Any] | None, register: str | None) -> list[Labelled]:
    """Counts of each circuit with its label.

    Parameters
    ----------
    results : Any
        Mapping of labels to counts, `BitArray`, `DataBin` or `PubResult`; a list of such, or a
        `PrimitiveResult`, with `labels`; the data of an experiment of qiskit-experiments (dicts
        with counts and metadata); `Result`, or what its ``to_dict`` gives.
    labels : sequence, optional
        Label of each circuit, where the results have none.
    register : str, optional
        Classical register that holds the outcomes, where there are several.

    Raises
    ------
    InputError
        It is none of these, or circuits without labels.
    """
    place = "qiskit results"
    if all(hasattr(results, name) for name in ("to_dict", "get_counts", "results")):
        results = results.to_dict()
    if isinstance(results, Mapping) and isinstance(results.get("results"), list):
        results = [_of_backend(part, k) for k, part in enumerate(results["results"])]
    if isinstance(results, Mapping):
        if labels is not None:
            raise InputError.expected("labels=", "none, for results by label", "some")
        return [
            Labelled(k, counts_like(v, register, f"counts of {k}"), shots=_shots(v, str(k)))
            for k, v in results.items()
        ]
    if isinstance(results, str) or not isinstance(results, Iterable):
        raise InputError.expected(place, "counts by label", repr(results)[:80])
    parts = list(results)
    if labels is not None and len(labels) != len(parts):
        raise InputError.expected("labels=", f"{len(parts)} labels", f"{len(labels)}")
    out = []
    for k, part in enumerate(parts):
        where = f"circuit {k}"
        metadata = _metadata(part)
        label = labels[k] if labels is not None else _label_of(metadata, where)
        made = counts_like(part, register, where)
        out.append(Labelled(label, made, _bits_of(metadata, where), _shots(part, where)))
    return out


def counts_like(given: Any, register: str | None, place: str) -> Any:
    """Mapping of what holds counts: a mapping, bits of each run, or an object of a sampler."""
    if isinstance(given, Mapping):
        inner = given.get("counts")
        return given if inner is None else counts_like(inner, register, place)
    if isinstance(given, list) and given:
        if not all(isinstance(bits, str) for bits in given):
            raise InputError.expected(
                place,
                "a mapping of bits to counts, or the bits of each run",
                f"a list of {type(given[0]).__name__}",
            )
        return Counter(given)
    if hasattr(given, "get_counts") and hasattr(given, "num_bits"):
        shape = tuple(getattr(given, "shape", ()))
        if any(size != 1 for size in shape):
            raise InputError.expected(
                place,
                "one set of parameters",
                f"an array {shape} of them",
                "Give the counts of each by its label: bit_array.get_counts(k).",
            )
        return given.get_counts()
    data = getattr(given, "data", given)
    if not hasattr(data, "keys"):
        raise InputError.expected(place, "a mapping of bits to counts", type(given).__name__)
    registers = {str(name): data[name] for name in data.keys()}  # noqa: SIM118
    registers = {name: r for name, r in registers.items() if hasattr(r, "get_counts")}
    sizes = ", ".join(f"{name} ({r.num_bits} bits)" for name, r in registers.items())
    if register is not None:
        if register not in registers:
            raise InputError.expected(f"{place}, register=", f"one of {sizes}", repr(register))
        return counts_like(registers[register], None, place)
    if len(registers) != 1:
        raise InputError.expected(
            place,
            "counts of one register",
            sizes or "none",
            "Name it with register=, or join them: result.join_data(), and choose bits with "
            "measured=.",
        )
    return counts_like(next(iter(registers.values())), None, place)


def label_text(label: Any, tuples: str | None) -> str:
    """Label as a text, qubit 0 first.

    Parameters
    ----------
    label : str, or sequence of str
        X, Y, Z in any case; the last letter of a text is qubit 0.
    tuples : {"first", "last"}, optional
        Where qubit 0 stands in a sequence of letters, or in the text of one, "('X', 'Y')".

    Raises
    ------
    InputError
        Other letters, or a sequence that is not the same turned round and nobody said which end
        is qubit 0: qiskit-ignis had it first, texts have it last.
    """
    place = "qiskit results"
    parts: Sequence[Any] | None = None
    if isinstance(label, str):
        text = label.strip().upper()
        if re.fullmatch(r"[(\[].*[)\]]", text):
            parts = re.findall(r"[^\s'\",()\[\]]+", text)
    elif isinstance(label, Sequence):
        parts, text = label, ""
    else:
        raise InputError.expected(place, "labels of X, Y, Z", repr(label)[:80])
    if parts is not None:
        text = "".join(str(part) for part in parts).upper()
        if tuples not in (None, "first", "last"):
            raise InputError.expected("tuples=", "first or last", repr(tuples))
        if tuples is None and text != text[::-1]:
            raise InputError.expected(
                place,
                "labels as texts, whose last letter is qubit 0",
                f"{label!r:.60}, which leaves open where qubit 0 stands",
                "qiskit-ignis has qubit 0 first in its tuples. In Python say tuples='first' or "
                "'last'; in a file join the letters to a text.",
            )
        text = text if tuples == "last" else text[::-1]
    if not re.fullmatch("[XYZ]+", text):
        raise InputError.expected(place, "labels of X, Y, Z", repr(label)[:80])
    return text[::-1]


def _of_backend(part: Any, number: int) -> dict[str, Any]:
    """Circuit of `Result.to_dict`: its counts, and its name and metadata as metadata."""
    if not isinstance(part, Mapping) or not isinstance(part.get("data"), Mapping):
        raise InputError.expected(f"circuit {number}", "data with counts", repr(part)[:60])
    header = part.get("header")
    header = header if isinstance(header, Mapping) else {}
    metadata = header.get("metadata")
    known = dict(metadata) if isinstance(metadata, Mapping) else {}
    return {
        "counts": part["data"].get("counts"),
        "shots": part.get("shots"),
        "metadata": {"label": header.get("name"), **known},
    }


def _shots(part: Any, place: str) -> int | None:
    """Shots beside counts; None where nothing is said."""
    given = part.get("shots") if isinstance(part, Mapping) and "counts" in part else None
    return None if given is None else check_shots(given, f"{place}, shots", 0)


def _metadata(part: Any) -> Mapping[str, Any]:
    """Metadata of a circuit, wherever they stand."""
    found = part.get("metadata") if isinstance(part, Mapping) else getattr(part, "metadata", None)
    if not isinstance(found, Mapping):
        return {}
    inner = found.get("circuit_metadata")
    return inner if isinstance(inner, Mapping) and inner else found


def _label_of(metadata: Mapping[str, Any], place: str) -> Any:
    if any(metadata.get("p_idx") or ()):
        raise InputError.expected(
            place, "tomography of a state", "preparations (p_idx), as of a process"
        )
    if metadata.get("cond_clbits"):
        raise InputError.expected(
            place, "tomography without conditions", f"cond_clbits {metadata['cond_clbits']}"
        )
    index = metadata.get("m_idx")
    if index is not None:
        good = isinstance(index, Sequence) and all(
            isinstance(k, int) and not isinstance(k, bool) and 0 <= k < len(_PAULI) for k in index
        )
        if not good or not index:
            raise InputError.expected(
                f"{place}, m_idx", "0, 1 or 2 (Z, X, Y) of each qubit", repr(index)[:40]
            )
        return "".join(_PAULI[k] for k in reversed(index))
    for name in ("label", "basis", "meas_label", "name"):
        if metadata.get(name) is not None:
            return metadata[name]
    raise InputError.expected(
        place, "a label", "none", "Give labels=[...], one of each circuit, such as 'XZ'."
    )


def _bits_of(metadata: Mapping[str, Any], place: str) -> tuple[int, ...] | None:
    bits = metadata.get("clbits")
    if bits is None:
        return None
    whole = isinstance(bits, Sequence) and all(
        isinstance(k, int) and not isinstance(k, bool) and k >= 0 for k in bits
    )
    if not whole or not bits or len(set(bits)) < len(bits):
        raise InputError.expected(f"{place}, clbits", "different numbers of bits", repr(bits)[:40])
    return tuple(bits)
