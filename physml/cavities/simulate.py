"""Stage of the chain: simulated observations of galaxy clusters, a shard at a time."""

from __future__ import annotations

from pathlib import Path

from physml import provenance
from physml.config import upstream
from physml.io.shards import write_shard

from .settings import CavitiesSettings
from .simulator.batch import simulate_batch


def run(*, settings: CavitiesSettings, shard: int, out: Path) -> None:
    """Simulate one shard and write it as HDF5.

    A stage: arguments as in `physml.pipeline`.
    """
    indices = settings.simulate.indices(shard)
    whole = vars(simulate_batch(settings.simulate, settings.seed, indices))
    write_shard(
        out,
        {name: values for name, values in whole.items() if values.dtype.names is None},
        tables={name: values for name, values in whole.items() if values.dtype.names},
        provenance=provenance.record("simulate", upstream(settings, "simulate")),
    )
