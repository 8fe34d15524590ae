"""Test against the faults that laboratories have: far stronger than a test against anything.

The statistic of a fault is the largest log-likelihood under it less the largest without one, a
likelihood ratio of models that do not contain each other (Cox, J. R. Stat. Soc. B 24, 406, 1962),
both hedged. Its law without a fault is simulated at the most likely state, with refits: the test
holds for every state. (A ratio of integrals over states, which finds more, would name a fault for
each state that happens to be symmetric under it.) Where the state looks the same under a fault, as
the maximally mixed one does, the statistic is about zero and nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import t as student

from ...core.measurements import Setting
from ...core.operators import to_coordinates
from .faults import Fault, faults_of
from .grouping import key_of
from .hedged import hedged_maximum

#: Log-likelihood that a fault has to gain before its law is simulated.
WORTHWHILE = 3.0
#: Log-likelihood that a fault has to lose to be looked for no more, while the data grow.
HOPELESS = 25.0
#: Simulated data sets, and numbers of all their effects together from which there are fewer.
REPLICATES, FEWEST, NUMBERS = 200, 40, 4_000_000
#: Exponent of Chernoff's bound: at one, few replicates would determine it.
CHERNOFF = 0.8
#: Faults that are named: those within this log-likelihood of the best.
AS_GOOD = 3.0
#: Most outcomes in all, for the time that it takes, and largest dimension.
LARGEST, DIMENSION = 4000, 4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FaultFound:
    """Faults under which data are more probable than without one.

    Attributes
    ----------
    faults : list of str
        In words, to be read behind "if"; the best first.
    gain : float
        Log-likelihood that the best gains.
    p_value : float
        Probability of as large a gain of any fault for data of a state without one.
    """

    faults: list[str]
    gain: float
    p_value: float


class FaultSearch:
    """Searches in growing data; what was once far less probable is not looked for again."""

    def __init__(self) -> None:
        self._hopeless: set[tuple[str, ...]] = set()

    def look(
        self,
        settings: Sequence[Setting],
        counts: Sequence[NDArray[np.int64]],
        really: Callable[[Setting], Setting],
        rng: Generator,
        allowed: float,
    ) -> FaultFound | None:
        """Test as `find_fault`, for the faults that are left."""
        if not _possible(settings, counts):
            return None
        asked, faults = _models(settings, really, self._hopeless)
        if not faults:
            return None
        data = _Data(asked, faults, counts)
        gains = data.gains()
        self._hopeless |= {
            f.words for f, gain in zip(faults, gains, strict=True) if gain < -HOPELESS
        }
        return data.judge(gains, rng, allowed, WORTHWHILE)


def find_fault(
    settings: Sequence[Setting],
    counts: Sequence[NDArray[np.int64]],
    really: Callable[[Setting], Setting],
    rng: Generator,
    allowed: float,
    least: float = WORTHWHILE,
) -> FaultFound | None:
    """Test for the known faults; None where none is that much more probable.

    Parameters
    ----------
    settings : sequence of Setting
        That were asked for, in the order of time.
    counts : sequence of ndarray (k,)
    really : callable
        Puts the readout errors into a setting.
    rng : Generator
        Of the simulated data.
    allowed : float
        Probability of a false alarm.
    least : float
        Log-likelihood that a fault has to gain; less where it is known already that no state fits.
    """
    if not _possible(settings, counts):
        return None
    asked, faults = _models(settings, really, set())
    if not faults:
        return None
    data = _Data(asked, faults, counts)
    return data.judge(data.gains(), rng, allowed, least)


def _possible(settings: Sequence[Setting], counts: Sequence[NDArray[np.int64]]) -> bool:
    number = sum(len(c) for c in counts)
    return bool(settings) and number <= LARGEST and settings[0].dimension <= DIMENSION


def _models(
    settings: Sequence[Setting],
    really: Callable[[Setting], Setting],
    without: set[tuple[str, ...]],
) -> tuple[list[Array], list[Fault]]:
    """Coordinates of what was asked for, and faults, but for some."""
    effects = [really(s).effects for s in settings]
    ends = np.cumsum([len(e) for e in effects])[:-1]
    asked = np.split(to_coordinates(torch.from_numpy(np.concatenate(effects))).numpy(), ends)
    return asked, [f for f in faults_of(settings, really, asked) if f.words not in without]


class _Data:
    """Counts of measurements that differ under any of the models; the first is that of no fault."""

    def __init__(
        self, asked: list[Array], faults: list[Fault], counts: Sequence[NDArray[np.int64]]
    ) -> None:
        self.faults = faults
        self.asked, self.counts = asked, counts
        self.rows, self.place = _distinct([asked, *(f.rows for f in faults)])
        self.total = np.zeros(self.rows.shape[1], np.int64)
        for c, at in zip(counts, self.place, strict=True):
            self.total[at] += c

    def gains(self) -> Array:
        """Log-likelihood (faults,) that each gains."""
        values = np.broadcast_to(self.total.astype(np.float64), self.rows.shape[:2])
        value, states = hedged_maximum(self.rows, values)
        self.state = states[0]
        gains: Array = value[1:] - value[0]
        return gains

    def judge(
        self, gains: Array, rng: Generator, allowed: float, least: float
    ) -> FaultFound | None:
        """Compare gains with their law without a fault."""
        better = np.flatnonzero(gains >= least)
        if not len(better):
            return None
        law = self._law(better, rng)
        # Any of the faults may gain by chance, not only those that did.
        least_p = min(_p_value(float(gains[k]), x) for k, x in zip(better, law, strict=True))
        p = min(1.0, len(gains) * least_p)
        if p >= allowed:
            return None
        best = float(gains.max())
        order = [int(k) for k in np.argsort(-gains) if best - gains[k] < AS_GOOD]
        return FaultFound([word for k in order for word in self.faults[k].words], best, p)

    def _law(self, which: NDArray[np.intp], rng: Generator) -> Array:
        """Gains (which, replicates) of data of the most likely state without a fault."""
        size = self.rows.shape[1]
        number = int(np.clip(NUMBERS // self.rows[0].size, FEWEST, REPLICATES))
        drawn = np.zeros((number, size))
        for row, c, at in zip(self.asked, self.counts, self.place, strict=True):
            p = np.maximum(row @ self.state, 0)
            drawn[:, at] += rng.multinomial(int(c.sum()), p / p.sum(), size=number)
        values = [
            hedged_maximum(np.broadcast_to(self.rows[k], (number, *self.rows[k].shape)), drawn)[0]
            for k in (0, *(which + 1))
        ]
        return np.stack(values[1:]) - values[0]


def _p_value(gain: float, law: Array) -> float:
    """Probability of a gain as large, from simulated ones.

    Where gains are mostly losses, their law is nearly normal. Where the state looks nearly the same
    under a fault, those above zero have a tail that simulations do not reach: it is nearly
    exponential, and no longer than Chernoff's bound. One replicate more is assumed at zero.
    """
    number = len(law)
    spread = max(float(law.std(ddof=1)), 0.5) * (1 + 1 / number) ** 0.5
    above = law[law > 0]
    scale = max(1.0, float(above.mean()) if len(above) else 0.0)
    tail = (len(above) + 1) / (number + 1) * float(np.exp(-gain / scale))
    bound = (1 + float(np.exp(CHERNOFF * law).sum())) / (number + 1) * np.exp(-CHERNOFF * gain)
    return max(float(student.sf((gain - law.mean()) / spread, number - 1)), min(tail, bound))


def _distinct(models: Sequence[Sequence[Array]]) -> tuple[Array, list[slice]]:
    """Rows (models, M, d * d) of measurements that differ under any model, and places in them."""
    place: list[slice] = []
    known: dict[bytes, slice] = {}
    kept: list[int] = []
    end = 0
    for k in range(len(models[0])):
        key = b"".join(key_of(model[k]) for model in models)
        if key not in known:
            known[key] = slice(end, end + len(models[0][k]))
            end = known[key].stop
            kept.append(k)
        place.append(known[key])
    return np.stack([np.concatenate([model[k] for k in kept]) for model in models]), place
