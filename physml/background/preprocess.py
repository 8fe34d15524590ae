"""From raw shards to training data: events, clusters, truth and windows, split by exposure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

if TYPE_CHECKING:
    from .core.events import Found
    from .core.frames import Frames
    from .settings import BackgroundSettings

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
NO_EVENT = np.int16(-2)  # grade and pattern of clusters too faint to be an event
WINDOWS = "windows_"  # before the split's name: what the source method is trained on


def split_of(exposure: int, seed: int, valid: float, test: float) -> str:
    """Split of an exposure: the same at any size of the data set."""
    draw = stream(seed, "split", int(exposure)).random()
    return "test" if draw < test else "valid" if draw < test + valid else "train"


def cluster_truth(found: Found, frames: Frames) -> NDArray[np.uint8]:
    """Whether particles (1) or X-rays (0) left most of each cluster's energy, shape (k,).

    Clusters of noise alone count as background.
    """
    pixels = frames.pixels
    on = found.pixel_cluster >= 0
    label, n = found.pixel_cluster[on], len(found.clusters)
    particle = sum(pixels[name][on].astype(np.float64) for name in ("primary", "outside", "inside"))
    by_particle = np.bincount(label, particle, minlength=n)
    by_xray = np.bincount(label, pixels["photon"][on].astype(np.float64), minlength=n)
    return (by_xray <= by_particle).astype(np.uint8)


def prepare(frames: Frames, found: Found, limit: int) -> dict[str, NDArray]:
    """Members of all sets of one exposure's frames, with truth.

    Parameters
    ----------
    frames : Frames
        With truth and one row of exposures.
    found : Found
        Their events.
    limit : int
        Largest number of members of a set.

    Returns
    -------
    dict
        One row a member, as in `processed_spec`; sets are numbered from 0.
    """
    from .core.frame_class import classes
    from .inference.inputs import members, particle_rate

    rate = particle_rate(found, frames)
    assert frames.exposures is not None
    m = members(found, frames, limit, rate, frames.exposures["standoff"].astype(np.float64))
    label = cluster_truth(found, frames)
    of_frame = classes(frames.position(frames.pixels["frame"]), frames.pixels, len(frames))
    set_of = np.repeat(np.arange(len(m)), m.sizes)
    place = m.frame[set_of]
    exposures = frames.exposures
    assert exposures is not None
    row = frames.frame_exposure[place]
    grades = {name: np.full(len(found.clusters), NO_EVENT) for name in ("pattern", "grade")}
    for name, values in grades.items():
        values[found.events["cluster"]] = found.events[name]

    return {
        "feature": m.feature,
        # Half floats resolve a thousandth of an energy; what is brighter is no X-ray.
        "patch": np.clip(m.patch, -60, 6e4).astype(np.float16),
        "place": m.place,
        "event": m.event >= 0,
        "query": m.query,
        "label": label[m.cluster],
        "energy": found.clusters["energy"][m.cluster],
        "pattern": grades["pattern"][m.cluster],
        "grade": grades["grade"][m.cluster],
        "set": set_of.astype(np.int64),
        "frame": frames.index[place],
        "frame_class": of_frame[place],
        "weight": frames.weight[place].astype(np.float32),
        "exposure": exposures["exposure"][row].astype(np.int32),
        "rate": rate[row].astype(np.float32),
    }


def processed_spec() -> dict[str, Any]:
    """What a preprocessed file has to hold: a row for each member of each set."""
    from physml.io.shards import Spec

    from .inference.inputs import FEATURES, PLACE, SIDE

    return {
        "feature": Spec(np.float32, (None, len(FEATURES))),
        "patch": Spec(np.float16, (None, SIDE, SIDE)),
        "place": Spec(np.float32, (None, len(PLACE))),
        "event": Spec(np.bool_, (None,)),
        "query": Spec(np.bool_, (None,)),
        "label": Spec(np.uint8, (None,)),
        "energy": Spec(np.float32, (None,)),
        "pattern": Spec(np.int16, (None,)),
        "grade": Spec(np.int16, (None,)),
        "set": Spec(np.int64, (None,)),
        "frame": Spec(np.int64, (None,)),
        "frame_class": Spec(np.uint8, (None,)),
        "weight": Spec(np.float32, (None,)),
        "exposure": Spec(np.int32, (None,)),
        "rate": Spec(np.float32, (None,)),
    }


def exposures_of(frames: Frames) -> Iterator[tuple[int, Frames]]:
    """Split frames by exposure: number of the exposure, and its frames with its row alone."""
    from dataclasses import replace

    assert frames.exposures is not None
    row = frames.frame_exposure
    for k, exposure in enumerate(frames.exposures):
        one = replace(
            frames.select(row == k),
            exposures=frames.exposures[k : k + 1],
            frame_time=float(exposure["frame_time"]),
        )
        yield int(exposure["exposure"]), one


def find_in_exposure(frames: Frames) -> Found:
    """Events of one exposure's frames, with its own split threshold."""
    from .core.events import EVENT_THRESHOLD, find_events

    assert frames.exposures is not None
    split = float(frames.exposures["threshold"][0])
    return find_events(frames, split=split, event=max(split, EVENT_THRESHOLD))


def _part(path: Path, settings: BackgroundSettings, share: float) -> dict[str, dict[str, NDArray]]:
    """One task: all exposures of a shard, by the file that they go to."""
    import torch

    from .core.frames import read_frames
    from .learning.windows import cut_windows

    torch.set_num_threads(1)
    s = settings.preprocess
    parts: dict[str, list[dict[str, NDArray]]] = {}
    for number, frames in exposures_of(read_frames(path)):
        split = split_of(number, settings.seed, s.valid, s.test)
        found = find_in_exposure(frames)
        rng = stream(settings.seed, "preprocess", number)
        label = cluster_truth(found, frames)
        parts.setdefault(split, []).append(prepare(frames, found, s.limit))
        windows = cut_windows(frames, found, label, share, rng)
        parts.setdefault(WINDOWS + split, []).append(windows)
    return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    """Concatenate parts; sets are numbered on."""
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    if "set" in joined:
        sets, first = [], 0
        for part in parts:
            sets.append(part["set"] + first)
            first += int(part["set"].max(initial=-1)) + 1
        joined["set"] = np.concatenate(sets)
    return joined


def run(
    *,
    settings: BackgroundSettings,
    raw: Sequence[Path],
    out: Path,
    threads: int = 1,
    mem_mb: int = 4000,
) -> None:
    """Preprocess all shards with Dask and write the files of all splits.

    ``train.h5``, ``valid.h5`` and ``test.h5`` hold the members of all sets; ``windows_*.h5``
    the 64 x 64 windows of the source method.

    Parameters
    ----------
    settings : BackgroundSettings
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

    from .core.frames import raw_spec

    held = 0
    shards = sorted(map(Path, raw))
    for path in shards:
        with open_shard(path, raw_spec(), verify=True) as shard:
            held += shard.shape("index")[0]
    share = min(1.0, settings.preprocess.windows / max(held, 1))
    tasks = [(path, settings, share) for path in shards]
    where = settings.preprocess.dask
    parts = in_order(_part, tasks, threads=threads, mem_mb=mem_mb, dask=where, folder=out.parent)
    record = provenance.record("preprocess", upstream(settings, "preprocess"), {"raw": list(raw)})
    with atomic_directory(out) as folder, contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(ShardWriter(folder / f"{name}.h5", provenance=record))
            for split in SPLITS
            for name in (split, WINDOWS + split)
        }
        sets = dict.fromkeys(files, 0)
        for part in parts:
            for name, arrays in part.items():
                if "set" in arrays:
                    arrays["set"] += sets[name]
                    sets[name] = int(arrays["set"].max(initial=sets[name] - 1)) + 1
                files[name].append(arrays)
        for split in SPLITS:
            log.info(
                "%s: %d sets of %d members, %d windows",
                *(split, sets[split], len(files[split]), len(files[WINDOWS + split])),
            )
            if len(files[split]) == 0:
                raise _empty(split, settings)


def _empty(split: str, settings: BackgroundSettings) -> Exception:
    from physml.exceptions import SettingsError

    return SettingsError(
        f"no exposure fell into {split!r}: simulate more of them, or raise preprocess.{split} "
        f"(valid {settings.preprocess.valid}, test {settings.preprocess.test})"
    )
