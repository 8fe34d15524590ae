"""From raw shards to training data: source fill, centring, smooth model, split by cluster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

from .simulate import POINT_SOURCE, Batch

if TYPE_CHECKING:
    from .settings import CavitiesSettings

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
COUNTS_MAX = np.iinfo(np.uint16).max


def prepare(
    counts: NDArray,
    exposure: NDArray,
    background: NDArray,
    invalid: NDArray,
    index: NDArray[np.int64],
    seed: int,
) -> dict[str, NDArray]:
    """Fill sources and fit the smooth model of a batch.

    Half of the images, drawn at random, are fitted without knowledge of their background: that
    is how many observations come.

    Parameters
    ----------
    counts, exposure, background : ndarray, shape (n, H, W)
    invalid : ndarray of uint8, shape (n, H, W)
        Bits as in `simulate.Batch`.
    index : ndarray of int, shape (n,)
        Numbers of the images; their random streams follow from it.
    seed : int

    Returns
    -------
    dict
        counts (uint16, sources filled), root_model (float16, square root of the smooth expected
        counts), exposure (float16), invalid (uint8), centre (float32, (n, 2)).
    """
    from .core.halo import fill_sources, find_centre, fit_halo

    filled = np.empty(counts.shape, np.float32)
    known = np.array(background, np.float32)
    for row, number in enumerate(index):
        rng = stream(seed, "preprocess", int(number))
        # Where a source's circle reaches into a gap there is nothing to fill.
        source = (invalid[row] & POINT_SOURCE > 0) & (exposure[row] > 0)
        filled[row] = fill_sources(counts[row], source, rng)
        if rng.random() < 0.5:
            known[row] = 0
    bad = invalid > 0
    centre = find_centre(filled, exposure, bad)
    fit = fit_halo(filled, exposure, known, bad, centre)
    return {
        # A nucleus may hold more than 65,535 counts; there the clipped value changes nothing.
        "counts": np.minimum(filled, COUNTS_MAX).astype(np.uint16),
        # The square root keeps faint and bright pixels within the range of a half float.
        "root_model": np.sqrt(fit.model).astype(np.float16),
        "exposure": np.asarray(exposure, np.float16),
        "invalid": np.asarray(invalid, np.uint8),
        "centre": np.stack([fit.parameters["x"], fit.parameters["y"]], 1).astype(np.float32),
    }


def split_of(cluster: int, seed: int, valid: float, test: float) -> str:
    """Split of a cluster: the same for all its images, at any size of the data set."""
    draw = stream(seed, "split", int(cluster)).random()
    return "test" if draw < test else "valid" if draw < test + valid else "train"


def raw_spec() -> dict[str, Any]:
    """What a raw shard has to hold."""
    from physml.io.shards import Spec

    from .simulate import CAVITY_DTYPE

    image = (None, None, None)
    return {
        "counts": Spec(np.uint32, image),
        "exposure": Spec(np.float16, image),
        "background": Spec(np.float16, image),
        "mask": Spec(np.uint8, image),
        "invalid": Spec(np.uint8, image),
        "cavities": Spec(CAVITY_DTYPE, (None, None)),
        "index": Spec(np.int64, (None,)),
        "cluster": Spec(np.int64, (None,)),
    }


def _part(path: Path, first: int, last: int, seed: int) -> dict[str, NDArray]:
    """One task: read a slice of a shard and prepare it."""
    import torch

    from physml.io.shards import open_shard

    torch.set_num_threads(1)
    with open_shard(path, raw_spec()) as shard:
        raw = {name: shard.read(name, slice(first, last)) for name in raw_spec()}
    made = prepare(
        raw["counts"], raw["exposure"], raw["background"], raw["invalid"], raw["index"], seed
    )
    keep = ("mask", "cavities", "index", "cluster")
    return made | {name: raw[name] for name in keep}


def run(
    *,
    settings: CavitiesSettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 4000,
) -> None:
    """Preprocess all shards with Dask and write train.h5, valid.h5 and test.h5.

    Parameters
    ----------
    settings : CavitiesSettings
    raw : sequence of Path
        Raw shards; their order does not matter.
    out : Path
        Folder to write.
    threads, mem_mb : int
        Local worker processes and their memory together [MB].
    """
    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import atomic_directory
    from physml.io.shards import ShardWriter, open_shard
    from physml.parallel.tasks import in_order

    s = settings.preprocess
    tasks = []
    for path in sorted(map(Path, raw)):
        with open_shard(path, raw_spec(), verify=True) as shard:
            number = len(shard)
        ends = [(k, min(k + s.batch, number)) for k in range(0, number, s.batch)]
        tasks += [(path, first, last, settings.seed) for first, last in ends]
    parts = in_order(_part, tasks, threads=threads, mem_mb=mem_mb, dask=s.dask, folder=out.parent)
    record = provenance.record("preprocess", upstream(settings, "preprocess"), {"raw": list(raw)})
    with atomic_directory(out) as folder, contextlib.ExitStack() as stack:
        files = {
            split: stack.enter_context(
                ShardWriter(folder / f"{split}.h5", provenance=record, tables=("cavities",))
            )
            for split in SPLITS
        }
        # A batch is written and forgotten as soon as those before it are: memory stays flat.
        for part in parts:
            where = np.array([split_of(c, settings.seed, s.valid, s.test) for c in part["cluster"]])
            for split, file in files.items():
                file.append({name: values[where == split] for name, values in part.items()})
        for split, file in files.items():
            log.info("%s: %d images", split, len(file))


def processed_spec() -> dict[str, Any]:
    """What a preprocessed file has to hold."""
    from physml.io.shards import Spec

    from .simulate import CAVITY_DTYPE

    image = (None, None, None)
    return {
        "counts": Spec(np.uint16, image),
        "root_model": Spec(np.float16, image),
        "exposure": Spec(np.float16, image),
        "invalid": Spec(np.uint8, image),
        "mask": Spec(np.uint8, image),
        "centre": Spec(np.float32, (None, 2)),
        "cavities": Spec(CAVITY_DTYPE, (None, None)),
        "index": Spec(np.int64, (None,)),
        "cluster": Spec(np.int64, (None,)),
    }


def prepare_batch(batch: Batch, seed: int) -> dict[str, NDArray]:
    """`prepare` for simulated observations that are still in memory."""
    return prepare(batch.counts, batch.exposure, batch.background, batch.invalid, batch.index, seed)
