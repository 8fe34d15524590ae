"""How copies are spent: blocks of growing size, and the numbers of copies at which one looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Numbers of copies at which estimates are evaluated.
MARKS = (100, 1_000, 10_000, 100_000)


def schedule(n_max: int, first: int = 3, growth: float = 1.1) -> list[int]:
    """Sizes of the blocks in which copies are measured.

    Each block is 10 % larger than the one before, so that their number grows as log(copies); the
    powers of ten from 100 on, and `n_max`, are ends of blocks.

    Parameters
    ----------
    n_max : int
        Copies in all, >= 1.
    first : int
        Copies of the first block.
    growth : float
        Size of a block over that of the one before, > 1.

    Returns
    -------
    list of int
        They sum to `n_max`.
    """
    if n_max < 1 or first < 1 or growth <= 1:
        raise ValueError(f"expected n_max, first >= 1, growth > 1; got {n_max}, {first}, {growth}")
    # Numbers in Python, as copies may be 1e12 and more.
    stops = sorted({10**k for k in range(2, len(str(n_max)))} | {n_max})
    sizes: list[int] = []
    spent, size = 0, float(first)
    for stop in (s for s in stops if s <= n_max):
        while spent < stop:
            block = round(size)
            # What would be left for a last block of less than half the size joins this one.
            if spent + 1.5 * block >= stop:
                block = stop - spent
            sizes.append(block)
            spent += block
            size *= growth
    return sizes


def ends(blocks: Sequence[int]) -> NDArray[np.int64]:
    """Copies spent at the end of each block, (len(blocks),)."""
    return np.cumsum(np.asarray(blocks, np.int64))


def marks_of(copies: int) -> tuple[int, ...]:
    """Powers of ten from 100 on, and the end."""
    return (*(10**k for k in range(2, len(str(copies))) if 10**k < copies), copies)


def decades(blocks: Sequence[int]) -> list[int]:
    """Powers of ten, from 100 on, at which a block ends; the last end where there are none."""
    stops = ends(blocks).tolist()
    powers = {10**k for k in range(2, 16)}
    return [stop for stop in stops if stop in powers] or [stops[-1]]
