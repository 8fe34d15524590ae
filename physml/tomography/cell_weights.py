"""Particle cells in the weights file of the pipeline, beside the correctors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physml.exceptions import InputError
from physml.tomography.cell import Cell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

    from physml.tomography.learning_settings import CellSettings

SHIPPED = "weights/tomography.safetensors"


def prefix(d: int) -> str:
    """Beginning of the names of a dimension's tensors in a weights file."""
    return f"{d.bit_length() - 1}_qubits.cell."


def tensors_of(cells: Mapping[int, Cell]) -> dict[str, Tensor]:
    """Tensors of a weights file, of cells by dimension."""
    return {
        prefix(d) + name: value
        for d, cell in cells.items()
        for name, value in cell.state_dict().items()
    }


def sizes(settings: CellSettings) -> dict[str, int]:
    """What the card tells of a cell: arguments of `Cell`."""
    return {
        "width": settings.width,
        "rounds": settings.rounds,
        "proposals": settings.proposals,
    }


def load_cells(path: str | PathLike[str] | None = None) -> tuple[dict[int, Cell], dict[str, Any]]:
    """Cells by dimension, and the card, of a weights file; the shipped ones by default.

    Raises
    ------
    InputError
        Not weights of this pipeline, or there is no cell among them.
    """
    from importlib.resources import as_file, files

    from physml.io.weights import load_weights

    if path is None:
        with as_file(files("physml") / SHIPPED) as shipped:
            return load_cells(shipped)
    tensors, card = load_weights(path)
    if card.get("pipeline") != "tomography":
        raise InputError.expected(
            path, "weights of the pipeline tomography", repr(card.get("pipeline"))
        )
    if not card.get("cell"):
        raise InputError.expected(
            path,
            "weights with a particle cell",
            "none",
            "Train one with `physml tomography train`; train.cell.runs must be above 0.",
        )
    cells = {}
    for qubits, arguments in card["cell"].items():
        d = 1 << int(qubits)
        cell, own = Cell(**arguments), prefix(d)
        part = {k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)}
        try:
            cell.load_state_dict(part)
        except RuntimeError as error:
            raise InputError.expected(path, f"a cell of {qubits} qubits", str(error)) from None
        cells[d] = cell.eval().requires_grad_(False)
    return cells, card
