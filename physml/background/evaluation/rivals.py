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
from .features import ALL, CONTEXT, LOCAL, all_features

#: Most trees where their number is chosen on events apart, and how many may come in vain.
MOST_TREES, IN_VAIN = 1_000, 20
# Features, labels and weights of events that the number of trees is chosen on.
Check = tuple[Singles, ArrayLike, ArrayLike]


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

    def learn(
        self, feature: Singles, label: ArrayLike, weight: ArrayLike, check: Check | None = None
    ) -> Rival:
        """Learn from a table of valid events: `features.ALL`, labels and weights above 0.

        With `check`, how long to learn is chosen on these other events.
        """
        ...

    def score(self, frames: Frames, found: Found) -> Floats:
        """Score of each event, shape (m,); inf for events that are not valid."""
        ...

    def rank(self, feature: Singles) -> Floats:
        """Score of valid events by their features, shape (m,)."""
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

    def learn(
        self, feature: Singles, label: ArrayLike, weight: ArrayLike, check: Check | None = None
    ) -> SelfAntiCoincidence:
        """Nothing is learnt."""
        return self

    def score(self, frames: Frames, found: Found) -> Floats:
        """Minus the distance in pixels."""
        distance, _ = nearest_particle(found, frames)
        # As exact as in a table of features, on which thresholds are set.
        near = distance.astype(np.float32).astype(np.float64)
        return np.where(found.events["valid"], -near, np.inf)

    def rank(self, feature: Singles) -> Floats:
        """Minus the distance in pixels."""
        distance = feature[:, ALL.index("track_distance")].astype(np.float64)
        return -np.where(np.isnan(distance), np.inf, distance)


class BoostedTrees:
    """Gradient-boosted trees on simple features: the strong simple rival.

    Parameters
    ----------
    features : {"local", "context", "both"}
        Of the event, of its frame, or all.
    iterations : int
        Number of trees, where it is not chosen on events apart.
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

    def _of(self, feature: Singles) -> Singles:
        """Columns of its own."""
        return feature[:, [ALL.index(name) for name in self.names]]

    def table(self, frames: Frames, found: Found) -> Singles:
        """Features of the events, shape (m, len(names)); NaN where there is nothing to measure."""
        return self._of(all_features(frames, found))

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
        return self.learn(all_features(frames, found)[used], label[used], weight[used])

    def learn(
        self, feature: Singles, label: ArrayLike, weight: ArrayLike, check: Check | None = None
    ) -> BoostedTrees:
        """Grow the trees from a table of events.

        Parameters
        ----------
        feature : ndarray, shape (m, 33)
            `features.ALL`.
        label, weight : array_like, shape (m,)
            0 photon, 1 background; weights above 0.
        check : tuple, optional
            Features, labels and weights of other events: trees are added as long as they lower
            the loss on those.

        Raises
        ------
        ValueError
            One class is missing.
        """
        label, weight = np.asarray(label), np.asarray(weight, np.float64)
        if len(np.unique(label)) < 2:
            raise ValueError("expected valid events of both classes to learn from")
        table = self._of(feature)
        # A feature that no event has, e.g. a second track, has no bins to be sorted into.
        self._columns = np.asarray(np.isfinite(table).any(axis=0))
        more: dict[str, Any] = {}
        if check is not None:
            more = {"early_stopping": True, "max_iter": MOST_TREES, "n_iter_no_change": IN_VAIN}
        self.model = HistGradientBoostingClassifier(**{**self.parameters, **more})
        apart: dict[str, Any] = {}
        if check is not None:
            other, truth, of_other = check
            apart = {
                "X_val": self._of(other)[:, self._columns],
                "y_val": np.asarray(truth),
                "sample_weight_val": np.asarray(of_other, np.float64),
            }
        # Leaves are limited by numbers and gradients by weights: bring those to one on average.
        with _one_thread():
            self.model.fit(table[:, self._columns], label, weight / weight.mean(), **apart)
        return self

    @property
    def trees(self) -> int:
        """Number of trees that were grown."""
        return 0 if self.model is None else int(self.model.n_iter_)

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
            score[valid] = self.rank(all_features(frames, found)[valid])
        return score

    def rank(self, feature: Singles) -> Floats:
        """Log-odds of background of valid events, by `features.ALL`."""
        with _one_thread():
            return np.asarray(self.model.decision_function(self._of(feature)[:, self._columns]))


def _one_thread() -> Any:
    """Context in which OpenMP has one thread.

    On some thousand events more gain nothing, and where another process has their core they wait
    for each other at every node of every tree: minutes instead of a second.
    """
    return threadpool_limits(limits=1, user_api="openmp")
