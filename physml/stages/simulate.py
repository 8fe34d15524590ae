"""Where a simulator's numbers stop being numbers, and which sample did it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import NonFiniteError


def require_finite(what: str, values: NDArray, samples: Iterable[int]) -> None:
    """Stop where a value is NaN or infinite: nothing is drawn from it and nothing written.

    Parameters
    ----------
    what : str
        Name of the values, for the message.
    values : ndarray, shape (n, ...)
        Numbers, or a table of them.
    samples : iterable of int
        Number of each of the n samples; or of the one sample that all values are of.

    Raises
    ------
    NonFiniteError
        With the numbers of the samples at fault. The same settings, seed and number give the
        same sample again, alone: that is where to look.
    """
    if values.dtype.names:
        for name in values.dtype.names:
            require_finite(f"{name} of {what}", values[name], samples)
        return
    if values.dtype.kind not in "fc":
        return
    finite = np.isfinite(values)
    if finite.all():
        return
    ids = list(samples)
    if len(ids) == 1:
        bad = ids
    else:
        rows = finite.reshape(len(values), -1).all(1)
        bad = [number for number, good in zip(ids, rows, strict=True) if not good]
    raise NonFiniteError(
        f"simulation: {what}: found {values[~finite].flat[0]} where a finite number belongs",
        sample_ids=bad,
    )
