"""From raw shards to training, validation and test states: checked, and split by state."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.random import stream

if TYPE_CHECKING:
    from .settings import TomographySettings

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")

#: How far a state may be from Hermitian, positive and of trace one.
_TOLERANCE = 1e-9


def split_of(index: int, seed: int, valid: float, test: float) -> str:
    """Split of a state: the same at any size of the data set."""
    draw = stream(seed, "split", int(index)).random()
    return "test" if draw < test else "valid" if draw < test + valid else "train"


def spec() -> dict[str, Any]:
    """What raw and preprocessed files have to hold."""
    from physml.io.shards import Spec

    return {
        "index": Spec(np.int64, (None,)),
        "n_qubits": Spec(np.int8, (None,)),
        "ensemble": Spec(np.int8, (None,)),
        "state": Spec(np.float64, (None, None, None, 2)),
        "confusion": Spec(np.float64, (None, None, 2, 2)),
        "drift": Spec(np.float64, (None,)),
        "counts": Spec(np.int64, (None, None, None)),
    }


def processed_spec() -> dict[str, Any]:
    """What a preprocessed file has to hold; see `describe` for what is added."""
    from physml.io.shards import Spec

    return spec() | {
        "eigenvalues": Spec(np.float64, (None, None)),
        "purity": Spec(np.float64, (None,)),
        "copies": Spec(np.int64, (None,)),
    }


def describe(arrays: dict[str, NDArray[Any]], place: Path) -> dict[str, NDArray[Any]]:
    """Check states and counts, and add what they are looked up by.

    Parameters
    ----------
    arrays : dict of ndarray
        As in `simulate.Batch`.
    place : Path
        Named in errors.

    Returns
    -------
    dict
        The same, with eigenvalues (S, d), falling, zero beyond a state's dimension; purity (S,);
        copies (S,), the sum of the counts.

    Raises
    ------
    InputError
        A matrix is no density matrix of its number of qubits, or counts are negative.
    """
    state = arrays["state"][..., 0] + 1j * arrays["state"][..., 1]
    size, largest = state.shape[:2]
    dimension = 1 << arrays["n_qubits"].astype(np.int64)
    if size and (arrays["n_qubits"].min() < 1 or dimension.max() > largest):
        raise InputError.expected(place, f"states of at most d = {largest}", "larger ones")
    beyond = np.arange(largest) >= dimension[:, None]
    values = np.linalg.eigvalsh(0.5 * (state + state.conj().swapaxes(-1, -2)))[:, ::-1]
    faults = {
        "Hermitian matrices": np.abs(state - state.conj().swapaxes(-1, -2)).max((1, 2)),
        "matrices of trace one": np.abs(np.einsum("sii->s", state) - 1),
        "positive matrices": -values.min(-1),
        "zeros beyond the dimension of a state": np.abs(
            state * (beyond[:, :, None] | beyond[:, None, :])
        ).max((1, 2)),
    }
    for wanted, amount in faults.items():
        if size and amount.max() > _TOLERANCE:
            number = int(arrays["index"][amount.argmax()])
            raise InputError.expected(place, wanted, f"state {number}, off by {amount.max():.2g}")
    if size and arrays["counts"].min() < 0:
        raise InputError.expected(place, "counts >= 0", str(arrays["counts"].min()))
    return arrays | {
        "eigenvalues": np.where(beyond, 0, np.clip(values, 0, None)),
        "purity": np.square(np.abs(state)).sum((1, 2)),
        "copies": arrays["counts"].sum((1, 2)),
    }


def _part(path: Path, first: int, last: int) -> dict[str, NDArray[Any]]:
    """One task: read a slice of a shard, check it, describe it."""
    from physml.io.shards import open_shard

    with open_shard(path, spec()) as shard:
        return describe({name: shard.read(name, slice(first, last)) for name in spec()}, path)


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
    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import atomic_directory
    from physml.io.shards import ShardWriter, open_shard
    from physml.parallel.tasks import in_order

    s = settings.preprocess
    tasks = []
    for path in sorted(map(Path, raw)):
        with open_shard(path, spec(), verify=True) as shard:
            number = len(shard)
        tasks += [(path, k, min(k + s.batch, number)) for k in range(0, number, s.batch)]
    parts = in_order(
        _part,
        tasks,
        threads=threads,
        mem_mb=mem_mb,
        kind="threads",  # numpy's work, which lets other threads run
        dask=s.dask,
        folder=out.parent,
    )
    record = provenance.record("preprocess", upstream(settings, "preprocess"), {"raw": list(raw)})
    with atomic_directory(out) as folder, contextlib.ExitStack() as stack:
        files = {
            split: stack.enter_context(ShardWriter(folder / f"{split}.h5", provenance=record))
            for split in SPLITS
        }
        for part in parts:
            where = np.array([split_of(i, settings.seed, s.valid, s.test) for i in part["index"]])
            for split, file in files.items():
                file.append({name: values[where == split] for name, values in part.items()})
        for split, file in files.items():
            log.info("%s: %d states", split, len(file))
