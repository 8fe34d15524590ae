"""Simulation: exposures of a detector in orbit, a shard at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import BackgroundSettings


def run(*, settings: BackgroundSettings, shard: int, out: Path) -> None:
    """Simulate one shard and write it as HDF5.

    A stage: arguments as in `physml.pipeline`.
    """
    from physml import provenance
    from physml.config import upstream
    from physml.io.shards import write_shard

    from .core.frames import concatenate
    from .simulator.exposure import simulate_exposure

    s = settings.simulate
    frames = concatenate([simulate_exposure(s, settings.seed, i) for i in s.indices(shard)])
    write_shard(
        out,
        frames.arrays(),
        tables=frames.tables(),
        provenance=provenance.record("simulate", upstream(settings, "simulate"), {}, {}),
    )
