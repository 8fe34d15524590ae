"""Preprocessing in every science: raw shards in, one file for each split out, by Dask."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from physml import provenance
from physml.config import upstream
from physml.io.atomic import atomic_directory
from physml.io.shards import ShardWriter, open_shard
from physml.parallel.tasks import in_order
from physml.random import stream

log = logging.getLogger(__name__)

#: Parts of the data, of which each object (cluster, exposure, state) belongs to one.
SPLITS = ("train", "valid", "test")

Arrays = dict[str, NDArray[Any]]


def split_of(number: int, seed: int, valid: float, test: float) -> str:
    """Split of an object, the same at any size of the data set.

    Parameters
    ----------
    number : int
        Number of the cluster, exposure or state: all that is made of it shares its split.
    seed : int
    valid, test : float
        Shares of the two smaller splits.
    """
    draw = stream(seed, "split", int(number)).random()
    return "test" if draw < test else "valid" if draw < test + valid else "train"


def slices(raw: Sequence[Path], spec: Mapping[str, Any], batch: int) -> list[tuple[Any, ...]]:
    """Tasks ``(path, first, last)`` over all samples of shards that were checked.

    Parameters
    ----------
    raw : sequence of Path
        Their order does not matter.
    spec : mapping
        Contents of a raw shard.
    batch : int
        Samples of a task, at most.
    """
    tasks: list[tuple[Any, ...]] = []
    for path in sorted(map(Path, raw)):
        with open_shard(path, spec, verify=True) as shard:
            number = len(shard)
        tasks += [(path, k, min(k + batch, number)) for k in range(0, number, batch)]
    return tasks


def by_split(part: Arrays, key: str, settings: Any) -> dict[str, Arrays]:
    """Rows of a part, apart by the split of the object that they belong to.

    Parameters
    ----------
    part : dict of ndarray
    key : str
        Array that holds the object's number.
    settings : PipelineSettings
        With ``seed``, ``preprocess.valid`` and ``preprocess.test``.
    """
    s = settings.preprocess
    where = np.array([split_of(n, settings.seed, s.valid, s.test) for n in part[key]])
    return {
        split: {name: values[where == split] for name, values in part.items()} for split in SPLITS
    }


def write_prepared(
    task: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    *,
    settings: Any,
    raw: Sequence[Path],
    out: Path,
    threads: int,
    mem_mb: int,
    place: Callable[[Any], Mapping[str, Arrays]],
    names: Iterable[str] = SPLITS,
    tables: tuple[str, ...] = (),
    kind: Literal["threads", "processes"] = "processes",
    check: Callable[[Mapping[str, int]], None] = lambda rows: None,
) -> None:
    """Do all tasks and write what they return into ``out/<name>.h5``, as a whole or not at all.

    A part is written and forgotten as soon as those before it are: memory stays flat.

    Parameters
    ----------
    task : callable
    tasks : sequence of tuple
        Arguments of its calls; the results are taken in this order.
    settings : PipelineSettings
    raw : sequence of Path
        Recorded as inputs.
    out : Path
        Folder to write.
    threads, mem_mb : int
        Local workers and their memory together, MB.
    place : callable
        Arrays by name of a file, of one task's result.
    names : iterable of str
        Files, without ``.h5``.
    tables : tuple of str
        Arrays that are written as tables.
    kind : {"processes", "threads"}
        Local workers.
    check : callable
        Given the rows of each file; raises where the data cannot be trained on.
    """
    parts = in_order(
        task,
        tasks,
        threads=threads,
        mem_mb=mem_mb,
        kind=kind,
        dask=settings.preprocess.dask,
        folder=out.parent,
    )
    record = provenance.record("preprocess", upstream(settings, "preprocess"), {"raw": list(raw)})
    with atomic_directory(out) as folder, contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(
                ShardWriter(folder / f"{name}.h5", provenance=record, tables=tables)
            )
            for name in names
        }
        for part in parts:
            for name, arrays in place(part).items():
                files[name].append(arrays)
        rows = {name: len(file) for name, file in files.items()}
        log.info("%s", ", ".join(f"{name}: {n:,} rows" for name, n in rows.items()))
        check(rows)
