"""Sources: what hands out raw frames in blocks that fit in memory, however long the whole is.

Whether the numbers are what they have to be is looked at elsewhere (`inspector`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError

from ...core.arrays import Floats, Ints, Rows, Singles
from ..account import Account
from ..times import Told

#: Size of a block of dense frames, as float32.
BLOCK_BYTES = 32 << 20
#: Pixels in a block of sparse frames.
BLOCK_ROWS = 1 << 18
#: Most pixels of a sparse frame.
MAX_FRAME_ROWS = 1 << 21
MAX_SIDE = 1 << 14
#: Largest frame number: 170 years of 5 ms.
MAX_FRAME = 1 << 40
COLUMNS = ("frame", "y", "x", "energy")
#: Dense frames a to b, shape (b - a, ny, nx), or rows a to b.
Cut = Callable[[int, int], Rows]


@dataclass(frozen=True)
class Raw:
    """One block as it is in the source.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        Frame numbers, increasing.
    weight : ndarray of float32, shape (n,), or None
        Weights of the frames.
    values : ndarray
        Images of shape (n, ny, nx), or rows with the columns frame, y, x, energy.
    """

    index: Ints
    weight: Singles | None
    values: Rows


@dataclass
class Source:
    """Frames of one detector, not read yet.

    Attributes
    ----------
    label : str
        Name for messages.
    dense : bool
        Images, or rows of pixels.
    dtype : dtype
        Of the energies.
    shape : tuple of int, or None
        Rows and columns, where the source says so.
    length : int
        Frames of a dense source, pixels of a sparse one: what there is to do.
    complete : bool
        Whether frames that are not listed were not observed. If not, they had no pixels.
    read : callable
        Gives the blocks.
    unit : str or None
        Unit of the energies, where the source says so.
    exposures : structured ndarray or None
        Conditions, see `hdf5`.
    header : Header or None
        Of a FITS file.
    path : Path or None
    weighted : bool
        Whether frames have weights, as those of simulations do.
    told : Told
        What the source tells of the times of its frames.
    good : ndarray, shape (k, 2), or None
        Good time intervals, s, where the source lists them.
    pieces : structured ndarray or None
        `PIECE`: from which frame on frames begin at which time; for several files.
    files : list of Path
        All files, where there are several.
    detector : str or None
        Detector that the format implies, where the user names none.
    account : Account
        What was read, assumed and left out.
    """

    label: str
    dense: bool
    dtype: np.dtype[Any]
    shape: tuple[int, int] | None
    length: int
    complete: bool
    read: Callable[[], Iterator[Raw]]
    unit: str | None = None
    exposures: Rows | None = None
    header: Header | None = None
    path: Path | None = None
    weighted: bool = False
    told: Told = field(default_factory=Told)
    good: Floats | None = None
    pieces: Rows | None = None
    files: list[Path] = field(default_factory=list)
    detector: str | None = None
    account: Account = field(default_factory=lambda: Account(aloud=False))


#: Frames of one file: number of the first, its beginning (s), and the frame time (s).
PIECE = np.dtype([("first", "i8"), ("begin", "f8"), ("step", "f8")])


def check_shape(label: Any, shape: tuple[int, ...]) -> None:
    """Refuse frames that are too small or too large."""
    if min(shape) < 8 or max(shape) > MAX_SIDE:
        raise InputError.expected(
            label, f"frames of 8 to {MAX_SIDE} pixels a side", " x ".join(map(str, shape[::-1]))
        )


def check_real(label: Any, dtype: np.dtype[Any], what: str) -> None:
    """Refuse numbers that are neither whole nor real."""
    if dtype.kind not in "uif":
        raise InputError.expected(label, f"{what} as real numbers", f"dtype {dtype}")


def check_rows(label: Any, dtype: np.dtype[Any]) -> None:
    """Refuse tables without the columns of pixels."""
    names = dtype.names or ()
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputError.expected(
            label,
            f"the columns {', '.join(COLUMNS)}",
            f"{', '.join(map(str, names))}: without {', '.join(missing)}",
            "Name others with columns=, such as frame=F,x=X,y=Y,signal=S.",
        )
    for name in COLUMNS[:3]:
        if dtype[name].kind not in "ui":
            raise InputError.expected(
                label, f"whole numbers in the column {name!r}", f"dtype {dtype[name]}"
            )
    check_real(label, dtype["energy"], "energies")


def block_length(shape: tuple[int, ...]) -> int:
    """Frames in a block of dense frames of shape (n, ny, nx)."""
    return max(1, min(256, BLOCK_BYTES // (4 * int(shape[1]) * int(shape[2]))))


def dense_source(
    label: str, shape: tuple[int, ...], dtype: np.dtype[Any], cut: Cut, **more: Any
) -> Source:
    """Dense source that reads frames a to b with a function.

    Parameters
    ----------
    label : str
    shape : tuple of int
        Frames, rows, columns.
    dtype : dtype
        Of the values that `cut` gives.
    cut : callable
        Gives frames a to b.
    **more
        Other attributes of `Source`.
    """
    check_real(label, dtype, "frames")
    n, step = int(shape[0]), block_length(shape)

    def read() -> Iterator[Raw]:
        for a in range(0, n, step):
            b = min(a + step, n)
            yield Raw(np.arange(a, b, dtype=np.int64), None, cut(a, b))

    return Source(
        label, True, dtype, (int(shape[1]), int(shape[2])), n, complete=True, read=read, **more
    )


def by_frame(label: Any, length: int, cut: Cut) -> Iterator[tuple[Ints, Rows]]:
    """Blocks of sorted rows that end where a frame ends, and their frames.

    Raises
    ------
    InputError
        The rows are not sorted by frame, or numbers of frames or rows are out of range.
    """
    held: Rows | None = None
    last = -1
    for a in range(0, length, BLOCK_ROWS):
        b = min(a + BLOCK_ROWS, length)
        rows = cut(a, b)
        if held is not None:
            rows = np.concatenate([held, rows])
        frame = rows["frame"].astype(np.int64)
        if frame[0] < last or (np.diff(frame) < 0).any():
            k = max(int(np.argmax(np.diff(frame) < 0)), 0)
            raise InputError.expected(
                label,
                "pixels sorted by frame",
                f"frame {frame[min(k + 1, len(frame) - 1)]} after {max(int(frame[k]), last)}",
                "Sort the table by frame, y and x.",
            )
        if frame[0] < 0 or frame[-1] > MAX_FRAME:
            raise InputError.expected(
                label, f"frame numbers from 0 to {MAX_FRAME}", f"{frame[0]} to {frame[-1]}"
            )
        end = len(rows)
        if b < length:  # the last frame may go on in the next block
            end = int(np.searchsorted(frame, frame[-1]))
            if end == 0 and len(rows) > MAX_FRAME_ROWS:
                raise InputError.expected(
                    label,
                    f"frames of at most {MAX_FRAME_ROWS} pixels above the threshold",
                    f"more in frame {frame[0]}",
                )
        held = rows[end:]
        if end == 0:
            continue
        frame, rows = frame[:end], rows[:end]
        last = int(frame[-1])
        yield np.unique(frame), rows
