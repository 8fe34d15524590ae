"""Prepared data: from raw shards to sets of events and clusters, and windows, with truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.io.shards import Spec
from physml.random import stream
from physml.stages.preprocess import split_of

from ..core.arrays import Rows
from ..core.events import Found, find_in_exposures
from ..core.frame_class import classes
from ..core.frames import Frames, read_frames
from ..inference.inputs import FEATURES, PLACE, SIDE, members, particle_rate
from ..settings import BackgroundSettings
from .windows import cut_windows

#: Grade and pattern of clusters too faint to be an event.
NO_EVENT = np.int16(-2)
#: Before a split's name: file of what the source method is trained on.
WINDOWS = "windows_"

Arrays = dict[str, Rows]


def cluster_truth(found: Found, frames: Frames) -> NDArray[np.uint8]:
    """Labels of clusters: 1 where particles left most of the energy, 0 where X-rays did.

    Clusters of noise alone count as background.

    Parameters
    ----------
    found : Found
    frames : Frames
        With truth.

    Returns
    -------
    ndarray of uint8, shape (number of clusters,)
    """
    pixels = frames.pixels
    on = found.pixel_cluster >= 0
    label, n = found.pixel_cluster[on], len(found.clusters)
    particle = sum(pixels[name][on].astype(np.float64) for name in ("primary", "outside", "inside"))
    by_particle = np.bincount(label, particle, minlength=n)
    by_xray = np.bincount(label, pixels["photon"][on].astype(np.float64), minlength=n)
    return (by_xray <= by_particle).astype(np.uint8)


def prepare(frames: Frames, found: Found, limit: int) -> Arrays:
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
        One row a member, as in `prepared_spec`; sets are numbered from 0.
    """
    rate = particle_rate(found, frames)
    exposures = frames.exposures
    assert exposures is not None
    m = members(found, frames, limit, rate, exposures["standoff"].astype(np.float64))
    label = cluster_truth(found, frames)
    of_frame = classes(frames.position(frames.pixels["frame"]), frames.pixels, len(frames))
    set_of = np.repeat(np.arange(len(m)), m.sizes)
    place = m.frame[set_of]
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


def prepared_spec() -> dict[str, Any]:
    """Contents of a file of sets: a row for each member of each set."""
    types: dict[str, tuple[Any, tuple[int, ...]]] = {
        "feature": (np.float32, (len(FEATURES),)),
        "patch": (np.float16, (SIDE, SIDE)),
        "place": (np.float32, (len(PLACE),)),
        "event": (np.bool_, ()),
        "query": (np.bool_, ()),
        "label": (np.uint8, ()),
        "energy": (np.float32, ()),
        "pattern": (np.int16, ()),
        "grade": (np.int16, ()),
        "set": (np.int64, ()),
        "frame": (np.int64, ()),
        "frame_class": (np.uint8, ()),
        "weight": (np.float32, ()),
        "exposure": (np.int32, ()),
        "rate": (np.float32, ()),
    }
    return {name: Spec(dtype, (None, *shape)) for name, (dtype, shape) in types.items()}


def exposures_of(frames: Frames) -> Iterator[tuple[int, Frames]]:
    """Split frames by exposure: number of the exposure, and its frames with its row alone."""
    assert frames.exposures is not None
    row = frames.frame_exposure
    for k, exposure in enumerate(frames.exposures):
        one = replace(
            frames.select(row == k),
            exposures=frames.exposures[k : k + 1],
            frame_time=float(exposure["frame_time"]),
        )
        yield int(exposure["exposure"]), one


def prepare_shard(path: Path, settings: BackgroundSettings, share: float) -> dict[str, Arrays]:
    """Prepare all exposures of a shard.

    Parameters
    ----------
    path : Path
        Raw shard.
    settings : BackgroundSettings
    share : float
        Share of the frames of which a window is cut.

    Returns
    -------
    dict
        Arrays of each file: sets under the split's name, windows under `WINDOWS` and that.
    """
    import torch

    torch.set_num_threads(1)
    s = settings.preprocess
    parts: dict[str, list[Arrays]] = {}
    number_on = Numbering()
    for number, frames in exposures_of(read_frames(path)):
        split = split_of(number, settings.seed, s.valid, s.test)
        found = find_in_exposures(frames)
        rng = stream(settings.seed, "preprocess", number)
        windows = cut_windows(frames, found, cluster_truth(found, frames), share, rng)
        made = {split: prepare(frames, found, s.limit), WINDOWS + split: windows}
        for name, arrays in number_on(made).items():
            parts.setdefault(name, []).append(arrays)
    return {
        name: {key: np.concatenate([part[key] for part in found]) for key in found[0]}
        for name, found in parts.items()
    }


class Numbering:
    """Numbers of sets that go on from part to part of each file."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}

    def __call__(self, files: dict[str, Arrays]) -> dict[str, Arrays]:
        """Parts of files with their sets numbered on."""
        for name, arrays in files.items():
            if "set" in arrays:
                arrays["set"] = arrays["set"] + self.first.get(name, 0)
                self.first[name] = int(arrays["set"].max(initial=self.first.get(name, 0) - 1)) + 1
        return files
