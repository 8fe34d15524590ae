"""From raw shards to what an estimator sees of each experiment: checked, replayed, split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from physml.exceptions import SettingsError
from physml.stages.preprocess import slices, write_prepared

from .learning.prepared import RAW, file_names, moments_name, prepare
from .settings import TomographySettings


def run(
    *,
    settings: TomographySettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 1500,
) -> None:
    """Write the experiments of each split, and the moments of those that are learned from.

    A stage: arguments as in `physml.pipeline`.
    """

    def enough(rows: Mapping[str, int]) -> None:
        for split in ("train", "valid"):
            for n in settings.simulate.n_qubits:
                if not rows[moments_name(split, n)]:
                    raise SettingsError(
                        f"no experiments of {n} qubits in the split {split}: expected a larger "
                        f"simulate.n_samples, or another share of preprocess.valid"
                    )

    write_prepared(
        partial(prepare, settings=settings),
        slices(raw, RAW, settings.preprocess.batch),
        settings=settings,
        raw=raw,
        out=out,
        threads=threads,
        mem_mb=mem_mb,
        place=lambda part: part,
        names=file_names(settings),
        kind="threads",  # torch's work, which lets other threads run
        check=enough,
    )
