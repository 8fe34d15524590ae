"""Files of a result: its state, its counts, its picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physml import provenance
from physml.evaluation.figures import save_figure
from physml.io.atomic import write_json, write_text

from ..data.records_file import save_records
from . import overview
from .matrix_csv import bits, complex_csv
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
    rho = result.density_matrix
    write_text(folder / "density_matrix.csv", complex_csv(rho, bits(len(rho))))
    save_records(result.records, folder / "records.h5")
    save_figure(overview.plot_overview(result), folder / "overview.png", provenance=record)
