"""Result of a search of one image, and of its test by injection and recovery."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.table import QTable
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from physml.evaluation.calibration import wilson
from physml.stages.predict import Result

from ..data.observation import Observation
from ..inference.candidate import Candidate
from ..inference.search import Search

#: Width in ln(radius) and ln(distance) over which completeness is averaged at a cavity.
KERNEL = 0.35


@dataclass(repr=False)
class CavityResult(Result):
    """Cavities of one image.

    Attributes
    ----------
    observation : Observation
        The image as it was searched: masked sources filled.
    search : Search
        All candidates, also those under the threshold, and the fields they come from.
    cavities : list of Candidate
        The listed ones, in pixels.
    catalogue : QTable
        One row a cavity; each column carries its description.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    threshold : float or None
        Smallest probability, where one was chosen.
    redshift : float or None
    card : dict
        Metadata of the weights.
    recovery : Recovery or None
        Completeness and false alarms of this image, where asked for.
    """

    writer: ClassVar[str] = "physml.cavities.results.products:write_products"

    observation: Observation
    search: Search
    cavities: list[Candidate]
    catalogue: QTable
    centre: tuple[float, float]
    threshold: float | None = None
    redshift: float | None = None
    card: dict[str, Any] = field(default_factory=dict)
    recovery: Recovery | None = None

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """Probability that a pixel of the input lies in a cavity, shape (H, W)."""
        return self.search.probability()

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """0 outside, k for row k of the catalogue (counted from 1), shape (H, W)."""
        labels = self.search.labels(self.cavities)
        order = sorted(enumerate(self.cavities, start=1), key=lambda pair: pair[1].probability)
        for number, cavity in order:
            if getattr(cavity, "refined", False):  # its ellipse is not the network's label
                labels[labels == number] = 0
        for number, cavity in order:
            if getattr(cavity, "refined", False):
                rows, columns = cavity.window(labels.shape)
                Y, X = np.mgrid[rows, columns]
                labels[rows, columns][cavity.inside(X, Y)] = number
        return labels

    @cached_property
    def model(self) -> NDArray[np.float64]:
        """Smooth model without cavities, shape (H, W) [expected counts]."""
        return self.search.model(self.observation)

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.observation.name

    @property
    def warnings(self) -> list[str]:
        """Remarks on what was done to the data, and on what could not be measured."""
        return self.observation.remarks

    @property
    def weights(self) -> dict[str, Any]:
        """Alias of `card`."""
        return self.card

    def is_candidate(self, number: int) -> bool:
        """Whether a row of the catalogue, counted from 0, is no sure detection."""
        return "candidate" in str(self.catalogue["flags"][number]).split()

    def _words(self) -> str:
        doubtful = sum(map(self.is_candidate, range(len(self.catalogue))))
        sure = len(self.catalogue) - doubtful
        words = {0: "no cavity", 1: "1 cavity"}.get(sure, f"{sure} cavities")
        if doubtful:
            words += f", {doubtful} candidate" + "s" * (doubtful > 1)
        return words

    def _origin(self) -> tuple[dict[str, Any], dict[str, Path], dict[str, Any]]:
        return (
            {},
            dict(self.observation.files),
            {"weights": self.card, "remarks": self.observation.remarks},
        )


@dataclass
class Recovery:
    """Completeness and false alarms of one image.

    Attributes
    ----------
    injections : QTable
        One row a cavity that was cut in: place, size, S/N, whether it was found.
    completeness : QTable
        Share found in bins of radius and distance, with 68 % intervals.
    draws : int
        Draws without cavities (and as many with).
    alarmed : int
        Those of them with at least one false cavity.
    false_probabilities : ndarray
        Probability of each confident false cavity.
    """

    injections: QTable
    completeness: QTable
    draws: int
    alarmed: int
    false_probabilities: NDArray[np.float64]

    @property
    def false_alarm_rate(self) -> float:
        """Share of images without cavities in which one is found."""
        return self.alarmed / self.draws

    @property
    def false_alarm_interval(self) -> tuple[float, float]:
        """68 % interval of that share (Wilson)."""
        _, low, high = share(self.alarmed, self.draws)
        return float(low), float(high)

    def at(self, radius: float, distance: float) -> float:
        """Completeness for a cavity of a radius at a distance, both in the units of the table.

        Mean over injections alike, weighted by a Gaussian in the logarithms.
        """
        ratio_r = np.log(self.injections["radius"].value / radius)
        ratio_d = np.log(self.injections["distance"].value / max(distance, 1e-9))
        weight = np.exp(-0.5 * (ratio_r**2 + ratio_d**2) / KERNEL**2)
        if weight.sum() < 0.5:
            return float("nan")  # nothing like it was injected
        return float((weight * self.injections["found"]).sum() / weight.sum())


def share(found: ArrayLike, trials: ArrayLike) -> NDArray[np.float64]:
    """Share found and its 1-sigma interval (Wilson), shape (3, ...); NaN, 0, 1 without trials."""
    k, n = np.asarray(found, float), np.asarray(trials, float)
    with np.errstate(invalid="ignore"):
        value = k / n
    low, high = np.moveaxis(wilson(k, n, level=erf(np.sqrt(0.5))), -1, 0)
    return np.stack([value, np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)])
