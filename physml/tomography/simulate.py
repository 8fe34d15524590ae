"""Simulate shards of random states with their counts."""

from __future__ import annotations

from pathlib import Path

import torch

from physml import provenance
from physml.config import upstream
from physml.io.shards import write_shard

from .settings import TomographySettings
from .simulator.sample import simulate_batch


def run(*, settings: TomographySettings, shard: int, out: Path) -> None:
    """Simulate one shard and write it as HDF5.

    A stage: arguments as in `physml.pipeline`.
    """
    torch.set_num_threads(1)
    s = settings.simulate
    batch = simulate_batch(s, settings.seed, s.indices(shard))
    record = provenance.record("simulate", upstream(settings, "simulate"), {}, {})
    write_shard(out, batch.arrays(), provenance=record)
