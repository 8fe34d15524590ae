"""Simulated images wider than a field, searched at all their binnings."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physml.random import stream

from ..core.ellipse import Ellipse
from ..core.halo import find_centre
from ..data.loading import load_observation
from ..data.observation import Observation
from ..inference.candidate import Candidate, from_table
from ..inference.detector import CavityDetector
from ..inference.fields import FIELD, Field, choose_scales
from ..inference.search import search
from ..settings import SimulateSettings
from ..simulator.batch import POINT_SOURCE, simulate_batch

log = logging.getLogger(__name__)

#: Sides of the images in turn, in fields of the network: two, three and four binnings.
SIDES = (2, 3, 4)
#: Images searched together.
TOGETHER = 12


@dataclass(frozen=True)
class Searched:
    """One simulated image after its search, before the merging.

    Attributes
    ----------
    fields : list of Field
        Where they lie; their maps are gone.
    found : list of lists of Candidate
        Detections in each.
    thresholds : dict of float
        The detector's threshold at each binning.
    cavities : list of Ellipse
        True cavities that can be seen.
    """

    fields: list[Field]
    found: list[list[Candidate]]
    thresholds: dict[int, float]
    cavities: list[Ellipse]


def wide_settings(simulate: SimulateSettings, fields: int) -> SimulateSettings:
    """Settings of images of so many fields a side, with systems up to as many times as large."""

    def stretched(limits: tuple[float, float]) -> tuple[float, float]:
        return limits[0], limits[1] * fields

    s = simulate
    wide = {
        "halo": ("core_radius", "inner_core_radius"),
        "cavities": ("distance", "radius"),
        "nuisance": ("front_radius", "slosh_height"),
    }
    changed: dict[str, Any] = {
        part: (prior := getattr(s, part)).model_copy(
            update={name: stretched(getattr(prior, name)) for name in names}
        )
        for part, names in wide.items()
    }
    return s.model_copy(update={"image_size": FIELD * fields, **changed})


def search_wide(
    detector: CavityDetector, simulate: SimulateSettings, seed: int, numbers: Iterable[int]
) -> Iterator[Searched]:
    """Simulate and search images wider than a field.

    Parameters
    ----------
    detector : CavityDetector
    simulate : SimulateSettings
        Of the detector's training.
    seed : int
    numbers : iterable of int
        Numbers of the images: each says the size and whether the background is known, too.
    """
    settings = {n: wide_settings(simulate, n) for n in SIDES}
    waiting = iter(numbers)
    done = 0
    while chunk := list(itertools.islice(waiting, TOGETHER)):
        made = [_observe(settings[SIDES[n % len(SIDES)]], seed, n) for n in chunk]
        observations = [observation for observation, _ in made]
        centres = [_centre(observation) for observation in observations]
        scales = [choose_scales(o, "auto", c) for o, c in zip(observations, centres, strict=True)]
        found = search(detector, observations, centres, scales)
        for one, (_, cavities) in zip(found, made, strict=True):
            tables = [d.table for d in one.detections]
            yield Searched(
                [_outline(f) for f in one.fields],
                [from_table(f, t) for f, t in zip(one.fields, tables, strict=True)],
                {f.scale: detector.threshold(f.total) for f in one.fields},
                cavities,
            )
        done += len(chunk)
        if done // TOGETHER % 10 == 1:
            log.info("merging: %d images searched", done)


def _observe(
    settings: SimulateSettings, seed: int, number: int
) -> tuple[Observation, list[Ellipse]]:
    """Simulated observation as a user would give it, and its visible cavities."""
    batch = simulate_batch(settings, seed, [number])
    known = number // len(SIDES) % 2 == 1
    observation = load_observation(
        batch.counts[0].astype(float),
        exposure=batch.exposure[0].astype(float),
        background=batch.background[0].astype(float) if known else None,
        mask=(batch.invalid[0] & POINT_SOURCE > 0) & (batch.exposure[0] > 0),
        seed=int(stream(seed, "preprocess", number).integers(1 << 31)),
    )
    table = batch.cavities[0]
    rows = table[table["visible"]]
    return observation, [
        Ellipse(*(float(row[n]) for n in ("x", "y", "a", "b", "theta"))) for row in rows
    ]


def _centre(observation: Observation) -> tuple[float, float]:
    x, y = find_centre(
        observation.counts[None], observation.relative_exposure[None], (~observation.exposed)[None]
    )[0]
    return float(x), float(y)


def _outline(field: Field) -> Field:
    """Field without its maps: where it lies."""
    nothing = np.broadcast_to(np.zeros(()), field.counts.shape)
    empty = np.broadcast_to(np.zeros((), bool), field.counts.shape)
    return replace(field, counts=nothing, exposure=nothing, background=None, invalid=empty)
