"""The search of one image, or many: fields at all binnings, detector, one list of cavities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.matching import COMPANION
from ..data.observation import Observation
from .candidate import Candidate, from_table
from .evidence import Merging
from .field import Field
from .fields import cut_field, exposed_box
from .merge import merge
from .mosaic import join_labels, join_models, join_probabilities

#: Probability from which a candidate is listed, flagged where it is not a confident detection:
#: clearly more likely a cavity than not. A definition, for any weights, since probabilities are
#: calibrated; whether that holds is measured by `learning.merging` and stored with the weights.
LISTED = 0.6
#: Fields searched together: as many as the network takes at once, 10 MB each in it.
BATCH = 8


class Detector(Protocol):
    """Search of one field; `CavityDetector` is one.

    Attributes
    ----------
    card : dict
        Metadata of its weights.
    """

    card: dict[str, Any]

    def detect(
        self,
        counts: NDArray[Any],
        exposure: NDArray[Any] | None = None,
        background: NDArray[Any] | None = None,
        invalid: NDArray[Any] | None = None,
        centre: NDArray[Any] | None = None,
    ) -> Sequence[Any]:
        """Search fields, shape (B, S, S); one `Detection` each."""
        ...

    def threshold(self, total_counts: float) -> float:
        """Smallest probability that enters the catalogue, for a field of so many counts."""
        ...


@dataclass
class Search:
    """Findings in one image.

    Attributes
    ----------
    shape : tuple of int
        Shape of the image.
    fields : list of Field
        The binnings searched.
    detections : list
        What the detector gave for each, on field pixels.
    candidates : list of Candidate
        All merged cavities down to the detector's floor, in input pixels, most probable first.
    """

    shape: tuple[int, int]
    fields: list[Field]
    detections: list[Any]
    candidates: list[Candidate]

    def field(self, scale: int) -> Field:
        """Field of a binning."""
        return next(f for f in self.fields if f.scale == scale)

    def confident(self, detector: Detector, candidate: Candidate) -> bool:
        """Whether a candidate is a sure detection, see `is_sure`.

        The threshold depends on the counts of the field in which the cavity was found.
        """
        threshold = detector.threshold(self.field(candidate.scale).total)
        return is_sure(candidate.probability, threshold)

    def selected(self, detector: Detector, threshold: float | None = None) -> list[Candidate]:
        """Candidates that enter the catalogue.

        Parameters
        ----------
        detector : Detector
            Gives the threshold for confident detections.
        threshold : float, optional
            Smallest probability. By default all that are confident, or clearly more likely a cavity
            than not; where one is confident, another need only be more likely than not.
        """
        if threshold is not None:
            return [c for c in self.candidates if c.probability >= threshold]
        sure = [self.confident(detector, c) for c in self.candidates]
        least = COMPANION if any(sure) else LISTED
        return [
            c for c, s in zip(self.candidates, sure, strict=True) if s or c.probability >= least
        ]

    def found(self, detector: Detector, threshold: float | None = None) -> list[Candidate]:
        """Candidates that count as found: confident, or above a threshold that was chosen."""
        if threshold is not None:
            return self.selected(detector, threshold)
        return [c for c in self.candidates if self.confident(detector, c)]

    def probability(self) -> NDArray[np.float32]:
        """Probability that a pixel lies in a cavity, on input pixels, shape (H, W)."""
        maps = [d.probability for d in self.detections]
        return join_probabilities(self.shape, self.fields, maps, self.candidates)

    def labels(self, candidates: Sequence[Candidate]) -> NDArray[np.int32]:
        """Labels on input pixels, shape (H, W): k for the k-th candidate, 0 outside.

        Where two overlap, the pixel goes to the more probable one.
        """
        labels = [d.labels for d in self.detections]
        return join_labels(self.shape, self.fields, labels, candidates)

    def model(self, observation: Observation) -> NDArray[np.float64]:
        """Smooth model of the image without cavities, on input pixels [expected counts]."""
        models = [d.model for d in self.detections]
        return join_models(self.shape, self.fields, models, observation.relative_exposure)


def is_sure(probability: float, threshold: float) -> bool:
    """Whether a probability, the printed one, is that of a sure detection.

    Parameters
    ----------
    probability : float
    threshold : float
        The detector's, which limits the false alarms. At great depth that takes less than what is
        clearly more likely a cavity than not; but no such detection is called sure.
    """
    return probability >= max(threshold, LISTED)


def search(
    detector: Detector,
    observations: Sequence[Observation],
    centres: Sequence[tuple[float, float]],
    scales: Sequence[Sequence[int]],
    advance: Callable[[float], None] = lambda n: None,
) -> list[Search]:
    """Search images at all their binnings, the fields of several images together.

    Parameters
    ----------
    detector : Detector
        What searches a field.
    observations, centres, scales : sequences of one length
        Images, their cluster centres (x, y) [pixel] and binnings.
    advance : callable, optional
        Called with the share of the work done since the last call: half of it is to cut the fields
        out, as it is where an image is large.
    """
    number = max(1, sum(map(len, scales)))
    fields: list[list[Field]] = []
    for observation, centre, chosen in zip(observations, centres, scales, strict=True):
        box = exposed_box(observation)
        fields.append([])
        for k in chosen:
            fields[-1].append(cut_field(observation, k, centre, box=box))
            advance(0.5 / number)
    jobs = [(i, j) for i, of_image in enumerate(fields) for j in range(len(of_image))]
    found: dict[tuple[int, int], Any] = {}
    # With and without a background map are two problems for the halo's fit.
    for known in (False, True):
        same = [(i, j) for i, j in jobs if (fields[i][j].background is not None) == known]
        for start in range(0, len(same), BATCH):
            chunk = same[start : start + BATCH]
            batch = [fields[i][j] for i, j in chunk]
            results = detector.detect(
                np.stack([f.counts for f in batch]),
                exposure=np.stack([f.exposure for f in batch]),
                background=np.array([f.background for f in batch]) if known else None,
                invalid=np.stack([f.invalid for f in batch]),
                centre=np.array([f.centre for f in batch]),
            )
            found.update(zip(chunk, results, strict=True))
            advance(0.5 * len(chunk) / number)
    out = []
    merging = Merging.of(detector.card)
    for i, of_image in enumerate(fields):
        detections = [found[i, j] for j in range(len(of_image))]
        found_in = [from_table(f, d.table) for f, d in zip(of_image, detections, strict=True)]
        candidates = merge(of_image, found_in, merging)
        out.append(Search(observations[i].counts.shape, of_image, detections, candidates))
    return out
