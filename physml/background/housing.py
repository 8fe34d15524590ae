"""How far the housing is, from what the frames themselves tell.

Electrons out of the housing land near the track of the cosmic ray that set them free if the
housing is near, and anywhere if it is far. The network is told how far it is, and so says for each
event how much more likely its surroundings are for background than for an X-ray, under each of
some stand-offs. Which of them suits all events best is a question of likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .inputs import STANDOFF

if TYPE_CHECKING:
    from .detect import BackgroundDetector
    from .events import Found
    from .frames import Frames

#: Events whose stand-off has been measured as well as it is needed.
ENOUGH = 20_000
ENERGIES = (0.2, 1.0, 2.5, 5.0, 8.0, 15.01)  # keV; in each the share of background is its own
STEPS = 60  # of expectation maximisation
LEAST = 30  # events in an energy bin


@dataclass(frozen=True)
class Housing:
    """Stand-off of the housing, measured.

    Attributes
    ----------
    standoffs : ndarray, shape (s,)
        Those that were tried, mm.
    log_likelihood : ndarray, shape (s,)
        Of all events, against that of X-rays only.
    events : int
        Number of events that were used.
    """

    standoffs: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    events: int

    @property
    def probability(self) -> NDArray[np.float64]:
        """Of each of the stand-offs, all of which were as likely before, shape (s,)."""
        p = np.exp(self.log_likelihood - self.log_likelihood.max())
        return np.asarray(p / p.sum())

    @property
    def standoff(self) -> float:
        """Geometric mean, mm: the middle of those that were tried where nothing was seen."""
        return float(np.exp(self.probability @ np.log(self.standoffs)))

    @property
    def interval(self) -> tuple[float, float]:
        """Least and largest of the likeliest stand-offs that hold 90 % together, mm."""
        order = np.argsort(-self.probability)
        held = np.cumsum(self.probability[order])
        chosen = self.standoffs[order[: int(np.searchsorted(held, 0.9)) + 1]]
        return float(chosen.min()), float(chosen.max())


def measure(
    detector: BackgroundDetector,
    parts: list[tuple[Frames, Found, NDArray[np.float64]]],
    enough: int = ENOUGH,
) -> Housing:
    """Measure the stand-off.

    Parameters
    ----------
    detector : BackgroundDetector
    parts : list of (Frames, Found, ndarray)
        Frames, their events, and particles a frame by exposure (`inputs.particle_rate`).
    enough : int
        Events to use, at most.

    Returns
    -------
    Housing
    """
    standoffs = np.asarray(detector.standoffs, np.float64)
    logits: list[list[NDArray[np.float64]]] = [[] for _ in standoffs]
    energies: list[NDArray[np.float64]] = []
    number = 0
    for frames, found, rate in parts:
        made = detector.evidence(frames, found, rate, standoffs, enough - number)
        energies.append(made[0])
        for kept, logit in zip(logits, made[1], strict=True):
            kept.append(logit)
        number += len(made[0])
        if number >= enough:
            break
    if number == 0:
        return Housing(standoffs, np.zeros(len(standoffs)), 0)
    energy = np.concatenate(energies)
    each = [log_likelihood(np.concatenate(kept), energy) for kept in logits]
    return Housing(standoffs, np.array(each), number)


def log_likelihood(logit: NDArray[np.float64], energy: NDArray[np.float64]) -> float:
    """Log-likelihood of events under a mixture of background and X-rays.

    In each bin of energy the share of background is that which suits the events best
    (expectation maximisation): spectra of sources are not known.

    Parameters
    ----------
    logit : ndarray, shape (m,)
        Log of the likelihood ratio of background to X-rays.
    energy : ndarray, shape (m,)
        keV.
    """
    total = 0.0
    place = np.searchsorted(ENERGIES, energy, side="right")
    ratio = np.exp(np.clip(logit, -30, 30))
    for k in np.unique(place):
        r = ratio[place == k]
        if len(r) < LEAST:
            continue
        share = 0.5
        for _ in range(STEPS):
            share = float(np.mean(share * r / (share * r + 1 - share)))
        total += float(np.log(share * r + 1 - share).sum())
    return total


def nearest(standoffs: NDArray[np.float64], standoff: float) -> int:
    """Which of some stand-offs is nearest, by its logarithm."""
    return int(np.argmin(np.abs(np.log(standoffs) - np.log(standoff))))


__all__ = ["ENOUGH", "STANDOFF", "Housing", "log_likelihood", "measure", "nearest"]
