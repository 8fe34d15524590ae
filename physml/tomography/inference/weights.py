"""The weights file of the pipeline: correctors, regions and particle cells, a prefix each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from physml.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

SHIPPED = "weights/tomography.safetensors"


class Part(Protocol):
    """A network that has a place of its own in the file."""

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


def open_weights(
    path: str | PathLike[str] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of a weights file; of the shipped one by default.

    Raises
    ------
    InputError
        Not weights of this pipeline.
    """
    from importlib.resources import as_file, files

    from physml.io.weights import load_weights

    if path is None:
        with as_file(files("physml") / SHIPPED) as shipped:
            return open_weights(shipped)
    tensors, card = load_weights(path)
    if card.get("pipeline") != "tomography" or "networks" not in card:
        raise InputError.expected(
            path, "weights of the pipeline tomography", repr(card.get("pipeline"))
        )
    return tensors, card


def part_of(tensors: Mapping[str, Tensor], d: int, kind: Part | type[Part]) -> dict[str, Tensor]:
    """Tensors of a part of a dimension under their own names; none where it is missing."""
    beginning = prefix(d, kind)
    return {k.removeprefix(beginning): v for k, v in tensors.items() if k.startswith(beginning)}
