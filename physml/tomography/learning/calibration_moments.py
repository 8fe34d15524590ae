"""Experiments that regions are calibrated on: what was known at some moments, and what was wrong.

They are simulated anew, with all designs of measurements and with states of several ensembles, and
have trained nothing. Rows are numbered by experiment, so that the moments of one can be kept
together: they share the truth and most of the counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.estimator import Estimator
from ..core.schedule import MARKS, schedule
from ..core.states import hilbert_schmidt, labelled_mixture, pure, with_white_noise
from ..inference.neural.corrector import Corrector
from ..inference.neural.estimator import NeuralEstimator
from ..inference.neural.moments import Moments, inputs_of, log_expected
from ..settings import CalibrateSettings
from ..simulator.experiment import experiment

#: Marks a decade of copies at which experiments are looked at.
PER_DECADE = 4
FIRST = 10
#: Experiments followed at once.
BATCH = 300
SMALLEST_INFIDELITY = 1e-15
#: Designs that make groups of their own; all others make one.
KINDS = ("global", "product", "pauli")


def marks(copies: int) -> list[int]:
    """Ends of blocks at which experiments of so many copies are looked at."""
    ends = np.cumsum(schedule(copies))
    wanted = FIRST * 10 ** np.arange(0, np.log10(ends[-1] / FIRST) + 0.01, 1 / PER_DECADE)
    near = {int(ends[np.abs(np.log(ends / w)).argmin()]) for w in wanted}
    return sorted(near | {n for n in MARKS if n <= copies})


def families(settings: CalibrateSettings) -> list[str]:
    """Names of the ensembles that states are drawn from."""
    return ["mixture", "hs", "pure", *(f"pure, {x:g} of noise" for x in settings.noise)]


def draw_states(
    n: int,
    d: int,
    parts: Mapping[str, float],
    settings: CalibrateSettings,
    rng: np.random.Generator,
) -> tuple[Tensor, NDArray[np.int64]]:
    """States (n, d, d) and the numbers of their ensembles (n,).

    Parameters
    ----------
    n, d : int
    parts : mapping
        Ensemble -> share in the mixture that the corrector was trained on.
    settings : CalibrateSettings
    rng : Generator
    """
    s, noise = settings.shares, np.asarray(settings.noise)
    share = np.array([s.mixture, s.hs, s.pure, *[s.noisy / len(noise)] * len(noise)])
    family = rng.choice(len(share), n, p=share / share.sum())
    out = torch.empty(n, d, d, dtype=torch.complex128)
    for number in np.unique(family):
        chosen = np.flatnonzero(family == number)
        m = len(chosen)
        if number == 0:
            found = labelled_mixture(m, d, rng, parts)[0]
        elif number == 1:
            found = hilbert_schmidt(m, d, rng)
        else:
            found = pure(m, d, rng)
            if number > 2:
                found = with_white_noise(found, float(noise[number - 3]))
        out[torch.from_numpy(chosen)] = found
    return out, family


def simulate_moments(
    network: Corrector,
    parts: Mapping[str, float],
    settings: CalibrateSettings,
    rng: np.random.Generator,
) -> Moments:
    """Measure random states with all designs, and look at the marks.

    Parameters
    ----------
    network : Corrector
        Trained.
    parts : mapping
        See `draw_states`.
    settings : CalibrateSettings
    rng : Generator
    """
    d = network.d
    rho, family = draw_states(settings.histories, d, parts, settings, rng)
    looks, blocks = marks(settings.copies), schedule(settings.copies)
    found: list[Moments] = []
    first = 0
    for design, number in numbers_of_designs(settings).items():
        kind = KINDS.index(design) if design in KINDS else len(KINDS)
        for start in range(first, first + number, BATCH):
            stop = min(start + BATCH, first + number)
            seen: list[tuple[Tensor, Tensor, Tensor]] = []

            def look(copies: int, estimator: Estimator, seen: list = seen) -> None:
                assert isinstance(estimator, NeuralEstimator)
                f = estimator.filter
                covariance, made = estimator.correction()
                x = inputs_of(f.values, covariance, f.copies, made)
                seen.append((x, log_expected(made), made.values))

            done = experiment(
                NeuralEstimator({d: network}),
                rho[start:stop],
                design,
                blocks,
                rng,
                marks=looks,
                observe=look,
            )
            wrong = np.log(np.maximum(done.infidelity, SMALLEST_INFIDELITY))
            for k, (x, expected, values) in enumerate(seen):
                found.append(
                    Moments(
                        x.numpy(),
                        expected.numpy(),
                        wrong[:, k],
                        values.numpy(),
                        np.full(stop - start, float(looks[k])),
                        np.arange(start, stop),
                        family[start:stop],
                        family[start:stop] * (len(KINDS) + 1) + kind,
                    )
                )
        first += number
    return Moments.join(found)


def numbers_of_designs(settings: CalibrateSettings) -> dict[str, int]:
    """Experiments of each design; they add up to all."""
    names = {"adaptive": "global", "random": "random_global"}
    share = {names.get(k, k): v for k, v in settings.designs.model_dump().items() if v > 0}
    total = sum(share.values())
    ends = np.round(settings.histories * np.cumsum(list(share.values())) / total).astype(int)
    return dict(zip(share, np.diff(ends, prepend=0).tolist(), strict=True))
