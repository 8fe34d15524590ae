"""Processor time, which does not depend on what else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


def cpu_seconds(
    work: Callable[[], object],
    rounds: int = 3,
    *,
    warm_up: bool = False,
    of: Callable[[Sequence[float]], float] = np.median,
) -> float:
    """CPU time of all threads of this process for some work.

    Parameters
    ----------
    work : callable
    rounds : int
        Calls.
    warm_up : bool
        One call before these is not counted.
    of : callable
        What is taken of the times of all calls.
    """
    if warm_up:
        work()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return float(of(times))
