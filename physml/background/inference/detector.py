"""From frames to probabilities: events found, described, classified, calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from physml.models import read_weights
from physml.nn.device import device_of

from ..core.arrays import Floats, Ints, Singles
from ..core.events import Found, find_events, nearest_particle
from ..core.frames import Frames
from ..settings import NetworkSettings
from .adapted_cuts import PSEUDO_XRAYS, adapt
from .cuts import CutTables, Thresholds, nearest
from .event_level import EventLevel
from .housing import ENOUGH, Housing, Part, measure
from .injection import Injected
from .inputs import BLIND, STANDOFF, Members, members, particle_rate, ragged
from .network import EventNet

# A batch of sets of k members holds n k^2 pairs: few enough to stay in the processor's cache.
PAIRS = 20_000


@dataclass(frozen=True)
class Classified:
    """Events of some frames with their probabilities.

    Attributes
    ----------
    found : Found
    p_bkg : ndarray of float64, shape (m,)
        Probability that an event is background, at equal numbers of X-rays and background of its
        energy; 1 for particles.
    p_frame : ndarray of float64, shape (n, 3)
        Probabilities that a frame holds X-rays only, particles only, both; nan for frames
        without a cluster.
    d_mip : ndarray of float64, shape (m,)
        Distance to the nearest pixel of a cluster above 15 keV, pixels; nan where there is none.
    p_cluster : ndarray of float64, shape (k,)
        As `p_bkg`, for each cluster.
    rate : ndarray of float64, shape (m,)
        Particles a frame in the exposure of each event, for `BackgroundDetector.threshold`.
    """

    found: Found
    p_bkg: Floats
    p_frame: Floats
    d_mip: Floats
    p_cluster: Floats
    rate: Floats

    @property
    def p_pixel(self) -> Floats:
        """Probability of each pixel to hold a particle's charge, shape (n_pixels,).

        That of its cluster; nan for pixels below the threshold.
        """
        cluster = self.found.pixel_cluster
        if len(self.p_cluster) == 0:
            return np.full(len(cluster), np.nan)
        return np.where(cluster >= 0, self.p_cluster[np.maximum(cluster, 0)], np.nan)


class BackgroundDetector:
    """Trained network with its calibration.

    Parameters
    ----------
    network : EventNet
    card : dict
        Metadata of the weights: network settings, calibration, thresholds, lineage.
    standoff : float
        Distance from the silicon to the housing above and below, mm. See `at` and `settled`.
    """

    def __init__(self, network: EventNet, card: dict[str, Any], standoff: float = STANDOFF) -> None:
        self.network = network.eval()
        self.card = card
        self.version = str(card.get("version", "untrained"))
        self.limit = int(card.get("limit", 24))
        made = card.get("thresholds")
        self.cuts = CutTables.from_dict(made) if made else None
        self.standoff = standoff
        self._thresholds: Thresholds | None = None
        level = card.get("event_level")
        self.event_level = EventLevel.from_dict(level) if level else None

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> BackgroundDetector:
        """Load weights, the shipped ones by default.

        Parameters
        ----------
        path : path, optional

        Raises
        ------
        InputError
            The file is no safetensors file, or not one of this pipeline.
        """
        weights = read_weights("background", path)
        network = EventNet(NetworkSettings(**weights.card["network"]))
        weights.fill(network, EventNet.part)
        return cls(network, weights.card)

    @property
    def standoffs(self) -> Floats:
        """Stand-offs that there are cuts for, mm."""
        return np.array([self.standoff]) if self.cuts is None else self.cuts.standoff

    def at(self, standoff: float) -> BackgroundDetector:
        """Return the same network for a housing at another distance.

        Parameters
        ----------
        standoff : float
            mm; the nearest of `standoffs` is taken.
        """
        there = self.standoffs
        return type(self)(self.network, self.card, float(there[nearest(there, standoff)]))

    def settled(
        self, parts: list[Part], *, standoff: float | None = None, enough: int = ENOUGH
    ) -> tuple[BackgroundDetector, Housing]:
        """Return the same network for some frames: their housing, and cuts that hold on them.

        Parameters
        ----------
        parts : list of `housing.Part`
        standoff : float, optional
            mm, where it is known; measured by default.
        enough : int
            Events to look at, at most.

        Returns
        -------
        detector : BackgroundDetector
        housing : Housing
            What was measured.
        """
        tried = self.standoffs if standoff is None else np.array([self.at(standoff).standoff])
        known = self.card.get("observations", {})
        housing = measure(self, parts, enough, tried, known.get("scatter", 0.0))
        there = self.at(housing.standoff)
        if housing.xrays is not None and there.thresholds is not None:
            held = known.get("pseudo_xrays", PSEUDO_XRAYS)
            there._thresholds = adapt(there.thresholds, housing.xrays, held)
        return there, housing

    @property
    def thresholds(self) -> Thresholds | None:
        """Cuts for the stand-off, or for the frames that it is settled for."""
        if self._thresholds is not None or self.cuts is None:
            return self._thresholds
        return self.cuts.at(self.standoff)

    @property
    def retentions(self) -> tuple[float, float]:
        """Lowest and highest retention that cuts were made for."""
        if self.thresholds is None:
            return 0.0, 1.0
        return float(self.thresholds.retention[0]), float(self.thresholds.retention[-1])

    def threshold(
        self,
        energy: ArrayLike,
        retention: float,
        band: tuple[float, float] | None = None,
        rate: ArrayLike | None = None,
    ) -> Floats:
        """Cut on `Classified.p_bkg` that keeps a share of the X-rays.

        Parameters
        ----------
        energy, retention, band, rate : array_like, float, tuple of float, array_like
            See `Thresholds.logit`; rates are those of `Classified.rate`.

        Returns
        -------
        ndarray, shape (m,)
            Events with ``p_bkg`` above it are rejected.

        Raises
        ------
        ValueError
            The retention is outside of what the table holds, or there is no table.
        """
        if self.thresholds is None:
            raise ValueError("these weights have no thresholds")
        return _sigmoid(self.thresholds.logit(energy, retention, band, rate))

    def calibrated(self, logit: ArrayLike) -> Floats:
        """Logits after Platt scaling."""
        c = self.card.get("calibration", {})
        return c.get("slope", 1.0) * np.asarray(logit, np.float64) + c.get("offset", 0.0)

    def classify(
        self,
        frames: Frames,
        found: Found | None = None,
        *,
        batch: int = 4096,
        context: bool = True,
        rate: float | Floats | None = None,
    ) -> Classified:
        """Classify all events and clusters of frames.

        Parameters
        ----------
        frames : Frames
        found : Found, optional
            Their events; found with the default thresholds otherwise.
        batch : int
            Largest number of sets at once.
        context : bool
            False classifies each event by its own pixels, without what lies around it.
        rate : float or ndarray of shape (number of exposures,), optional
            Particles a frame, where it is known better than from these frames: in a stream, from
            those before as well.
        """
        if found is None:
            found = find_events(frames)
        rates = np.atleast_1d(particle_rate(found, frames) if rate is None else rate)
        m = members(found, frames, self.limit, rates, self.standoff)
        logit, frame_logit = self.logits(m if context else apart(m), batch)
        p = np.ones(len(found.clusters))
        p[m.cluster[m.query]] = _sigmoid(self.calibrated(logit[m.query]))
        p[found.clusters["particle"]] = 1
        p_frame = np.full((len(frames), 3), np.nan)
        if context and len(m):
            at, each = merge_sets(m.frame, _softmax(frame_logit))
            p_frame[at] = each
        distance, _ = nearest_particle(found, frames)
        of_event = frames.frame_exposure[frames.position(found.events["frame"])]
        return Classified(
            found,
            p[found.events["cluster"]],
            p_frame,
            np.where(np.isfinite(distance), distance, np.nan),
            p,
            np.broadcast_to(rates, max(len(rates), of_event.max(initial=0) + 1))[of_event],
        )

    def embedded(self, m: Members, batch: int = 8192) -> Members:
        """Members with what the patch network makes of their pixels in the place of these.

        It knows neither what is around a member nor the stand-off: where members are classified
        more than once, it need not run again. Exported networks take pixels only: of those the
        members are given back as they are.
        """
        if not isinstance(self.network, EventNet) or m.patch.ndim == 2:
            return m
        device, made = device_of(self.network), []
        with torch.inference_mode():
            for first in range(0, len(m.patch), batch):
                part = torch.from_numpy(m.patch[first : first + batch]).to(device)
                made.append(self.network.patch(part).cpu().numpy())
        return replace(m, patch=np.concatenate(made)) if made else m

    def logits(self, m: Members, batch: int = 4096) -> tuple[Singles, Singles]:
        """Raw logits of all members, shape (t,), and of all sets, shape (g, 3)."""
        logit = np.zeros(len(m.feature), np.float32)
        frame_logit = np.zeros((len(m), 3), np.float32)
        sizes = m.sizes
        order = np.argsort(sizes, kind="stable")
        first = 0
        while first < len(order):
            sets = order[first : first + self._fit(sizes[order], first, batch)]
            rows, present = ragged(m.start, sets)
            event, frame = self._run(m.patch[rows], m.feature[rows], m.place[rows], present)
            logit[rows[present]] = event[present]
            frame_logit[sets] = frame
            first += len(sets)
        return logit, frame_logit

    @staticmethod
    def _fit(sizes: NDArray, first: int, batch: int) -> int:
        """Number of sets, in order of size from `first` on, that make one batch."""
        k = int(sizes[first])
        guess = max(1, min(batch, PAIRS // (k * k)))
        # The largest of them decides about the padding.
        k = int(sizes[min(first + guess, len(sizes)) - 1])
        return max(1, min(batch, PAIRS // (k * k)))

    def _run(
        self, patch: NDArray, feature: NDArray, place: NDArray, present: NDArray
    ) -> tuple[Singles, Singles]:
        device = device_of(self.network)
        with torch.inference_mode():
            event, frame = self.network(
                *(torch.from_numpy(a).to(device) for a in (patch, feature, place, present))
            )
        return event.cpu().numpy(), frame.cpu().numpy()

    def injected_logits(self, injected: Injected, batch: int = 512) -> Floats:
        """Calibrated logits of injected X-rays, shape (n,)."""
        n = len(injected.slot)
        out = np.empty(n, np.float64)
        last = (injected.present * np.arange(1, injected.present.shape[1] + 1)).max(1)
        order = np.argsort(last, kind="stable")
        for first in range(0, n, batch):
            rows = order[first : first + batch]
            k = int(last[rows[-1]])
            event, _ = self._run(
                injected.patches[injected.patch[rows, :k]],
                injected.feature[rows, :k],
                injected.place[rows, :k],
                injected.present[rows, :k],
            )
            out[rows] = event[np.arange(len(rows)), injected.slot[rows]]
        return self.calibrated(out)

    def classify_events(
        self, energy: ArrayLike, grade: ArrayLike, convention: str = "asca"
    ) -> Floats:
        """Probabilities of events of which only energy and grade are known.

        Parameters
        ----------
        energy : array_like, shape (m,)
            keV.
        grade : array_like of int, shape (m,)
            ASCA (ACIS) grades 0 to 7, or EPIC-pn patterns 0 to 12 and -1.
        convention : {"asca", "epic"}

        Returns
        -------
        ndarray, shape (m,)
            Probability of background, at equal numbers of X-rays and background of the energy.

        Raises
        ------
        ValueError
            An unknown convention or grade, or weights without an event-level model.
        """
        if self.event_level is None:
            raise ValueError("these weights have no event-level model")
        return self.event_level.probability(energy, grade, convention)


def apart(m: Members) -> Members:
    """Each member in a set of its own, told that nothing is known of what lies around it."""
    feature = m.feature.copy()
    feature[:, BLIND] = 1
    n = len(feature)
    of_set = np.repeat(m.frame, m.sizes)
    return replace(m, feature=feature, start=np.arange(n + 1), frame=of_set)


def merge_sets(frame: Ints, p: NDArray) -> tuple[Ints, NDArray]:
    """Classes of frames from those of the sets they were cut into.

    A frame holds a particle (an X-ray) unless none of its sets does.

    Parameters
    ----------
    frame : ndarray of int, shape (g,)
        Increasing.
    p : ndarray, shape (g, 3)

    Returns
    -------
    frame : ndarray of int, shape (n,)
    p : ndarray, shape (n, 3)
    """
    first = np.flatnonzero(np.append(True, np.diff(frame) != 0))
    if len(first) == len(frame):
        return frame, p
    without = np.stack([1 - p[:, 0] - p[:, 2], 1 - p[:, 1] - p[:, 2]], 1).clip(0, 1)
    no_xray, no_particle = np.multiply.reduceat(without, first).T
    joint = np.stack(
        [
            (1 - no_xray) * no_particle,
            no_xray * (1 - no_particle),
            (1 - no_xray) * (1 - no_particle),
        ],
        1,
    )
    total = joint.sum(1, keepdims=True)
    single = np.diff(np.append(first, len(frame))) == 1
    return frame[first], np.where(single[:, None], p[first], joint / np.maximum(total, 1e-300))


def _sigmoid(x: NDArray) -> Floats:
    return np.asarray(expit(np.asarray(x, np.float64)))


def _softmax(x: NDArray) -> Floats:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
