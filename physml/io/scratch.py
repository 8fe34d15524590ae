"""Arrays that are made and read again by one job, and are too large for its memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ScratchArray:
    """Rows of a file, read with ordinary reads: pages of a map would count as the job's memory.

    Several processes may write to it, each its own rows, and read it once all have written.

    Parameters
    ----------
    path : Path
        Made, with its full size, if it is not there or of another size.
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._row = math.prod(shape[1:]) * self.dtype.itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never shortened: another process may have written.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, shape[0] * self._row)
        finally:
            os.close(descriptor)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Write rows from one on, to the disk.

        Parameters
        ----------
        first : int
        values : (n, ...) array
        """
        with open(self.path, "r+b") as file:
            file.seek(first * self._row)
            file.write(np.ascontiguousarray(values, self.dtype).data)
            file.flush()
            os.fsync(file.fileno())

    def __getitem__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Read rows.

        Parameters
        ----------
        rows : (n,) int array
            In any order, repeated or not.

        Raises
        ------
        OSError
            The file is shorter than it was.
        """
        out = np.empty((len(rows), self._row), np.uint8)
        with open(self.path, "rb", buffering=0) as file:
            for k, row in enumerate(rows):
                found = os.preadv(file.fileno(), [out[k].data], int(row) * self._row)
                if found != self._row:
                    raise OSError(f"{self.path}: row {row} is not there any more")
        return out.view(self.dtype).reshape(len(rows), *self.shape[1:])

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
