"""What there is to beat: cuts and trees, under one interface.

Each is fitted to labelled events and gives events a score; higher is more like background.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.events import nearest_particle
from ..core.grades import GOOD_GRADES
from .features import CONTEXT, LOCAL, context_features, local_features

if TYPE_CHECKING:
    from ..core.events import Found
    from ..core.frames import Frames


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

    def score(self, frames: Frames, found: Found) -> NDArray[np.float64]:
        """Score of each event, shape (m,); inf for events that are not valid."""
        ...


class GradeCut:
    """Shape and energy alone: what passes scores 0, what does not inf.

    Every other method begins with what this one leaves.

    Parameters
    ----------
    keep : {"epic", "asca", "singles"} or collection of int
        EPIC-pn patterns 0 to 12; of those the events with ASCA grades 0, 2, 3, 4, 6; singles
        only; or patterns.
    """

    def __init__(self, keep: Literal["epic", "asca", "singles"] | Collection[int] = "epic") -> None:
        if isinstance(keep, str) and keep not in ("epic", "asca", "singles"):
            raise ValueError(f"expected 'epic', 'asca', 'singles' or patterns, found {keep!r}")
        self.keep = keep
        self.name = f"grade cut ({keep})" if isinstance(keep, str) else "grade cut"

    def fit(
        self, frames: Frames, found: Found, label: ArrayLike, weight: ArrayLike | None = None
    ) -> GradeCut:
        """Nothing is learnt."""
        return self

    def score(self, frames: Frames, found: Found) -> NDArray[np.float64]:
        """Return 0 for what passes, inf for the rest."""
        e = found.events
        if self.keep == "epic":
            passes = np.ones(len(e), bool)
        elif self.keep == "asca":
            passes = np.isin(e["grade"], GOOD_GRADES)
        else:
            patterns = (0,) if self.keep == "singles" else tuple(self.keep)
            passes = np.isin(e["pattern"], patterns)
        return np.where(passes & e["valid"], 0.0, np.inf)


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

    def score(self, frames: Frames, found: Found) -> NDArray[np.float64]:
        """Minus the distance in pixels."""
        distance, _ = nearest_particle(found, frames)
        return np.where(found.events["valid"], -distance, np.inf)


class BoostedTrees:
    """Gradient-boosted trees on simple features: the strong simple rival.

    Parameters
    ----------
    features : {"local", "context", "both"}
        Of the event, of its frame, or all.
    iterations, rate, leaves, leaf_events : int, float, int, int
        Trees, learning rate, leaves of a tree, least events in a leaf.
    seed : int
    """

    def __init__(
        self,
        features: Literal["local", "context", "both"] = "both",
        *,
        iterations: int = 200,
        rate: float = 0.05,
        leaves: int = 15,
        leaf_events: int = 50,
        seed: int = 0,
    ) -> None:
        if features not in ("local", "context", "both"):
            raise ValueError(f"expected 'local', 'context' or 'both', found {features!r}")
        self.features = features
        self.name = f"boosted trees, {features}"
        self.parameters = {
            "max_iter": iterations,
            "learning_rate": rate,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": leaf_events,
            "l2_regularization": 1.0,
            # Stopping early would need events that are independent of those it learns from.
            "early_stopping": False,
            "random_state": seed,
        }
        self.model: Any = None
        self._columns: NDArray[np.bool_] = np.empty(0, bool)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        local = LOCAL if self.features != "context" else ()
        return local + (CONTEXT if self.features != "local" else ())

    def table(self, frames: Frames, found: Found) -> NDArray[np.float32]:
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
        from sklearn.ensemble import HistGradientBoostingClassifier

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

    def score(self, frames: Frames, found: Found) -> NDArray[np.float64]:
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
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="openmp")


def all_rivals(seed: int = 0) -> list[Rival]:
    """Return one of each, not fitted yet."""
    return [
        GradeCut(),
        SelfAntiCoincidence(),
        BoostedTrees("local", seed=seed),
        BoostedTrees("context", seed=seed),
        BoostedTrees("both", seed=seed),
    ]
