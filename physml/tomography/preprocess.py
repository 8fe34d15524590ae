"""From raw shards to training, validation and test states: checked, and split by state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from physml.stages.preprocess import by_split, slices, write_prepared

from .learning.prepared import RAW, prepare
from .settings import TomographySettings


def run(
    *,
    settings: TomographySettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 1500,
) -> None:
    """Preprocess all shards with Dask and write train.h5, valid.h5 and test.h5.

    Parameters
    ----------
    settings : TomographySettings
    raw : sequence of Path
        Raw shards; their order does not matter.
    out : Path
        Folder to write.
    threads, mem_mb : int
        Local worker threads and the memory of all together, MB.
    """
    write_prepared(
        prepare,
        slices(raw, RAW, settings.preprocess.batch),
        settings=settings,
        raw=raw,
        out=out,
        threads=threads,
        mem_mb=mem_mb,
        place=partial(by_split, key="index", settings=settings),
        kind="threads",  # numpy's work, which lets other threads run
    )
