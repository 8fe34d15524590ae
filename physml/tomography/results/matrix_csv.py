"""Matrices as CSV, a line for each element."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def matrix_csv(
    head: Sequence[str], labels: Sequence[str], values: Mapping[str, NDArray[np.float64]]
) -> str:
    """Square matrices of the same rows and columns, side by side.

    Parameters
    ----------
    head : sequence of str
        Names of the columns with the labels: that of the row, and that of the column.
    labels : sequence of str
        Of rows and columns (n,).
    values : mapping of str to ndarray (n, n)
        Written so that they are read again to the bit.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *values])
    for i, row in enumerate(labels):
        for j, column in enumerate(labels):
            writer.writerow([row, column, *(repr(float(v[i, j])) for v in values.values())])
    return text.getvalue()


def complex_csv(matrix: NDArray[np.complex128], labels: Sequence[str]) -> str:
    """Complex matrix (n, n) as row, column, real, imaginary."""
    return matrix_csv(("row", "column"), labels, {"real": matrix.real, "imaginary": matrix.imag})


def bits(size: int) -> list[str]:
    """Binary numbers below a power of two, qubit 0 first."""
    n = size.bit_length() - 1
    return [format(k, f"0{n}b") for k in range(size)]
