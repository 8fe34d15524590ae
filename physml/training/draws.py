"""Random numbers of a whole batch, of which a process uses its share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Draws:
    """Random numbers for the samples of a batch, the same for any share of it.

    All methods draw for the whole batch, along the first axis, and give the share.

    Parameters
    ----------
    rng : numpy.random.Generator
    n : int
        Samples of the whole batch.
    mine : slice
        Places in it that belong to the share.
    """

    def __init__(self, rng: np.random.Generator, n: int, mine: slice = slice(None)) -> None:
        self._rng, self._n, self._mine = rng, n, mine

    def random(self, *shape: int) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1), of a shape for each sample."""
        return self._rng.random((self._n, *shape))[self._mine]

    def uniform(self, low: float, high: float) -> NDArray[np.float64]:
        """Uniform numbers, one for each sample."""
        return self._rng.uniform(low, high, self._n)[self._mine]

    def normal(self, *shape: int, dtype: Any = np.float64) -> NDArray[Any]:
        """Numbers of the standard normal distribution, of a shape for each sample."""
        return self._rng.standard_normal((self._n, *shape), dtype)[self._mine]

    def integers(self, high: int, *shape: int) -> NDArray[np.int64]:
        """Integers from 0 to below a number, of a shape for each sample."""
        return self._rng.integers(high, size=(self._n, *shape))[self._mine]
