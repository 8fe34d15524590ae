"""All methods on all lists of states, beside each other.

Each list is worked on in batches, by each method with the same random streams. Batches and methods
are tasks of Dask where there are several workers, and done one after the other where there is one;
the results are the same.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physml.parallel.tasks import client
from physml.random import stream

from ..core.schedule import marks_of
from ..inference.neural.loading import load
from ..learning.prepared import read_states
from ..settings import NEURAL, EvaluateSettings
from . import latency
from .methods import Outcome, method, run_method
from .scores import scores
from .sets import LISTS, evaluation_list

log = logging.getLogger(__name__)

TEST = "test"
#: Random streams set apart for each list.
_STRIDE = 1_000


def list_number(place: str) -> int:
    """Place of a list among the random streams: by its name, whichever others there are."""
    return zlib.crc32(place.encode())


@dataclass(frozen=True)
class Job:
    """One method on a batch of a list.

    Attributes
    ----------
    place : str
        Name of the list.
    method : str
    batch : int
        Number of the batch within the list.
    rho : Tensor (S, d, d)
    marks : tuple of int
    seed, index : int
        Of its random stream; the same for all methods.
    level : float
    weights : Path or None
    """

    place: str
    method: str
    batch: int
    rho: Tensor
    marks: tuple[int, ...]
    seed: int
    index: int
    level: float
    weights: Path | None

    def __call__(self) -> Outcome:
        """Do it, on one thread: more are slower on matrices as small as these."""
        torch.set_num_threads(1)
        rng = stream(self.seed, "evaluate", self.index)
        how = method(self.method, self.weights)
        return run_method(how, self.rho, self.marks, rng, self.level)


def frozen_lists(
    n_states: int, qubits: Sequence[int], draw: Callable[[str, int, int], Tensor] = evaluation_list
) -> dict[str, Tensor]:
    """Evaluation lists (S, d, d) by name, such as "2 qubits, hs".

    Parameters
    ----------
    n_states : int
        S of each.
    qubits : sequence of int
    draw : callable
        `evaluation_list`, or another of `sets`, such as `coverage_list`.
    """
    return {
        list_name(name, n): draw(name, n, n_states) for n in qubits for name in LISTS.get(n, ())
    }


def list_name(name: str, n_qubits: int) -> str:
    """Name of a list in the results."""
    return f"{n_qubits} qubit{'' if n_qubits == 1 else 's'}, {name}"


def jobs_of(
    lists: Mapping[str, Tensor],
    settings: EvaluateSettings,
    seed: int,
    weights: Path | None,
    only_ours: Sequence[str] = (),
) -> list[Job]:
    """Everything to do, the longest first.

    Parameters
    ----------
    lists : mapping
        Name -> states (S, d, d).
    settings : EvaluateSettings
    seed : int
    weights : Path or None
    only_ours : sequence of str
        Lists that only the learned estimator is evaluated on.
    """
    marks, size = marks_of(settings.copies), settings.batch
    made = [
        Job(
            *(place, name, k, part, marks, seed, list_number(place) * _STRIDE + k),
            settings.level,
            weights,
        )
        for place, rho in lists.items()
        for name in settings.methods
        if name in NEURAL or place not in only_ours
        for k, part in enumerate(rho.split(size))
    ]
    # A worker must not begin with the slowest when all others are done.
    return sorted(made, key=lambda job: "particle" not in job.method)


def work(jobs: Sequence[Job], threads: int, mem_mb: int) -> Iterator[tuple[Job, Outcome]]:
    """Do all jobs; gives each when it is done."""
    if threads == 1:
        for job in jobs:
            yield job, job()
        return
    from distributed import as_completed

    with client(threads, mem_mb, kind="processes") as workers:
        futures = {
            workers.submit(job, key=f"{job.place}, {job.method}, {job.batch}", pure=False): job
            for job in jobs
        }
        # The client is nobody's default, so its loop has to be named.
        for future, outcome in as_completed(list(futures), loop=workers.loop, with_results=True):
            yield futures[future], outcome


def compare(
    lists: Mapping[str, Tensor],
    settings: EvaluateSettings,
    seed: int,
    *,
    weights: Path | None = None,
    threads: int = 1,
    mem_mb: int = 2000,
    only_ours: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate all methods on all lists.

    Parameters
    ----------
    lists : mapping
        Name -> states (S, d, d).
    settings : EvaluateSettings
    seed : int
    weights : Path, optional
        Of the learned estimator; the shipped ones by default.
    threads, mem_mb : int
        Worker processes and their memory together.
    only_ours : sequence of str
        Lists that only the learned estimator is evaluated on.

    Returns
    -------
    dict
        List -> ``name``, ``n_qubits``, ``states`` and ``methods``: method -> `scores.scores`.
    """
    found = outcomes(
        lists,
        settings,
        seed,
        weights=weights,
        threads=threads,
        mem_mb=mem_mb,
        only_ours=only_ours,
    )
    marks = marks_of(settings.copies)
    out: dict[str, Any] = {}
    for place, rho in lists.items():
        # The same resamples for all methods.
        methods = {
            name: scores(
                whole,
                marks,
                replicas=settings.bootstrap,
                rng=stream(seed, "bootstrap", list_number(place)),
            )
            for name, whole in found[place].items()
        }
        out[place] = {
            "name": place.partition(", ")[2],
            "n_qubits": rho.shape[-1].bit_length() - 1,
            "states": len(rho),
            "methods": methods,
        }
    return out


def outcomes(
    lists: Mapping[str, Tensor],
    settings: EvaluateSettings,
    seed: int,
    *,
    weights: Path | None = None,
    threads: int = 1,
    mem_mb: int = 2000,
    only_ours: Sequence[str] = (),
) -> dict[str, dict[str, Outcome]]:
    """Run all methods on all lists: list -> method -> outcome of each state.

    Parameters are those of `compare`.
    """
    parts: dict[tuple[str, str], dict[int, Outcome]] = {}
    jobs = jobs_of(lists, settings, seed, weights, only_ours)
    began = time.monotonic()
    for number, (job, outcome) in enumerate(work(jobs, threads, mem_mb), start=1):
        parts.setdefault((job.place, job.method), {})[job.batch] = outcome
        log.debug("%d of %d: %s, %s", number, len(jobs), job.place, job.method)
    log.info("%d experiments in %.0f s", len(jobs), time.monotonic() - began)
    return {
        place: {
            name: Outcome.join([parts[place, name][k] for k in sorted(parts[place, name])])
            for name in settings.methods
            if (place, name) in parts
        }
        for place in lists
    }


def qubits_of(weights: Path | None) -> list[int]:
    """Numbers of qubits that weights are for."""
    return sorted(d.bit_length() - 1 for d in load(weights)[0])


def split_lists(data: Path, qubits: Sequence[int], n_states: int) -> dict[str, Tensor]:
    """States of the test split, which are drawn as those of the training."""
    return {list_name(TEST, n): read_states(data / "test.h5", n)[:n_states] for n in qubits}


def evaluate_all(
    settings: EvaluateSettings,
    seed: int,
    *,
    weights: Path | None = None,
    data: Path | None = None,
    threads: int = 1,
    mem_mb: int = 2000,
) -> dict[str, Any]:
    """All numbers, ready for JSON.

    Parameters
    ----------
    settings : EvaluateSettings
    seed : int
    weights : Path, optional
        The shipped ones by default.
    data : Path, optional
        Folder with test.h5.
    threads, mem_mb : int

    Returns
    -------
    dict
        ``copies`` (the marks), ``level``, ``lists`` (see `compare`), ``latency``.
    """
    qubits = qubits_of(weights)
    lists = frozen_lists(settings.states, qubits)
    tests = {} if data is None else split_lists(data, qubits, settings.test)
    found = compare(
        lists | tests,
        settings,
        seed,
        weights=weights,
        threads=threads,
        mem_mb=mem_mb,
        only_ours=list(tests),
    )
    return {
        "copies": list(marks_of(settings.copies)),
        "level": settings.level,
        "lists": found,
        # Alone, when no worker is busy any more.
        "latency": latency.latency(weights, settings.timed, seed, n_qubits=max(qubits)),
    }
