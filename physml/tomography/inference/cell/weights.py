"""Particle cells in the weights file of the pipeline, beside the correctors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physml.exceptions import InputError

from ..weights import open_weights, part_of
from .cell import Cell

if TYPE_CHECKING:
    from os import PathLike

    from ...settings import CellSettings


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
    tensors, card = open_weights(path)
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
        cell = Cell(**arguments)
        try:
            cell.load_state_dict(part_of(tensors, d, Cell))
        except RuntimeError as error:
            raise InputError.expected(path, f"a cell of {qubits} qubits", str(error)) from None
        cells[d] = cell.eval().requires_grad_(False)
    return cells, card
