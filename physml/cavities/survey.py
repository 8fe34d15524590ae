"""A survey: the search of a list of targets, which can be stopped and taken up at any time.

Each target's products are written as a whole into a folder of their own, with a mark of all that
they were made from: its row, its files, the weights. A target whose folder bears the mark of today
is not searched again. Tables and page are made from the folders, so that they do not depend on how
often the survey was stopped.

>>> from physml.cavities.survey import run_survey
>>> survey = run_survey("targets.ecsv", "out")                # doctest: +SKIP
>>> survey.cavities["target", "ra", "dec", "probability"]     # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import physml
from physml import provenance
from physml.exceptions import InputError, OutputError, PhysmlError
from physml.io.atomic import atomic_directory, read_json, refuse_existing, write_json
from physml.progress import show_progress

from .data.inputs import check_arguments
from .data.literature import KnownCavity, of_targets, plain_name, read_literature
from .data.targets import FILES, Target, read_targets
from .predict import CavityPredictor
from .results.survey.collected import Survey, collect, folder_of, write_survey
from .results.survey.outcome import OUTCOME, THUMBNAIL, outcome, write_thumbnail
from .results.survey.recall import compare

log = logging.getLogger(__name__)

#: File that marks a folder as a survey's, and the one that its run holds locked.
MARK, LOCK = "survey.json", ".lock"
#: Raised when what stands in the folders of targets is another.
VERSION = 1
#: Arguments of a search that are the survey's, not a target's.
NOT_OF_A_TARGET = ("self", "image", "seed", "recovery", "progress", "on_skip")


@dataclass(frozen=True)
class Job:
    """Search of one target.

    Attributes
    ----------
    target : Target
    folder : Path
        Of its products.
    known : list of KnownCavity
        The literature's cavities of it.
    seed, recovery : int
        As of `CavityPredictor.predict`.
    mark : str
        Digest of all that the products are made from.
    """

    target: Target
    folder: Path
    known: list[KnownCavity]
    seed: int
    recovery: int
    mark: str


def run_survey(
    targets: str | PathLike[str],
    output: str | PathLike[str],
    *,
    literature: str | PathLike[str] | None = None,
    literature_columns: Mapping[str, str] | None = None,
    weights: str | PathLike[str] | None = None,
    processes: int = 1,
    threads: int | None = None,
    recovery: int = 0,
    seed: int = 0,
    again: bool = False,
    progress: bool | None = None,
) -> Survey:
    """Search the targets of a list; those that an earlier run has searched are kept.

    A target that fails is told at the end, and does not stop the others.

    Parameters
    ----------
    targets : path
        List, see `read_targets`; its columns may be any argument of `CavityPredictor.predict`.
    output : path
        Folder of the survey: a new one, or one that a survey has begun.
    literature : path, optional
        Table of known cavities, see `read_literature`.
    literature_columns : mapping, optional
        Its columns by kind, where their names do not say so.
    weights : path, optional
        Weights; the shipped ones by default.
    processes : int
        Targets searched at a time, each in a process of its own.
    threads : int, optional
        CPU threads of all of them together.
    recovery : int
        Draws of each image's smooth model that measure its completeness; 0 for none.
    seed : int
        Seed of filled sources and of these draws.
    again : bool
        Search all targets again.
    progress : bool, optional
        Show a progress bar; by default on a terminal.

    Raises
    ------
    InputError
        A list, a table or weights that cannot be used.
    OutputError
        The folder holds something else, or another survey is at work in it.
    """
    options = set(inspect.signature(CavityPredictor.predict).parameters) - set(NOT_OF_A_TARGET)
    chosen = read_targets(targets, options)
    known = read_literature(literature, literature_columns) if literature else []
    predictor = CavityPredictor.load(weights)
    folder = Path(output)
    with _taken(folder):
        by_name = of_targets(known)
        jobs = [_job(target, folder, by_name, seed, recovery, predictor.card) for target in chosen]
        waiting = [job for job in jobs if again or not _is_done(job)]
        if len(waiting) < len(jobs):
            log.info("%d of %d targets are searched already", len(jobs) - len(waiting), len(jobs))
        failed, bad_input = {}, True
        wanted = True if progress is None else progress
        with show_progress("targets", len(waiting), wanted) as advance:
            searched = _search(waiting, predictor, weights, processes, threads)
            for number, (job, message, is_input) in enumerate(searched, start=1):
                advance(1)
                place = f"{number} of {len(waiting)}: {job.target.name}"
                if message is None:
                    log.info("%s: %s", place, read_json(job.folder / OUTCOME)["summary"])
                else:
                    log.warning("%s: not searched: %s", place, message)
                    failed[job.target.name] = message
                    bad_input = bad_input and is_input
        inputs = {"targets": Path(targets)} | (
            {"literature": Path(literature)} if literature else {}
        )
        settings = {"recovery": recovery, "seed": seed, "weights": predictor.card.get("sha256")}
        record = provenance.record("survey", settings, inputs=inputs)
        survey = collect(folder, chosen, known if literature else None, failed)
        survey.bad_input = bad_input
        digest = str(predictor.card.get("sha256", predictor.card.get("name", "")))
        write_survey(survey, Path(targets).stem, record, digest[:12])
    return survey


def _job(
    target: Target,
    folder: Path,
    known: Mapping[str, list[KnownCavity]],
    seed: int,
    recovery: int,
    card: Mapping[str, Any],
) -> Job:
    of_target = known.get(plain_name(target.literature), [])
    made_from = {
        "version": VERSION,
        "physml": physml.__version__,
        "weights": card.get("sha256", card.get("name")),
        "image": _content(target.image),
        "options": {
            name: _content(value) if name in FILES else value
            for name, value in sorted(target.options.items())
        },
        "known": [one.described() for one in of_target],
        "seed": seed,
        "recovery": recovery,
    }
    text = json.dumps(provenance.jsonable(made_from), sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()
    return Job(target, folder_of(folder, target), of_target, seed, recovery, mark)


def _content(path: Path) -> Any:
    """What a file holds, or which files a folder does; a file may come with its ``[extension]``."""
    plain = Path(re.sub(r"\[[^\]]*\]$", "", str(path)))
    if plain.is_file():
        return [path.name, provenance.sha256(plain)]
    if plain.is_dir():
        return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(plain.iterdir())]
    return [path.name, None]


def _is_done(job: Job) -> bool:
    try:
        return read_json(job.folder / OUTCOME)["mark"] == job.mark
    except (InputError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """Hold the folder of a survey, which is made where it is not there."""
    if not (folder / MARK).is_file():
        refuse_existing(folder)
        write_json(folder / MARK, {"physml": physml.__version__, "version": VERSION})
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError.expected(
                folder, "a survey that nobody is at work on", "another run that is"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield


def _search(
    jobs: Sequence[Job],
    predictor: CavityPredictor,
    weights: str | PathLike[str] | None,
    processes: int,
    threads: int | None,
) -> Iterator[tuple[Job, str | None, bool]]:
    """Search targets; each with the message of its failure, and whether its input was to blame."""
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, *search_target(predictor, job)
        return
    from distributed import KilledWorker, as_completed

    from physml.parallel.tasks import client

    processes = min(processes, len(jobs))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    share = max(1, (threads or os.cpu_count() or 1) // processes)
    with client(processes, memory, "processes") as started:
        futures = {
            started.submit(_in_a_worker, job, weights, share, pure=False): job for job in jobs
        }
        for future in as_completed(futures, loop=started.loop):
            job = futures[future]
            try:
                yield job, *future.result()
            except KilledWorker:
                yield job, "its process was killed, most likely for want of memory", False
            future.release()


@lru_cache(maxsize=1)
def _loaded(weights: Path | None) -> CavityPredictor:
    return CavityPredictor.load(weights)


def _in_a_worker(
    job: Job, weights: str | PathLike[str] | None, threads: int
) -> tuple[str | None, bool]:
    import torch

    torch.set_num_threads(threads)
    return search_target(_loaded(None if weights is None else Path(weights)), job)


def search_target(predictor: CavityPredictor, job: Job) -> tuple[str | None, bool]:
    """Search one target and write its folder.

    Returns
    -------
    message : str or None
        Why it failed.
    bad_input : bool
        Whether what was given was to blame.
    """
    try:
        with provenance.run():
            arguments = {**job.target.options, "seed": job.seed, "recovery": job.recovery}
            check_arguments(**arguments)
            result = predictor.predict(job.target.image, progress=False, **arguments)
            if isinstance(result, list):
                if len(result) != 1:
                    raise InputError.expected(
                        job.target.image, "one image a target", f"{len(result)}"
                    )
                result = result[0]
            settings = {**arguments, "image": job.target.image}
            kept = {**outcome(result), "mark": job.mark}
            kept["known"] = compare(result, job.known) if job.known else None
            with atomic_directory(job.folder, overwrite=True) as temporary:
                result.write_into(temporary, settings)
                write_thumbnail(result, temporary / THUMBNAIL)
                write_json(temporary / OUTCOME, provenance.jsonable(kept))
    except PhysmlError as error:
        return _without_folders(str(error), job.target), error.exit_code == 2
    except Exception as error:  # whatever one image runs into, the others are wanted
        log.debug("%s", job.target.name, exc_info=True)
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _without_folders(text, job.target), False
    return None, True


def _without_folders(text: str, target: Target) -> str:
    """Message whose files are named without their folders: it is kept, and shown to others."""
    for value in (target.image, *target.options.values()):
        if isinstance(value, Path):
            text = text.replace(str(value), value.name)
    return text
