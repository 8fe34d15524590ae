"""The search of one image, or many: fields at all binnings, detector, one list of cavities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..core.matching import COMPANION
from ..data.observation import Observation
from .fields import Field, cut_field
from .merge import Candidate, Merging, from_table, merge

#: Probability from which a candidate is listed, flagged where it is not a confident detection:
#: clearly more likely a cavity than not. A definition, for any weights, since probabilities are
#: calibrated; whether that holds is measured by `learning.merging` and stored with the weights.
LISTED = 0.6
#: Fields searched together: enough to keep the processor busy, 10 MB each in the network.
BATCH = 16
#: Pixels of a map that are made together.
BAND_PIXELS = 1 << 20


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
        out = np.zeros(self.shape, dtype=np.float32)
        for rows in _bands(self.shape):
            total = np.zeros_like(out[rows])
            for field, detection in zip(self.fields, self.detections, strict=True):
                weight = self._weight(field, rows)
                out[rows] += weight * field.interpolate(detection.probability, self.shape, rows)
                total += weight
            np.divide(out[rows], total, out=out[rows], where=total > 0)
        return out.clip(0, 1, out=out)

    def _weight(self, field: Field, rows: slice) -> NDArray[np.float32]:
        """Weight of a field in the map of probabilities, on some rows of the input."""
        y, x = np.arange(self.shape[0])[rows], np.arange(self.shape[1])
        inside = field.contains(x, field.y0)[None] & field.contains(field.x0, y)[:, None]
        # Going out softly towards its border, so that no edge of a field shows in the map.
        taper = (inside * (0.02 + _taper(field, self.shape, rows))).astype(np.float32)
        weight = 0.05 * taper
        for candidate in self.candidates:
            if candidate.scale != field.scale:
                continue
            high, wide = candidate.window(self.shape, 2.0)
            first, last = max(high.start, rows.start), min(high.stop, rows.stop)
            if first >= last:
                continue
            Y, X = np.mgrid[first:last, wide]
            rho = np.sqrt(candidate.squared_radius(X, Y))
            soft = np.clip((1.8 - rho) / 0.6, 0, 1).astype(np.float32)
            here = slice(first - rows.start, last - rows.start), wide
            weight[here] += soft * candidate.probability * taper[here]
        return weight

    def labels(self, candidates: Sequence[Candidate]) -> NDArray[Any]:
        """Labels on input pixels, shape (H, W), int32: k for the k-th candidate, 0 outside.

        Where two overlap, the pixel goes to the more probable one.
        """
        out = np.zeros(self.shape, dtype=np.int32)
        order = sorted(enumerate(candidates, start=1), key=lambda pair: pair[1].probability)
        for number, candidate in order:
            field = self.field(candidate.scale)
            detection = self.detections[self.fields.index(field)]
            own = np.asarray(detection.labels) == candidate.row + 1
            window, mask = field.spread_mask(own, self.shape)
            out[window][mask] = number
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
        rate = np.empty(self.shape)
        ordered = sorted(self.fields, key=lambda f: f.scale)
        smooth = []
        for field in ordered:
            detection = self.detections[self.fields.index(field)]
            exposure = np.where(field.exposure > 0.05, field.exposure, np.nan)
            here = fill_undefined(np.asarray(detection.model, dtype=float) / exposure)
            smooth.append(here / field.scale**2)
        for rows in _bands(self.shape):
            band = np.zeros_like(rate[rows])
            left = np.ones_like(band)
            for field, model in zip(ordered, smooth, strict=True):
                last = field is ordered[-1]
                weight = left * (1.0 if last else _taper(field, self.shape, rows))
                band += weight * field.interpolate(model, self.shape, rows)
                left -= weight
            rate[rows] = band
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
    merging = Merging.of(detector.card)
    for i, of_image in enumerate(fields):
        detections = [found[i, j] for j in range(len(of_image))]
        found_in = [from_table(f, d.table) for f, d in zip(of_image, detections, strict=True)]
        candidates = merge(of_image, found_in, merging)
        out.append(Search(observations[i].counts.shape, of_image, detections, candidates))
    return out


def _bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of an image, a million pixels at a time: bounds the memory for large images."""
    step = max(1, BAND_PIXELS // shape[1])
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def _taper(field: Field, shape: tuple[int, int], rows: slice) -> NDArray[Any]:
    """1 in the inner half of a field, falling to 0 at its border; on some rows of the input."""
    X, Y = field.from_image(np.arange(shape[1]), np.arange(shape[0])[rows])

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
