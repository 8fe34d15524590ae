"""The search of one image, or many: fields at all binnings, detector, one list of cavities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..core.matching import COMPANION
from ..data.observation import Observation
from .fields import Field, cut_field
from .merge import Candidate, from_table, merge

#: Probability from which a candidate is listed, flagged where it is not a confident detection.
LISTED = 0.6
#: Fields searched together: enough to keep the processor busy, 10 MB each in the network.
BATCH = 16


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
        """Whether a candidate passes the detector's threshold, which limits false alarms.

        The threshold depends on the counts of the field in which the cavity was found.
        """
        return candidate.support >= detector.threshold(self.field(candidate.scale).total)

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

    def probability(self) -> NDArray[Any]:
        """Probability that a pixel lies in a cavity, on input pixels, shape (H, W), float32.

        The mean over the binnings that cover a pixel. Near a candidate, the binning that resolves
        it counts most, with a soft edge at 1.5 of its ellipse.
        """
        weights, tapers = [], []
        for field in self.fields:
            inside = field.spread(np.ones_like(field.counts, dtype=np.float32), self.shape)
            # Going out softly towards its border, so that no edge of a field shows in the map.
            tapers.append((inside * (0.02 + _taper(field, self.shape))).astype(np.float32))
            weights.append(0.05 * tapers[-1])
        for candidate in self.candidates:
            rows, columns = candidate.window(self.shape, 2.0)
            y, x = np.mgrid[rows, columns]
            rho = np.sqrt(candidate.squared_radius(x, y))
            soft = np.clip((1.8 - rho) / 0.6, 0, 1).astype(np.float32)
            for field, weight, taper in zip(self.fields, weights, tapers, strict=True):
                if field.scale == candidate.scale:
                    weight[rows, columns] += soft * candidate.probability * taper[rows, columns]
        total = np.sum(weights, axis=0)
        out = np.zeros(self.shape, dtype=np.float32)
        for field, detection, weight in zip(self.fields, self.detections, weights, strict=True):
            fine = field.interpolate(detection.probability, self.shape)
            out += (weight * fine).astype(np.float32)
        return np.divide(out, total, out=np.zeros_like(out), where=total > 0).clip(0, 1)

    def labels(self, candidates: Sequence[Candidate]) -> NDArray[Any]:
        """Labels on input pixels, shape (H, W), int32: k for the k-th candidate, 0 outside.

        Where two overlap, the pixel goes to the more probable one.
        """
        out = np.zeros(self.shape, dtype=np.int32)
        order = sorted(enumerate(candidates, start=1), key=lambda pair: pair[1].probability)
        for number, candidate in order:
            field = self.field(candidate.scale)
            detection = self.detections[self.fields.index(field)]
            mask = field.spread(np.asarray(detection.labels) == candidate.row + 1, self.shape)
            out[mask] = number
        for number, candidate in order:
            if not np.any(out == number):
                # Hidden wholly under another, or smaller than a pixel: it still is in the list.
                rows, columns = candidate.window(self.shape)
                y, x = np.mgrid[rows, columns]
                out[rows, columns][candidate.inside(x, y)] = number
        return out

    def model(self, observation: Observation) -> NDArray[Any]:
        """Smooth model of the image without cavities, on input pixels [expected counts].

        Each binning fits its own field. From the finest one outwards each goes over softly into
        the next, so that no seam shows.
        """
        rate = np.zeros(self.shape)
        left = np.ones(self.shape)
        ordered = sorted(self.fields, key=lambda f: f.scale)
        for field in ordered:
            detection = self.detections[self.fields.index(field)]
            exposure = np.where(field.exposure > 0.05, field.exposure, np.nan)
            here = fill_undefined(np.asarray(detection.model, dtype=float) / exposure)
            fine = field.interpolate(here, self.shape) / field.scale**2
            weight = left * (1.0 if field is ordered[-1] else _taper(field, self.shape))
            rate += weight * fine
            left -= weight
        return rate * observation.relative_exposure


def search(
    detector: Detector,
    observations: Sequence[Observation],
    centres: Sequence[tuple[float, float]],
    scales: Sequence[Sequence[int]],
    advance: Callable[[int], None] | None = None,
) -> list[Search]:
    """Search images at all their binnings, the fields of several images together.

    Parameters
    ----------
    detector : Detector
        What searches a field.
    observations, centres, scales : sequences of one length
        Images, their cluster centres (x, y) [pixel] and binnings.
    advance : callable, optional
        Called with the number of fields done since the last call.
    """
    fields = [
        [cut_field(observation, k, centre) for k in chosen]
        for observation, centre, chosen in zip(observations, centres, scales, strict=True)
    ]
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
            if advance is not None:
                advance(len(chunk))
    out = []
    for i, of_image in enumerate(fields):
        detections = [found[i, j] for j in range(len(of_image))]
        candidates = merge(
            of_image, [from_table(f, d.table) for f, d in zip(of_image, detections, strict=True)]
        )
        out.append(Search(observations[i].counts.shape, of_image, detections, candidates))
    return out


def _taper(field: Field, shape: tuple[int, int]) -> NDArray[Any]:
    """1 in the inner half of a field, falling to 0 at its border."""
    X, Y = field.from_image(np.arange(shape[1]), np.arange(shape[0]))

    def along(positions: NDArray[Any], size: int) -> NDArray[Any]:
        reach = np.abs(positions - (size - 1) / 2) / (size / 2)
        return np.clip((1 - reach) / 0.4, 0, 1)

    ramp = along(Y, field.counts.shape[0])[:, None] * along(X, field.counts.shape[1])
    return ramp * ramp * (3 - 2 * ramp)


def fill_undefined(image: NDArray[Any]) -> NDArray[Any]:
    """Image whose undefined pixels have the value of the nearest defined one."""
    bad = ~np.isfinite(image)
    if not bad.any():
        return image
    if bad.all():
        return np.zeros_like(image)
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
