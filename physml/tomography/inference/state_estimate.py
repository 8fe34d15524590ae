"""Estimate of a state from the data so far: region, functionals, goodness of fit."""

from __future__ import annotations

import logging
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError, PhysmlError
from physml.random import stream

from ..core.checks import check_probability, check_qubits
from ..core.estimator import Estimator
from ..core.measurements import Setting
from ..core.operators import to_coordinates
from ..core.qobj import to_qutip
from ..data.records import Measurement, Records
from .answers import Interval, Region, functional
from .by_name import make_estimator, make_readout
from .carried import carried_back, in_frame, readout_shifts, widened
from .goodness import GoodnessOfFit, goodness_of_fit
from .posterior import (
    Posterior,
    calibrated_radius,
    is_calibrated,
    posterior,
    thin_calibration,
)

if TYPE_CHECKING:
    import qutip

log = logging.getLogger(__name__)

#: Directions with less than this share of the largest singular value are not measured.
RANK = 1e-9

#: Largest number of qubits of which samples of a particle filter were found to hold the truth as
#: often as they say, or nearly.
MOST_SAMPLED = 2

#: Copies of the first part of a large measurement, and by what the parts then grow.
FIRST_BLOCK, GROWTH = 100, 1.4

# Places of the random streams of one tomographer.
START, SETTINGS, POSTERIOR, REPLICATES, CALIBRATION = 0, 1, 1 << 40, 1 << 41, 1 << 42


def in_blocks(counts: NDArray[np.int64], many: bool) -> list[NDArray[np.int64]]:
    """Counts of a measurement in parts that grow, as an adaptive experiment takes them.

    Estimators that follow the data step by step would not reach a state that one measurement of
    `many` outcomes and thousands of copies tells all of. The parts sum to the counts; each has
    every outcome in proportion.
    """
    total = int(counts.sum())
    if not many or total <= 2 * FIRST_BLOCK:
        return [counts]
    number = math.ceil(math.log(total / FIRST_BLOCK) / math.log(GROWTH))
    ends = np.geomspace(FIRST_BLOCK, total, number + 1)
    # The last is exact: counts up to 2^53 times a share below one.
    held = [np.floor(counts * (end / total)).astype(np.int64) for end in ends[:-1]] + [counts]
    parts = [held[0], *(b - a for a, b in pairwise(held))]
    return [part for part in parts if part.any()]


class StateEstimate:
    """Data of one state and what follows from them.

    Parameters
    ----------
    n_qubits : int
    estimator : str or Estimator
    readout : Readout or ndarray (n, 2, 2), optional
    seed : int
        Of what is sampled: the same data give the same answers.

    Raises
    ------
    InputError
        For arguments that cannot be.
    """

    def __init__(self, n_qubits: int, estimator: str | Estimator, readout: Any, seed: int):
        self.n_qubits = check_qubits(n_qubits)
        self.readout = make_readout(readout, self.n_qubits)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError.expected("seed=", "a whole number of 0 or more", repr(seed))
        self.seed = int(seed)
        self._estimator = make_estimator(estimator)
        self._estimator.start(1, self.dimension, stream(self.seed, "predict", START))
        self._measured: dict[str, Measurement] = {}
        self._effects: dict[str, Tensor] = {}
        # Effects are only ever added: what was complete stays so.
        self._unmeasured_cache: tuple[int, int] | None = None
        self._posterior_cache: tuple[int, Posterior] | None = None
        #: Frame of the records, (d, d): what is measured is the state in front of losses.
        self.frame: Tensor | None = None

    @property
    def dimension(self) -> int:
        """Dimension d = 2^n."""
        return 1 << self.n_qubits

    @property
    def copies(self) -> int:
        """Counts so far."""
        return sum(int(m.counts.sum()) for m in self._measured.values())

    @property
    def measured(self) -> int:
        """Measurements so far."""
        return len(self._measured)

    @property
    def records(self) -> Records:
        """Everything measured so far."""
        frame = None if self.frame is None else self.frame.numpy()
        every = list(self._measured.values())
        return Records(self.n_qubits, every, self.readout, frame=frame)

    @property
    def estimator(self) -> Estimator:
        """The estimator; its batch is this one experiment."""
        return self._estimator

    def _really(self, setting: Setting) -> Setting:
        """Setting with the readout errors."""
        return setting if self.readout is None else self.readout.apply(setting)

    def _take(self, measurement: Measurement, measured: Setting) -> None:
        """Take in data that were checked and recorded."""
        setting = measurement.setting
        self._measured[setting.id] = measurement
        effects = torch.from_numpy(measured.effects)
        self._effects[setting.id] = effects
        for part in in_blocks(measurement.counts, len(effects) > self.dimension):
            self._estimator.update(effects, torch.from_numpy(part.astype(np.float64))[None])

    @property
    def density_matrix(self) -> NDArray[np.complex128]:
        """The estimate as an array (d, d)."""
        return self._state()[0].detach().numpy().copy()

    def _state(self) -> Tensor:
        """The estimate as a tensor (1, d, d), carried back through the frame of the records."""
        found = self._estimator.estimate()
        return found if self.frame is None else in_frame(found, self.frame)

    @property
    def _carries(self) -> bool:
        """Whether the posterior holds more than shot noise of what the estimator sees."""
        uncertain = self.readout is not None and self.readout.uncertain
        return self.frame is not None or (uncertain and bool(self._measured))

    def estimate(self) -> qutip.Qobj:
        """The estimate, with the dimensions [[2] * n, [2] * n].

        Raises
        ------
        PhysmlError
            qutip is not installed; `density_matrix` does without.
        """
        try:
            return to_qutip(self.density_matrix)
        except ModuleNotFoundError as error:
            raise PhysmlError("qutip is needed: pip install 'physml[tomography]'") from error

    @property
    def unmeasured(self) -> int:
        """Directions of state space about which the data say nothing; 0 if they are complete."""
        known = self._unmeasured_cache
        if known is not None and (known[0] == len(self._effects) or known[1] == 0):
            return known[1]
        rank = 1  # the trace is known
        if self._effects:
            rows = to_coordinates(torch.cat(list(self._effects.values())))
            first = torch.zeros(1, rows.shape[1], dtype=rows.dtype)
            first[0, 0] = 1
            rank = int(torch.linalg.matrix_rank(torch.cat([first, rows]), rtol=RANK))
        self._unmeasured_cache = len(self._effects), self.dimension**2 - rank
        return self._unmeasured_cache[1]

    @property
    def posterior(self) -> Posterior:
        """Posterior of the data so far, sampled once."""
        if self._posterior_cache is None or self._posterior_cache[0] != len(self._measured):
            n, size = len(self._measured), self.dimension
            effects = [torch.zeros(0, size, size, dtype=torch.complex128), *self._effects.values()]
            counts = [torch.from_numpy(m.counts.astype(float)) for m in self._measured.values()]
            made = posterior(
                torch.cat(effects),
                torch.cat([torch.zeros(0, dtype=torch.float64), *counts]),
                estimate=self._estimator.estimate()[0],
                rng=stream(self.seed, "predict", POSTERIOR + n),
                estimator=self._estimator,
            )
            if self._carries:
                made = self._carried(made)
            self._posterior_cache = n, made
        return self._posterior_cache[1]

    def _carried(self, made: Posterior) -> Posterior:
        """Posterior with the errors of the readout, of the state in front of losses."""
        if self.readout is not None and self.readout.uncertain and self._measured:
            rng = stream(self.seed, "predict", CALIBRATION + len(self._measured))
            shifts = readout_shifts(list(self._measured.values()), self.readout, rng)
            made = widened(made, shifts, rng)
        return made if self.frame is None else carried_back(made, self.frame)

    def _notes(self) -> list[str]:
        notes = []
        if missing := self.unmeasured:
            notes.append(
                f"the measurements are not informationally complete: {missing} of "
                f"{self.dimension**2 - 1} parameters were not measured and are those of the prior"
            )
        if getattr(self._estimator, "refuted", False):
            notes.append(
                "the likelihood of the data rules the learned estimate out: estimate and region "
                "are those of the likelihood, and were not calibrated"
            )
        if (thin := thin_calibration(self._estimator)) is not None:
            notes.append(thin)
        if self.frame is not None:
            notes.append(
                "the state is seen through losses that depend on it (projectors without "
                "complements, or unequal efficiencies): the region is that of samples, and was not "
                "calibrated"
            )
        if self.readout is not None and not self.readout.known:
            notes.append("readout errors are a guess, whose error is not part of the region")
        return notes

    def credible_region(self, level: float = 0.9) -> Region:
        """Ball about the estimate in which the true state lies with that probability.

        Parameters
        ----------
        level : float
            Between 0 and 1.
        """
        return self._region(check_probability(level, "level="))

    def _region(self, level: float, stop: bool = False) -> Region:
        """Region; with `stop` that of an experiment that would stop now."""
        complete = self.unmeasured == 0
        # Calibrated on experiments whose settings determine the state, and only for such.
        alone = complete and not self._carries
        radius = calibrated_radius(self._estimator, stop) if alone else None
        found = self.posterior.radius(level) if radius is None else (radius(level), None)
        if stop and complete and not alone and self.frame is None:
            found = self._as_at_a_stop(found[0], level), found[1]
        notes = self._notes()
        if radius is None and self.n_qubits > MOST_SAMPLED and not is_calibrated(self._estimator):
            notes.append(
                f"not calibrated: the region rests on {found[1] or 0:.0f} effective samples of a "
                f"particle filter, which for {self.n_qubits} qubits hold the truth far more seldom "
                "than the level says; do not quote it"
            )
        return Region.of(level, *found, complete, notes)

    def _as_at_a_stop(self, infidelity: float, level: float) -> float:
        """Radius with the errors of the readout, as much larger as the calibrated one of a stop."""
        later, now = (calibrated_radius(self._estimator, stop) for stop in (True, False))
        if later is None or now is None:
            return infidelity
        return min(1.0, infidelity * max(1.0, later(level) / max(now(level), 1e-300)))

    def functional(self, f: Any, level: float = 0.9, target: Any = None) -> Interval:
        """A number that follows from the state, with its credible interval.

        Parameters
        ----------
        f : str, state or callable
            "purity", "concurrence", "fidelity" (to `target`), a state, for the fidelity to it, or
            a function from density matrices (M, d, d) to numbers (M,), as tensors.
        level : float
            Between 0 and 1.
        target : Qobj, array or tensor, optional
            State (d, d) or vector (d,).

        Raises
        ------
        InputError
            No such functional, or a target that is no state of these qubits.
        """
        level = check_probability(level, "level=")
        name, function, bounds = functional(f, self.n_qubits, target)
        value = float(function(self._state())[0])
        low, high = self.posterior.interval(function, level, bounds)
        # An estimate that minimises the infidelity may lie outside; then the interval is too short.
        return Interval(name, value, min(low, value), max(high, value), level)

    def should_stop(self, infidelity: float = 1e-3, confidence: float = 0.9) -> bool:
        """Whether the state is known to an infidelity, with a confidence.

        Never before the measurements are informationally complete: what was not measured is known
        from the prior only.
        """
        infidelity = check_probability(infidelity, "infidelity=")
        confidence = check_probability(confidence, "confidence=")
        if self.unmeasured:
            return False
        return self._region(confidence, stop=True).infidelity <= infidelity

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Whether the data fit a state, and the same one from beginning to end.

        Raises
        ------
        InputError
            There are no data yet.
        """
        measured = list(self._measured.values())
        if measured and all(m.time is not None for m in measured):
            measured.sort(key=lambda m: m.time or 0.0)
        names = [m.setting.id for m in measured]
        found = goodness_of_fit(
            [self._effects[name].numpy() for name in names],
            [m.counts for m in measured],
            names,
            stream(self.seed, "predict", REPLICATES + len(measured)),
        )
        for text in found.warnings:
            log.warning("%s", text)
        return found
