"""Preprocessing: events, clusters, truth and windows of raw shards, split by exposure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import BackgroundSettings


def run(
    *,
    settings: BackgroundSettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 4000,
) -> None:
    """Write the members of all sets of each split, and the windows of the source method.

    A stage: arguments as in `physml.pipeline`.

    Raises
    ------
    SettingsError
        A split has no exposure.
    """
    from physml.exceptions import SettingsError
    from physml.stages.preprocess import SPLITS, slices, write_prepared

    from .core.frames import raw_spec
    from .learning.prepared import WINDOWS, Numbering, prepare_shard

    s = settings.preprocess
    shards = slices(raw, raw_spec(), sys.maxsize)
    share = min(1.0, s.windows / max(sum(frames for _, _, frames in shards), 1))

    def check(rows: Mapping[str, int]) -> None:
        for split in SPLITS:
            if rows[split] == 0:
                raise SettingsError(
                    f"no exposure fell into {split!r}: simulate more of them, or raise "
                    f"preprocess.{split} (valid {s.valid}, test {s.test})"
                )

    write_prepared(
        prepare_shard,
        [(path, settings, share) for path, _, _ in shards],
        settings=settings,
        raw=raw,
        out=out,
        threads=threads,
        mem_mb=mem_mb,
        place=Numbering(),
        names=[prefix + split for split in SPLITS for prefix in ("", WINDOWS)],
        check=check,
    )
