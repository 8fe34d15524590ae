"""Places of networks in the weights file of the pipeline: a prefix for each part and dimension."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


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
