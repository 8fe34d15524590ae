"""Scenes searched as `physml cavities predict` does, and what was found beside the truth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.cavities.core.energetics import volume
from physml.cavities.core.matching import CANDIDATE_DTYPE, COMPANION, ScoredSet, scored_set
from physml.cavities.data.loading import load_observation
from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.predict import CavityPredictor
from physml.io.atomic import atomic_path

from .scenes import JUDGING, SIDE, Kind, Scene, draw_scene

#: True cavities of a set: image, label, and what its sizes are compared with [pixel].
CAVITY = np.dtype([("image", "i8"), ("label", "i8"), ("radius", "f8"), ("volume", "f8")])
#: Images searched in a piece, which the cache keeps.
PIECE = 50


@dataclass(frozen=True)
class Searched:
    """Findings in a set and its truth.

    Attributes
    ----------
    totals, thresholds : ndarray, shape (n,)
        Counts of each image, and the threshold of the weights there.
    sure : ndarray of int, shape (n,)
        Rows of each catalogue that are sure detections.
    cavities : structured ndarray
        `CAVITY`: true cavities that can be seen.
    true, labels : ndarray of uint8, shape (n, H, W)
        Label images of the truth and of all candidates.
    printed, network : structured ndarray
        `CANDIDATE_DTYPE`: all candidates, as they are printed, and as the networks gave them.
    seconds : ndarray, shape (n,)
        CPU time of each image.
    """

    totals: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    sure: NDArray[np.int64]
    cavities: NDArray[Any]
    true: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    printed: NDArray[Any]
    network: NDArray[Any]
    seconds: NDArray[np.float64]

    def scored(self, network: bool = False) -> ScoredSet:
        """Candidates as printed, or as the networks gave them, beside the truth."""
        candidates = self.network if network else self.printed
        return scored_set(self.totals, self.cavities, self.true, candidates, self.labels, COMPANION)


def observation_of(scene: Scene, kind: Kind) -> Observation:
    """Image of a scene as the search takes it.

    Where the observer does not know what is wrong with it, it is read as a user's array is.
    """
    if kind.round or kind.noisy:
        return load_observation(scene.counts)
    exposed = scene.exposure > 0
    return Observation(
        np.where(exposed, scene.counts, 0.0),
        scene.exposure,
        None,
        scene.invalid & exposed,
        Sky(None, None),
    )


def search_set(
    predictor: CavityPredictor, kind: Kind, numbers: Sequence[int], cache: Path
) -> Searched:
    """Search the scenes of a set, in pieces that are kept in a cache.

    Parameters
    ----------
    predictor : CavityPredictor
    kind : Kind
    numbers : sequence of int
        Of the scenes.
    cache : Path
        Folder for these weights and this program.
    """
    cache.mkdir(parents=True, exist_ok=True)
    made = []
    for start in range(0, len(numbers), PIECE):
        part = numbers[start : start + PIECE]
        words = "-".join(str(v) for v in kind.seed(part[0], True)) + f"-{len(part)}"
        path = cache / f"{words}.npz"
        if not path.exists():
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **vars(_search(predictor, kind, part)))
        with np.load(path, allow_pickle=False) as stored:
            one = Searched(**{k: stored[k] for k in stored.files})
        for table in (one.cavities, one.printed, one.network):
            table["image"] += start
        made.append(one)
    return Searched(*(np.concatenate([getattr(m, k) for m in made]) for k in vars(made[0])))


def _search(predictor: CavityPredictor, kind: Kind, numbers: Iterable[int]) -> Searched:
    rows: dict[str, list[Any]] = {k: [] for k in Searched.__dataclass_fields__}
    for i, number in enumerate(numbers):
        scene = draw_scene(number, JUDGING, kind)
        began = time.process_time()
        observation = observation_of(scene, kind)
        result = predictor.predict_observations([observation], scales=1)[0]
        rows["seconds"].append(time.process_time() - began)
        found = result.search.candidates
        rows["totals"].append(observation.total)
        rows["thresholds"].append(predictor.detector.threshold(result.search.fields[0].total))
        flags = result.catalogue["flags"]
        rows["sure"].append(sum("candidate" not in str(f).split() for f in flags))
        rows["true"].append(scene.labels.astype(np.uint8))
        rows["labels"].append(result.search.labels(found).astype(np.uint8))
        printed = {c.row: c for c in result.cavities}
        for label, candidate in enumerate(found, start=1):
            listed = printed.get(candidate.row, candidate)
            rows["network"].append(_row(i, label, candidate))
            rows["printed"].append(_row(i, label, listed))
        for label, body in enumerate(scene.bodies, start=1):
            if (scene.labels == label).any():
                a, b, _ = body.outline()
                rows["cavities"].append((i, label, np.sqrt(a * b), body.volume))
    tables = {"cavities": CAVITY, "printed": CANDIDATE_DTYPE, "network": CANDIDATE_DTYPE}
    images = {name: np.stack(rows[name]).reshape(-1, SIDE, SIDE) for name in ("true", "labels")}
    return Searched(
        **{name: np.array(rows[name], dtype) for name, dtype in tables.items()},
        **images,
        **{k: np.array(rows[k]) for k in ("totals", "thresholds", "sure", "seconds")},
    )


def _row(image: int, label: int, one: Any) -> tuple[float, ...]:
    space = float(volume(one.semi_major, one.semi_minor))
    return (image, label, one.probability, one.x, one.y, one.radius, one.radius_err, space)
