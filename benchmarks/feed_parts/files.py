"""Files of many prepared images, made of few: chunks are copied as they are packed."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from physml.cavities import preprocess, simulate
from physml.cavities.learning.prepared import PREPARED
from physml.cavities.settings import CavitiesSettings
from physml.cavities.simulator.batch import CAVITY_DTYPE
from physml.io.shards import write_shard


def simulated(folder: Path, n: int) -> Path:
    """Simulate and preprocess images as the chain does; the file of those to train on."""
    settings = CavitiesSettings.model_validate({"simulate": {"n_samples": n, "shard_size": n}})
    simulate.run(settings=settings, shard=0, out=folder / "raw.h5")
    raw, out = [folder / "raw.h5"], folder / "prepared"
    preprocess.run(settings=settings, raw=raw, out=out, threads=1)
    return out / "train.h5"


def blank(folder: Path) -> Path:
    """File of one image without counts, which packs into next to nothing."""
    image = (1, 128, 128)
    arrays = {
        "counts": np.zeros(image, np.uint16),
        "root_model": np.zeros(image, np.float16),
        "exposure": np.zeros(image, np.float16),
        "invalid": np.zeros(image, np.uint8),
        "mask": np.zeros(image, np.uint8),
        "centre": np.full((1, 2), 63.5, np.float32),
        "index": np.zeros(1, np.int64),
        "cluster": np.zeros(1, np.int64),
    }
    tables = {"cavities": np.zeros((1, 6), CAVITY_DTYPE)}
    write_shard(folder / "blank.h5", arrays, tables=tables, provenance={})
    return folder / "blank.h5"


def repeated(source: Path, n: int, path: Path) -> Path:
    """File of n images: those of another, again and again, under new numbers."""
    with h5py.File(source) as few, h5py.File(path, "w") as many:
        for name in PREPARED:
            old = few[name]
            rest = old.shape[1:]
            if old.chunks[0] > 1:
                rows = max(1, 4096 // max(1, old.dtype.itemsize * int(np.prod(rest))))
                new = many.create_dataset(
                    name, (n, *rest), old.dtype, chunks=(rows, *rest), compression=1, shuffle=True
                )
                # In blocks: the table of a million images is half a gigabyte.
                values, block = old[:], 64 * rows
                for first in range(0, n, block):
                    which = np.arange(first, min(first + block, n))
                    numbered = name in ("index", "cluster")
                    new[first : first + block] = which if numbered else values[which % len(values)]
                continue
            new = many.create_dataset(
                name, (n, *rest), old.dtype, chunks=(1, *rest), compression=1, shuffle=True
            )
            zeros = (0,) * len(rest)
            chunks = [old.id.read_direct_chunk((k, *zeros))[1] for k in range(len(old))]
            for k in range(n):
                new.id.write_direct_chunk((k, *zeros), chunks[k % len(chunks)])
    return path
