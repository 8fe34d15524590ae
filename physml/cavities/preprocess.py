"""Stage of the chain: raw shards in, images with their smooth models out, split by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physml.stages.preprocess import by_split, slices, write_prepared

from .learning.prepared import RAW, prepare_slice
from .settings import CavitiesSettings


def run(
    *,
    settings: CavitiesSettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 4000,
) -> None:
    """Write train.h5, valid.h5 and test.h5, split by cluster.

    A stage: arguments as in `physml.pipeline`.
    """
    write_prepared(
        prepare_slice,
        [(*part, settings.seed) for part in slices(raw, RAW, settings.preprocess.batch)],
        settings=settings,
        raw=raw,
        out=out,
        threads=threads,
        mem_mb=mem_mb,
        place=lambda part: by_split(part, "cluster", settings),
        tables=("cavities",),
    )
