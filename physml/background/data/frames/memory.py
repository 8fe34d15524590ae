"""Frames in memory: arrays of images, structured arrays and tables of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Rows
from .source import COLUMNS, Raw, Source, by_frame, check_rows, check_shape, dense_source


def open_memory(frames: Any) -> Source:
    """Source of an array of images, or of a table of pixels in any order.

    Parameters
    ----------
    frames : ndarray, Quantity, structured ndarray or Table
        Shape (frame, y, x), or rows with the columns frame, y, x, energy.

    Raises
    ------
    InputError
        It is none of these.
    """
    if hasattr(frames, "colnames"):  # astropy Table
        return _open_table(frames)
    if not hasattr(frames, "__array__") and not isinstance(frames, list | tuple):
        raise InputError.expected(
            "frames",
            "a path, an array (frame, y, x) in keV, or a table with the columns "
            + ", ".join(COLUMNS),
            type(frames).__name__,
        )
    unit = str(frames.unit) if getattr(frames, "unit", None) is not None else None
    try:
        values = np.asarray(frames)
    except (TypeError, ValueError) as error:
        raise InputError.expected("frames", "an array of numbers", str(error)) from error
    if values.dtype.names:
        return open_rows(values, None)
    if values.ndim != 3:
        hint = "One frame alone is frames[None]." if values.ndim == 2 else None
        raise InputError.expected("frames", "axes (frame, y, x)", f"shape {values.shape}", hint)
    check_shape("frames", values.shape[1:])
    source = dense_source("frames", values.shape, values.dtype, lambda a, b: values[a:b], unit=unit)
    source.account.read("input", f"array of {len(values)} frames")
    return source


def _open_table(table: Any) -> Source:
    check_rows("frames", np.dtype([(n, np.asarray(table[n]).dtype) for n in table.colnames]))
    unit = table["energy"].unit
    masked = [name for name in COLUMNS if np.any(getattr(table[name], "mask", False))]
    if masked:
        raise InputError.expected("frames", "a table without missing values", f"some in {masked}")
    columns = [np.asarray(table[name]) for name in COLUMNS]
    rows = np.empty(len(table), [(n, c.dtype) for n, c in zip(COLUMNS, columns, strict=True)])
    for name, column in zip(COLUMNS, columns, strict=True):
        rows[name] = column
    return open_rows(rows, None if unit is None else str(unit))


def open_rows(rows: Rows, unit: str | None) -> Source:
    """Source of a structured array, in any order."""
    rows = rows.reshape(-1)
    check_rows("frames", rows.dtype)
    ordered = rows[np.lexsort((rows["x"], rows["y"], rows["frame"]))]

    def read() -> Iterator[Raw]:
        for index, part in by_frame("frames", len(ordered), lambda a, b: ordered[a:b]):
            yield Raw(index, None, part)

    source = Source(
        "frames", False, rows.dtype["energy"], None, len(rows), complete=False, read=read, unit=unit
    )
    source.account.read("input", f"table of {len(rows)} pixels")
    return source
