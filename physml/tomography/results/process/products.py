"""Files of a process: its numbers, its matrices, its picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physml import provenance
from physml.evaluation.figures import interval_rows, overview_figure, save_figure, style
from physml.io.atomic import write_json, write_text

from ...core.process.channels import Floats, choi_of_unitary, pauli_transfer
from ..matrix_csv import bits, complex_csv, matrix_csv
from .result import ProcessResult


def write_products(result: ProcessResult, folder: Path, record: Mapping[str, Any]) -> None:
    """Write estimate.json, choi.csv, pauli_transfer.csv and overview.png.

    Parameters
    ----------
    result : ProcessResult
    folder : Path
        It exists.
    record : mapping
        Run record.
    """
    body = provenance.jsonable({**result.to_dict(), "provenance": record})
    write_json(folder / "estimate.json", body)
    write_text(folder / "choi.csv", choi_text(result))
    write_text(folder / "pauli_transfer.csv", transfer_text(result))
    save_figure(plot_process(result), folder / "overview.png", provenance=record)


def pauli_labels(n_qubits: int) -> list[str]:
    """Names II, IX, ... of the rows of a Pauli transfer matrix."""
    return ["".join(letters) for letters in product("IXYZ", repeat=n_qubits)]


def choi_text(result: ProcessResult) -> str:
    """Choi matrix as CSV; rows and columns are input and output bits."""
    n = result.records.n_qubits
    return complex_csv(result.choi, [f"{b[:n]}>{b[n:]}" for b in bits(len(result.choi))])


def transfer_text(result: ProcessResult) -> str:
    """Pauli transfer matrix as CSV, with standard deviations."""
    return matrix_csv(
        ("output", "input"),
        pauli_labels(result.records.n_qubits),
        {"value": result.pauli_transfer, "standard_deviation": result.pauli_transfer_errors},
    )


def plot_process(result: ProcessResult) -> Figure:
    """Transfer matrix beside the ideal one, their difference in standard deviations, intervals."""
    notes = [line for text in result.warnings for line in textwrap.wrap(f"! {text}", 165)]
    title = textwrap.fill(f"{result.name}: {result.summary()}", 105)
    figure, grid = overview_figure(
        title,
        notes,
        rows=2,
        columns=2,
        size=(13.0, 11.5),
        note_colour="vermilion",
        left=0.1,
        wspace=0.42,
    )
    measured, errors = result.pauli_transfer, result.pauli_transfer_errors
    with style():
        plot_transfer(measured, figure.add_subplot(grid[0, 0]), "Pauli transfer matrix")
        beside = figure.add_subplot(grid[0, 1])
        below = figure.add_subplot(grid[1, 0])
        if result.target is None:
            plot_transfer(errors, beside, "Standard deviations", float(errors.max()))
            below.set_axis_off()
        else:
            ideal = pauli_transfer(choi_of_unitary(result.target))
            plot_transfer(ideal, beside, "Ideal")
            # Rows of the identity have no error: trace preservation is exact.
            ratio = (measured - ideal) / np.maximum(errors, 1e-9)
            ratio[0] = 0
            limit = max(3.0, float(np.abs(ratio).max()))
            plot_transfer(ratio, below, "Difference (standard deviations)", limit)
        ends = [(each.value, each.low, each.high) for each in result.intervals]
        ax = figure.add_subplot(grid[1, 1])
        interval_rows(ax, [each.name for each in result.intervals], ends, elinewidth=3, capsize=0)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.5, len(ends) - 0.5))
        ax.set_title(f"Estimates with {result.level:.0%} intervals")
    return figure


def plot_transfer(matrix: Floats, ax: Axes, title: str, limit: float = 1.0) -> Axes:
    """Real matrix over Pauli operators as colours, the same for plus and minus `limit`."""
    labels = pauli_labels((len(matrix).bit_length() - 1) // 2)
    drawn = ax.imshow(matrix, cmap="RdBu_r", origin="upper", vmin=-limit, vmax=limit)
    ax.set_xticks(range(len(labels)), labels, rotation=90, size=8)
    ax.set_yticks(range(len(labels)), labels, size=8)
    ax.set(xlabel="input", ylabel="output", title=title)
    ax.grid(False)
    assert isinstance(ax.figure, Figure)
    ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03)
    return ax
