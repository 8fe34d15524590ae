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
    """Write train.h5, valid.h5 and test.h5, split by state.

    A stage: arguments as in `physml.pipeline`.
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
