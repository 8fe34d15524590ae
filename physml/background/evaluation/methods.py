"""Methods on the same footing: rivals with their cuts, the network, its ablations.

Each gives an event a score, higher for background, and a cut on it that was fixed before the
events were seen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats, Ints
from ..core.events import Found
from ..core.frames import Frames
from ..inference.detector import BackgroundDetector, Classified
from ..inference.inputs import members, particle_rate
from ..learning.energy_matching import energy_matching, threshold_at_retention
from .context_ablation import exchanged_pixels
from .lessons import Lessons, lessons_of
from .metrics import BANDS, Events
from .rivals import Rival

log = logging.getLogger(__name__)

MODEL, LOCAL, CONTEXT = "network", "network, local", "network, context"
#: With one cut for each band, which removes the most in the band as a whole.
MODEL_BAND = "network, one cut a band"
TREES = "boosted trees, both"
OTHER = ", other geometry"
KNOWN = ", trained on these frames"
#: Share of a rival's exposures that it learns from; the number of trees and its cuts come from the
#: rest. The network has 0.80 to learn from for 0.12 that its epoch and its cuts come from.
LEARNT = 0.87
#: Energies that rivals learn from, keV.
FIT_BAND = (0.3, 10.0)
#: Band -> whether each event is rejected.
Cut = Mapping[str, Bools]


@dataclass(frozen=True)
class Trained:
    """Rival that has learnt, with its cuts.

    Attributes
    ----------
    rival : Rival
    threshold : dict
        Band -> retention -> lowest score that is rejected.
    """

    rival: Rival
    threshold: Mapping[str, Mapping[float, float]]

    def cut(self, score: Floats, retention: float) -> Cut:
        """Apply the cuts made for a retention."""
        return {band: score >= t[retention] for band, t in self.threshold.items()}


def train(
    rivals: Sequence[Rival], frames: Frames, found: Found, retention: Sequence[float]
) -> list[Trained]:
    """Let rivals learn from simulated frames; see `train_on`.

    Parameters
    ----------
    rivals : sequence of Rival
    frames : Frames
        With truth; several exposures.
    found : Found
    retention : sequence of float
    """
    return train_on(rivals, lessons_of(frames, found), retention)


def train_on(
    rivals: Sequence[Rival], lessons: Lessons, retention: Sequence[float]
) -> list[Trained]:
    """Let rivals learn, and set their cuts on exposures they did not see, as the network's are.

    Parameters
    ----------
    rivals : sequence of Rival
    lessons : Lessons
        Of several exposures.
    retention : sequence of float

    Raises
    ------
    ValueError
        There is one exposure only.
    """
    events = lessons.events()
    numbers = np.unique(lessons.exposure)
    if len(numbers) < 2:
        raise ValueError("expected several exposures to learn from, found one")
    most = min(max(1, round(LEARNT * len(numbers))), len(numbers) - 1)
    learn = np.isin(lessons.exposure, numbers[:most])
    parts = []
    for part in (learn, ~learn):
        weight = _matched(events[part])
        rows = np.flatnonzero(part)[weight > 0]
        parts.append((lessons.feature[rows], events.label[rows], weight[weight > 0]))
    out = []
    for rival in rivals:
        rival.learn(*parts[0], check=parts[1])
        score = rival.rank(lessons.feature[~learn])
        out.append(Trained(rival, thresholds(events[~learn], score, retention)))
        log.info("%s: learnt from %d background events", rival.name, int(parts[0][1].sum()))
    return out


def _matched(events: Events) -> Floats:
    """Weights to learn with: X-rays have the energies of the background."""
    return energy_matching(events.energy, events.label, events.weight, band=FIT_BAND)


def _for_fit(events: Events, use: Bools, m: int) -> tuple[Ints, Floats]:
    """Label and energy-matched weight of every event found, 0 for those not to learn from."""
    label, weight = np.zeros(m, np.int64), np.zeros(m)
    label[events.row] = events.label
    weight[events.row[use]] = _matched(events[use])
    return label, weight


def thresholds(
    events: Events, score: Floats, retention: Sequence[float]
) -> dict[str, dict[float, float]]:
    """Lowest score to reject in each band, for each retention."""
    return {
        name: {
            r: threshold_at_retention(score, events.label, events.matched(band), r)
            for r in retention
        }
        for name, band in BANDS.items()
    }


def crossed(rival: Any, frames: Frames, found: Found, events: Events, folds: int = 5) -> Floats:
    """Scores of a rival that learnt from these very frames, each from the other parts of them.

    What could be reached with the test's own particles: it bounds from above what training on
    simulations can give, but for the small number of events.

    Parameters
    ----------
    rival : Rival
    frames : Frames
    found : Found
    events : Events
        Of the frames.
    folds : int
        Parts of the frames.

    Returns
    -------
    ndarray, shape (number of events,)
        Ranks among the photons of the part, in [0, 1]: the models of the parts have other scales.
    """
    fold = frames.position(events.frame) * folds // max(len(frames), 1)
    score = np.empty(len(events))
    for k in range(folds):
        part = fold == k
        label, weight = _for_fit(events, ~part, len(found.events))
        rival.fit(frames, found, label, weight)
        raw = rival.score(frames, found)[events.row[part]]
        photon = np.sort(raw[~events.background[part]])
        score[part] = np.searchsorted(photon, raw, side="left") / max(len(photon), 1)
    return score


def network_cuts(
    detector: BackgroundDetector, scored: Classified, events: Events, retention: float
) -> tuple[Cut, Cut]:
    """Cuts of the network: that which keeps the share at each energy, and that of each band.

    Returns
    -------
    each, whole : Cut
    """
    p, rate = scored.p_bkg[events.row], scored.rate[events.row]
    each = p > detector.threshold(events.energy, retention, rate=rate)
    whole = {
        name: p > detector.threshold(events.energy, retention, band, rate)
        for name, band in BANDS.items()
    }
    return dict.fromkeys(BANDS, each), whole


def context_only(
    detector: BackgroundDetector, frames: Frames, found: Found, rng: np.random.Generator
) -> Floats:
    """Score of the network when events of about equal energy have exchanged their own pixels.

    Returns
    -------
    ndarray of float64, shape (m,)
        For each of `found.events`.
    """
    rate = particle_rate(found, frames)
    m = members(found, frames, detector.limit, rate, detector.standoff)
    logit, _ = detector.logits(exchanged_pixels(m, rng))
    score = np.full(len(found.events), np.inf)
    own = m.query & (m.event >= 0)
    score[m.event[own]] = logit[own]
    return score
