"""Work for workers on other nodes, which know physml but not its tests: found by its folder."""

from __future__ import annotations

import time

from physml.random import stream


def slowly(index: int) -> float:
    """Half a second for a number that tells whether it was done right."""
    time.sleep(0.5)
    return float(stream(5, "simulate", index).normal())
