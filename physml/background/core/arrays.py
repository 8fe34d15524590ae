"""Types of arrays by what is in them, and spans of their rows.

``Rows`` are structured, with the columns of the dtype that the text beside them names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[Any]


def spans(start: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Spans of rows behind each other.

    Parameters
    ----------
    start, length : ndarray of int, shape (n,)
        First row and number of rows of each span.

    Returns
    -------
    which, row : ndarray of int, shape (total,)
        Number of the span, and the row.
    """
    which = np.repeat(np.arange(len(length)), length)
    return which, np.arange(len(which)) + np.repeat(start - np.cumsum(length) + length, length)


def bin_of(edges: Floats, values: NDArray[Any]) -> Ints:
    """Numbers of the bins in which values lie; the first and the last for those outside."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
