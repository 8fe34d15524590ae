"""Files of weights of the pipeline, and places of networks in them.

In a file each part and dimension has a prefix. The shipped weights are in a file for one and two
qubits and, for those that were trained by a recipe of their own, in others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from torch import Tensor

from physml.models import shipped_weights

#: Numbers of qubits whose shipped weights are in a file of their own: the recipe they are made by.
PRESETS: Mapping[int, str] = MappingProxyType({3: "three_qubits"})


class Part(Protocol):
    """Network that has a place of its own in the file."""

    part: str

    def state_dict(self) -> dict[str, Any]:
        """Its tensors."""


def prefix(d: int, kind: Part | type[Part]) -> str:
    """Beginning of the names of a part's tensors for a dimension, such as ``2_qubits.cell.``."""
    return f"{d.bit_length() - 1}_qubits.{kind.part}"


def named(d: int, module: Part) -> dict[str, Tensor]:
    """Tensors of a part for a dimension, named as in the file."""
    beginning = prefix(d, module)
    return {beginning + name: value for name, value in module.state_dict().items()}


def shipped_file(n_qubits: int) -> Path:
    """Shipped weights for a number of qubits; there may be no network for it in them."""
    return shipped_weights("tomography", PRESETS.get(n_qubits))


def shipped_files(n_qubits: Iterable[int] | None = None) -> list[Path]:
    """Shipped weights, those of one and two qubits first; without files that are not there.

    Parameters
    ----------
    n_qubits : iterable of int, optional
        For these only; by default all.
    """
    wanted = (1, *sorted(PRESETS)) if n_qubits is None else n_qubits
    # In this order, each once.
    found = dict.fromkeys(shipped_file(n) for n in wanted)
    return [path for path in found if path.is_file()]
