"""Rivals that the network has to beat: a cut and trees, under one interface.

Each is fitted to labelled events and gives events a score; higher is more like background.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from ..core.arrays import Bools, Floats, Singles
from ..core.events import Found, nearest_particle
from ..core.frames import Frames
from .features import CONTEXT, LOCAL, context_features, local_features


class Rival(Protocol):
    """Estimator of background among the events of frames."""

    name: str

    def fit(
        self, frames: Frames, found: Found, label: ArrayLike, weight: ArrayLike | None = None
    ) -> Rival:
        """Learn from labelled events.

        Parameters
        ----------
        frames : Frames
        found : Found
            Their events.
        label : array_like of int, shape (m,)
            0 photon, 1 background, for each event.
        weight : array_like, shape (m,), optional
            E.g. of `matching.energy_matching`; events without weight, and events that are not
            valid, are not looked at.

        Returns
        -------
        Rival
            Itself.
        """
        ...

    def score(self, frames: Frames, found: Found) -> Floats:
        """Score of each event, shape (m,); inf for events that are not valid."""
        ...


class SelfAntiCoincidence:
    """Reject what is near a particle (SAC; Miller et al. 2022).

    The score is minus the distance to the nearest pixel of a particle in the frame, so that a
    threshold of -R rejects all events within R pixels. Frames without a particle score -inf.
    """

    name = "SAC"

    def fit(
        self, frames: Frames, found: Found, label: ArrayLike, weight: ArrayLike | None = None
    ) -> SelfAntiCoincidence:
        """Nothing is learnt; the radius is the threshold on the score."""
        return self

    def score(self, frames: Frames, found: Found) -> Floats:
        """Minus the distance in pixels."""
        distance, _ = nearest_particle(found, frames)
        return np.where(found.events["valid"], -distance, np.inf)


class BoostedTrees:
    """Gradient-boosted trees on simple features: the strong simple rival.

    Parameters
    ----------
    features : {"local", "context", "both"}
        Of the event, of its frame, or all.
    iterations : int
        Number of trees.
    seed : int
    """

    def __init__(
        self,
        features: Literal["local", "context", "both"] = "both",
        *,
        iterations: int = 200,
        seed: int = 0,
    ) -> None:
        if features not in ("local", "context", "both"):
            raise ValueError(f"expected 'local', 'context' or 'both', found {features!r}")
        self.features = features
        self.name = f"boosted trees, {features}"
        self.parameters = {
            "max_iter": iterations,
            "learning_rate": 0.05,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 50,
            "l2_regularization": 1.0,
            # Stopping early would need events that are independent of those it learns from.
            "early_stopping": False,
            "random_state": seed,
        }
        self.model: Any = None
        self._columns: Bools = np.empty(0, bool)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        local = LOCAL if self.features != "context" else ()
        return local + (CONTEXT if self.features != "local" else ())

    def table(self, frames: Frames, found: Found) -> Singles:
        """Features of the events, shape (m, len(names)); NaN where there is nothing to measure."""
        parts = []
        if self.features != "context":
            parts.append(local_features(found))
        if self.features != "local":
            parts.append(context_features(found, frames))
        return np.concatenate(parts, axis=1)

    def fit(
        self, frames: Frames, found: Found, label: ArrayLike, weight: ArrayLike | None = None
    ) -> BoostedTrees:
        """Grow the trees.

        Raises
        ------
        ValueError
            Labels or weights are not one for each event, or one class has no weight.
        """
        m = len(found.events)
        label = np.asarray(label)
        weight = np.ones(m) if weight is None else np.asarray(weight, np.float64)
        if label.shape != (m,) or weight.shape != (m,):
            raise ValueError(
                f"expected {m} labels and weights, found {label.shape}, {weight.shape}"
            )
        used = found.events["valid"] & (weight > 0)
        if len(np.unique(label[used])) < 2:
            raise ValueError("expected valid events of both classes to learn from")
        # Leaves are limited by numbers and gradients by weights: bring those to one on average.
        scale = used.sum() / weight[used].sum()
        self.model = HistGradientBoostingClassifier(**self.parameters)
        table = self.table(frames, found)[used]
        # A feature that no event has, e.g. a second track, has no bins to be sorted into.
        self._columns = np.asarray(np.isfinite(table).any(axis=0))
        with _one_thread():
            self.model.fit(table[:, self._columns], label[used], weight[used] * scale)
        return self

    def score(self, frames: Frames, found: Found) -> Floats:
        """Log-odds of background, under the weights it learnt with.

        Raises
        ------
        RuntimeError
            It has not learnt anything.
        """
        if self.model is None:
            raise RuntimeError("fit comes before score")
        score = np.full(len(found.events), np.inf)
        valid = found.events["valid"]
        if valid.any():
            table = self.table(frames, found)[valid][:, self._columns]
            with _one_thread():
                score[valid] = self.model.decision_function(table)
        return score


def _one_thread() -> Any:
    """Context in which OpenMP has one thread.

    On some thousand events more gain nothing, and where another process has their core they wait
    for each other at every node of every tree: minutes instead of a second.
    """
    return threadpool_limits(limits=1, user_api="openmp")
