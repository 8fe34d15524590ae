"""Distance of the housing, measured on the frames themselves.

Electrons out of the housing land near the track of the cosmic ray that set them free if the
housing is near, and anywhere if it is far. The network is told how far it is, and so says for each
event how much more likely its surroundings are for background than for an X-ray, under each of
some stand-offs. Which of them suits all events best is a question of likelihood.

What an X-ray's surroundings look like is taken from the frames themselves: each event is put into
other frames as well, of which it knows nothing. Ratios of likelihoods have a mean of one there, and
are divided by the mean that they have. Without that the stand-off under which a network is wrong
about the frames as such would win.

A network is not quite right about any frames, and more events do not mend that: what is measured
scatters about the truth by more than its likelihood says. By how much is fitted on simulated
observations of many stand-offs and kept with the weights (`learning.observations`), so that the
interval holds the true stand-off as often as it says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.interpolate import PchipInterpolator

from physml.random import stream

from ..core.arrays import Floats, Ints, Singles
from ..core.events import Found
from ..core.frames import Frames
from .adapted_cuts import Xrays
from .cuts import nearest
from .injection import Injected, Library, put
from .inputs import LOG_STANDOFF, RATE, STANDOFF, Members, members, some_sets

#: Events on which the stand-off is measured as well as it is needed.
ENOUGH = 15_000
#: Other frames that each event is put into: to tell stand-offs apart, and under the one taken.
ELSEWHERE, DRAWS = 4, 6
#: Edges of energy bins, in each of which the share of background is its own, keV.
ENERGIES = (0.2, 1.0, 2.5, 5.0, 8.0, 15.01)
#: Steps of expectation maximisation.
STEPS = 60
#: Fewest events in an energy bin.
LEAST = 30
#: Ends of the stand-offs that are thought of, mm: those that the network was trained with.
ENDS = (3.0, 30.0)
#: Points, even in the logarithm, at which the probability of a stand-off is worked out.
POINTS = 201
#: Probability content of the interval.
LEVEL = 0.9
# Frames, their events, and particles a frame by exposure (`inputs.particle_rate`).
Part = tuple[Frames, Found, Floats]


class Scorer(Protocol):
    """Network whose evidence is weighed, as `BackgroundDetector` is one."""

    limit: int

    @property
    def standoffs(self) -> Floats:
        """Stand-offs that there are cuts for, mm."""

    def embedded(self, m: Members) -> Members:
        """Members with their pixels worked out as far as the stand-off does not matter."""

    def logits(self, m: Members) -> tuple[Singles, Singles]:
        """Raw logits of members and of sets."""

    def injected_logits(self, injected: Injected) -> Floats:
        """Calibrated logits of injected events."""

    def calibrated(self, logit: Singles) -> Floats:
        """Logits after Platt scaling."""


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
    xrays : Xrays or None
        The events in other frames than their own, under the stand-off that is nearest to what
        was found.
    scatter : float
        Standard deviation in the logarithm of the stand-off that no number of events takes away.
    """

    standoffs: Floats
    log_likelihood: Floats
    events: int
    xrays: Xrays | None = None
    scatter: float = 0.0

    @property
    def probability(self) -> Floats:
        """Of each of the stand-offs, all of which were as likely before, shape (s,)."""
        p = np.exp(self.log_likelihood - self.log_likelihood.max())
        return np.asarray(p / p.sum())

    @property
    def standoff(self) -> float:
        """Geometric mean, mm: the middle of those that were tried where nothing was seen."""
        return float(np.exp(self.probability @ np.log(self.standoffs)))

    @property
    def grid(self) -> Floats:
        """Stand-offs between `ENDS`, even in the logarithm, shape (`POINTS`,)."""
        return np.geomspace(*ENDS, POINTS)

    @property
    def density(self) -> Floats:
        """Probability of each stand-off of the grid, shape (`POINTS`,); all as likely before.

        Between those that were tried the log-likelihood is interpolated without bumps of its own;
        beyond the last on either side it stays as it is there. Then it is spread by `scatter`.
        """
        if len(self.standoffs) == 1:
            return np.full(POINTS, 1 / POINTS)
        x, tried = np.log(self.grid), np.log(self.standoffs)
        log_p = PchipInterpolator(tried, self.log_likelihood)(np.clip(x, tried[0], tried[-1]))
        p = np.exp(log_p - log_p.max())
        if self.scatter > 0:
            kernel = np.exp(-0.5 * ((x[:, None] - x) / self.scatter) ** 2)
            p = (kernel / kernel.sum(0)) @ p  # nothing is lost at the ends
        return np.asarray(p / p.sum())

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the likeliest stand-offs that hold 90 % together, mm."""
        if len(self.standoffs) == 1:
            return float(self.standoffs[0]), float(self.standoffs[0])
        chosen = self.grid[self.content <= LEVEL]
        return float(chosen.min()), float(chosen.max())

    @property
    def content(self) -> Floats:
        """Probability of all that is likelier than each stand-off of the grid, shape (`POINTS`,).

        A stand-off is in the interval of a content if it is not above it.
        """
        # Up to rounding: where nothing was seen all are as likely, and none is left out.
        value, place = np.unique(np.round(self.density, 12), return_inverse=True)
        held = np.bincount(place, self.density, minlength=len(value))
        return np.asarray((held[::-1].cumsum()[::-1] - held)[place], np.float64)

    def content_at(self, standoff: float) -> float:
        """Least content of an interval that holds a stand-off [mm]."""
        return float(self.content[int(np.argmin(np.abs(np.log(self.grid / standoff))))])


@dataclass
class Evidence:
    """Logits of events under several stand-offs, where they are and elsewhere.

    Attributes
    ----------
    energy, rate, weight : ndarray, shape (m,)
        keV; particles a frame; of their frames.
    here : ndarray, shape (s, m)
        Logits of background under each stand-off.
    elsewhere : ndarray, shape (s, m, e)
        The same in other frames; nan where an event fell onto a cluster.
    """

    energy: Floats
    rate: Floats
    weight: Floats
    here: Floats
    elsewhere: Floats

    @classmethod
    def none(cls, standoffs: int, draws: int) -> Evidence:
        """Evidence of no events."""
        z = np.zeros(0)
        return cls(z, z, z, np.zeros((standoffs, 0)), np.zeros((standoffs, 0, draws)))

    def __len__(self) -> int:
        """Number of events."""
        return len(self.energy)


def measure(
    detector: Scorer,
    parts: list[Part],
    enough: int = ENOUGH,
    standoffs: Floats | None = None,
    scatter: float = 0.0,
) -> Housing:
    """Measure the stand-off.

    Parameters
    ----------
    detector : BackgroundDetector
    parts : list of `Part`
    enough : int
        Events to use, at most.
    standoffs : ndarray, shape (s,), optional
        Those to try, mm; by default those that the detector has cuts for.
    scatter : float
        See `Housing`.
    """
    standoffs = detector.standoffs if standoffs is None else standoffs
    e = _collect(detector, parts, standoffs, enough, ELSEWHERE)
    if len(e) == 0:
        return Housing(standoffs, np.zeros(len(standoffs)), 0, scatter=scatter)
    made = Housing(standoffs, log_likelihood(e), len(e), scatter=scatter)
    taken = standoffs[[nearest(standoffs, made.standoff)]]
    e = _collect(detector, parts, taken, enough, DRAWS)
    _, xray = mixture(e.energy, e.weight, e.here[0], e.elsewhere[0])
    return replace(made, xrays=Xrays(e.elsewhere[0], e.energy, e.rate, e.weight * xray))


def log_likelihood(e: Evidence) -> Floats:
    """Log-likelihood of events under each stand-off, against that of X-rays only, shape (s,)."""
    pairs = zip(e.here, e.elsewhere, strict=True)
    return np.array([mixture(e.energy, e.weight, *pair)[0] for pair in pairs])


def _collect(
    detector: Scorer, parts: list[Part], standoffs: Floats, enough: int, draws: int
) -> Evidence:
    """Evidence of the first parts, until there is enough."""
    found: list[Evidence] = []
    for k, (frames, events, rate) in enumerate(parts):
        left = enough - sum(map(len, found))
        if left <= 0:
            break
        rng = stream(0, "predict", k)  # the same data have the same housing
        found.append(evidence(detector, frames, events, rate, standoffs, left, draws, rng))
    found = found or [Evidence.none(len(standoffs), draws)]
    axes = {"energy": 0, "rate": 0, "weight": 0, "here": 1, "elsewhere": 1}
    return Evidence(
        **{name: np.concatenate([getattr(f, name) for f in found], k) for name, k in axes.items()}
    )


def evidence(
    detector: Scorer,
    frames: Frames,
    found: Found,
    rate: Floats,
    standoffs: Floats,
    most: int,
    draws: int,
    rng: np.random.Generator,
) -> Evidence:
    """Logits of events under several stand-offs, where they are and in other frames.

    Parameters
    ----------
    detector : BackgroundDetector
    frames : Frames
    found : Found
    rate : ndarray
        Particles a frame by exposure.
    standoffs : ndarray, shape (s,)
        mm.
    most : int
        Events to use, at most; drawn from all.
    draws : int
        Other frames that each is put into.
    rng : numpy.random.Generator
    """
    m = members(found, frames, detector.limit, rate)
    rows = np.flatnonzero(m.query & (m.event >= 0))
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    n, s = len(rows), len(standoffs)
    if n == 0:
        return Evidence.none(s, draws)
    m = detector.embedded(m)
    set_of = np.repeat(np.arange(len(m)), m.sizes)[rows]
    sets, place = np.unique(set_of, return_inverse=True)
    here = some_sets(m, sets)
    at = here.start[place] + rows - m.start[set_of]
    moved = [_elsewhere(m, frames, rows, set_of, rng) for _ in range(draws)]
    out = Evidence(
        found.events["energy"][m.event[rows]].astype(np.float64),
        10.0 ** m.feature[rows, RATE].astype(np.float64),
        frames.weight[m.frame[set_of]].astype(np.float64),
        np.empty((s, n)),
        np.full((s, n, draws), np.nan),
    )
    for k, standoff in enumerate(standoffs):
        told = np.float32(np.log10(standoff / STANDOFF))
        here.feature[:, LOG_STANDOFF] = told
        out.here[k] = detector.calibrated(detector.logits(here)[0][at])
        for j, injected in enumerate(moved):
            injected.feature[..., LOG_STANDOFF] = told
            logit = detector.injected_logits(injected)
            out.elsewhere[k, :, j] = np.where(injected.free, logit, np.nan)
    return out


def _elsewhere(
    m: Members, frames: Frames, rows: Ints, set_of: Ints, rng: np.random.Generator
) -> Injected:
    """Put events into other frames of their exposures, at the places of other events."""
    first_set = np.full(len(frames), -1)
    first_set[m.frame[::-1]] = np.arange(len(m))[::-1]
    exposure = frames.frame_exposure
    own = exposure[m.frame[set_of]]
    other = np.empty(len(rows), np.int64)
    for number in np.unique(own):
        pool, mine = np.flatnonzero(exposure == number), np.flatnonzero(own == number)
        share = frames.weight[pool].astype(np.float64)
        other[mine] = rng.choice(pool, len(mine), p=share / share.sum())
    sets = first_set[other]
    slot = np.where(sets >= 0, m.sizes[np.maximum(sets, 0)], 0)
    library = Library(m.feature[rows], m.patch[rows], m.place[rows, 2:])
    where = m.place[rng.permutation(rows), :2]
    return put(m, sets, slot, library, np.arange(len(rows)), where, m.feature[rows, RATE])


def mixture(
    energy: Floats, weight: Floats, here: Floats, elsewhere: Floats
) -> tuple[float, Floats]:
    """Log-likelihood of events under a mixture of background and X-rays.

    In each bin of energy the share of background is that which suits the events best
    (expectation maximisation): spectra of sources are not known.

    Parameters
    ----------
    energy, weight : ndarray, shape (m,)
        keV; how many events each stands for.
    here : ndarray, shape (m,)
        Logs of the likelihood ratios of background to X-rays.
    elsewhere : ndarray, shape (m, e)
        The same of events that are X-rays for certain, or as good as.

    Returns
    -------
    total : float
    xray : ndarray, shape (m,)
        Probability of each event to be an X-ray; 1 where events of its energy are too few.
    """
    total, xray = 0.0, np.ones(len(energy))
    place = np.searchsorted(ENERGIES, energy, side="right")
    ratio, null = (np.exp(np.clip(v, -30, 30)) for v in (here, elsewhere))
    for k in np.unique(place):
        mine = place == k
        if mine.sum() < LEAST:
            continue
        w = weight[mine]
        known = np.isfinite(null[mine])
        mean = np.average(
            null[mine][known], weights=np.broadcast_to(w[:, None], known.shape)[known]
        )
        r, share = ratio[mine] / mean, 0.5
        for _ in range(STEPS):
            share = float(np.average(share * r / (share * r + 1 - share), weights=w))
        # Kish's effective number: weights of different size say less than their sum.
        number = w.sum() ** 2 / (w**2).sum()
        total += float(number * np.average(np.log(share * r + 1 - share), weights=w))
        xray[mine] = (1 - share) / (share * r + 1 - share)
    return total, xray
