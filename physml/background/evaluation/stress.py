"""Conditions outside of the ordinary, under which promises have to hold as well.

Each differs from the nominal condition (the far housing) in one thing. Cuts are those of the
weights; nothing is tuned. A gain error, more noise or another modulation is not told to the
network; frame time, thresholds and bad columns are known to whoever finds the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.arrays import Bools
from ..core.frames import Frames

NOMINAL = "nominal"
BAD_COLUMNS = "bad columns"
FAINT = "faint source"
#: Number of columns that are masked.
N_BAD = 12
#: Condition -> what it changes in `settings.ConditionsPrior`.
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    NOMINAL: {},
    "gain -3 %": {"gain": (0.97, 0.97)},
    "gain +3 %": {"gain": (1.03, 1.03)},
    "noise x2": {"noise": (2.0, 2.0), "nominal": 0.0},
    "threshold 100 eV": {"threshold": (2.0, 2.0), "nominal": 0.0},
    "threshold 150 eV": {"threshold": (3.0, 3.0), "nominal": 0.0},
    "phi 0.3": {"phi": (0.3, 0.3)},
    "phi 0.8": {"phi": (0.8, 0.8)},
    "phi 1.2": {"phi": (1.2, 1.2)},
    "frames of 2 ms": {"frame_time": (0.4, 0.4)},
    "frames of 20 ms": {"frame_time": (4.0, 4.0)},
    "stand-off 5 mm": {"standoff": (5.0, 5.0), "gap": (5.0, 5.0)},
    "stand-off 10 mm": {"standoff": (10.0, 10.0)},
    "stand-off 30 mm": {"standoff": (30.0, 30.0)},
    "shield 5 mm": {"shield": (5.0, 5.0)},
    "shield 40 mm": {"shield": (40.0, 40.0)},
    FAINT: {"photons": (0.05, 0.05)},
    "bright source": {"photons": (30.0, 30.0)},
    BAD_COLUMNS: {},
}


def bad_columns(shape: tuple[int, int], rng: np.random.Generator) -> Bools:
    """Mask of columns that are bad, shape (ny, nx)."""
    mask = np.zeros(shape, bool)
    mask[:, rng.choice(shape[1], min(N_BAD, shape[1] // 2), replace=False)] = True
    return mask


def without(frames: Frames, bad: Bools) -> Frames:
    """Frames in which bad pixels are silent."""
    p = frames.pixels
    return replace(frames, pixels=p[~bad[p["y"], p["x"]]])
