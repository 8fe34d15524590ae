"""Test against the faults that laboratories have: far stronger than a test against anything.

The statistic is the largest log-likelihood under any of the faults (`faults_of`) less the largest
without one, a likelihood ratio of models that do not contain each other (Cox, J. R. Stat. Soc. B
24, 406, 1962). Its law without a fault is simulated at the most likely state, with refits; where
the state looks the same under a fault, as the maximally mixed one does, the statistic is about zero
and nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from ...core.likelihood import TINY
from ...core.measurements import Setting
from ...core.operators import to_coordinates
from ..classical.likelihood import maximum_likelihood
from .faults import faults_of
from .grouping import key_of

#: Log-likelihood that a fault has to gain before its law is simulated. Where the state looks nearly
#: the same under a fault, gains g have tails as exp(-g), which forty data sets cannot show.
WORTHWHILE = 8.0
#: Simulated data sets.
REPLICATES = 40
#: Faults that are named: those within this log-likelihood of the best.
AS_GOOD = 3.0
#: Most outcomes in all, for the time that it takes, and largest dimension.
LARGEST, DIMENSION = 4000, 4
#: Log-likelihood that fits may miss: at first, where that rules out all faults; then.
ROUGH, TOLERANCE = 2.0, 0.1
ITERATIONS = 300


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
        Probability of as large a gain for data of a state without a fault.
    """

    faults: list[str]
    gain: float
    p_value: float


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
    number = sum(len(c) for c in counts)
    if not settings or number > LARGEST or settings[0].dimension > DIMENSION:
        return None
    asked = [to_coordinates(torch.from_numpy(really(s).effects)).numpy() for s in settings]
    words, models = [""], [asked]
    for text, rows in faults_of(settings, really):
        words.append(text)
        models.append(rows)
    coordinates, place = _distinct(models)
    total = _add_up(counts, place, coordinates.shape[1])[None]
    rough, left, _ = _best(coordinates, total, ROUGH)
    if len(words) == 1 or (rough + left)[0, 1:].max() - rough[0, 0] < least:
        return None
    found, _, state = _best(coordinates, total, TOLERANCE)
    gains = found[0, 1:] - found[0, 0]
    if gains.max() < least:
        return None
    gain = float(gains.max())
    simulated, _, _ = _best(coordinates, _simulate(asked, counts, place, state, rng), TOLERANCE)
    law = (simulated[:, 1:] - simulated[:, :1]).max(1)
    spread = max(float(law.std(ddof=1)), 0.5) * (1 + 1 / len(law)) ** 0.5
    p = max(float(student.sf((gain - law.mean()) / spread, len(law) - 1)), _blind(gain, law))
    if p >= allowed:
        return None
    order = [k for k in np.argsort(-gains) if gain - gains[k] < AS_GOOD]
    return FaultFound([words[k + 1] for k in order], gain, p)


def _blind(gain: float, law: NDArray[np.float64]) -> float:
    """Probability of a gain by an exponential law of those above zero, for nearly blind states."""
    above = law[law > 0]
    if not len(above):
        return 0.0
    return float(len(above) / len(law) * np.exp(-gain / max(1.0, float(above.mean()))))


def _distinct(
    models: Sequence[Sequence[NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], list[slice]]:
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


def _add_up(
    counts: Sequence[NDArray[np.int64]], place: Sequence[slice], size: int
) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    for c, at in zip(counts, place, strict=True):
        total[at] += c
    return total


def _simulate(
    rows: Sequence[NDArray[np.float64]],
    counts: Sequence[NDArray[np.int64]],
    place: Sequence[slice],
    state: Tensor,
    rng: Generator,
) -> NDArray[np.int64]:
    """Data (replicates, M) of a state without a fault."""
    x = to_coordinates(state).numpy()
    size = max(at.stop for at in place)
    out = np.zeros((REPLICATES, size), np.int64)
    for row, c, at in zip(rows, counts, place, strict=True):
        p = np.maximum(row @ x, 0)
        out[:, at] += rng.multinomial(int(c.sum()), p / p.sum(), size=REPLICATES)
    return out


def _best(
    coordinates: NDArray[np.float64], counts: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], Tensor]:
    """Log-likelihood (S, models) of data (S, M), what it may miss, and the first state."""
    sets, models = len(counts), len(coordinates)
    d = round(coordinates.shape[-1] ** 0.5)
    wide = torch.from_numpy(coordinates).repeat(sets, 1, 1)
    values = torch.from_numpy(counts.astype(np.float64)).repeat_interleave(models, 0)
    white = torch.eye(d, dtype=torch.complex128).expand(len(values), d, d) / d
    states, gap = maximum_likelihood(wide, values, white, tolerance, ITERATIONS)
    p = (wide @ to_coordinates(states)[..., None])[..., 0].clamp(min=TINY)
    likelihood = (values * p.log()).sum(-1).reshape(sets, models)
    return likelihood.numpy(), gap.reshape(sets, models).numpy(), states[0]
