"""Files of a result: its state, its counts, its picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml import provenance
from physml.evaluation.figures import save_figure
from physml.io.atomic import write_json, write_text

from ..data.records_file import save_records
from . import overview
from .result import TomographyResult


def write_products(result: TomographyResult, folder: Path, record: Mapping[str, Any]) -> None:
    """Write estimate.json and what `write_state` writes.

    Parameters
    ----------
    result : TomographyResult
    folder : Path
        It exists.
    record : mapping
        Run record.
    """
    body = provenance.jsonable({**result.to_dict(), "provenance": record})
    write_json(folder / "estimate.json", body)
    write_state(result, folder, record)


def write_state(result: TomographyResult, folder: Path, record: Mapping[str, Any]) -> None:
    """Write density_matrix.csv, records.h5 and overview.png; see `write_products`."""
    write_text(folder / "density_matrix.csv", matrix_text(result.density_matrix))
    save_records(result.records, folder / "records.h5")
    save_figure(overview.plot_overview(result), folder / "overview.png", provenance=record)


def matrix_text(rho: NDArray[np.complex128]) -> str:
    """Matrix as CSV: row, column, real, imaginary; rows and columns as bits, qubit 0 first."""
    n = rho.shape[0].bit_length() - 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "real", "imaginary"])
    for i, row in enumerate(rho):
        for j, value in enumerate(row):
            cells = [format(k, f"0{n}b") for k in (i, j)]
            writer.writerow([*cells, repr(float(value.real)), repr(float(value.imag))])
    return text.getvalue()
