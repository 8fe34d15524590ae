"""The methods that others use, each by its name, ready to be run on a list of states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..core.basis import BasisKind
from ..core.estimator import Estimator
from ..core.schedule import MARKS, schedule
from ..inference.classical.informed_filter import InformedFilter
from ..inference.classical.likelihood import MaximumLikelihood
from ..inference.classical.linear import LinearInversion
from ..inference.classical.particle_filter import ParticleFilter
from ..inference.classical.two_stage import TwoStage
from ..simulator.experiment import Experiment, experiment


@dataclass(frozen=True)
class Baseline:
    """One row of a table.

    Attributes
    ----------
    make : callable
        Makes the estimator, for a total number of copies.
    design : str
        See `experiment.experiment`.
    fresh : bool
        Whether the estimator has to know the number of copies beforehand, so that each number is
        an experiment of its own.
    """

    make: Callable[[int], Estimator]
    design: str
    fresh: bool = False


#: All rows by name. Particle filters have 300 particles; with the mixed prior, 200 for
#: each of its parts.
BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "linear, pauli": Baseline(lambda total: LinearInversion(), "pauli"),
        "maximum likelihood, pauli": Baseline(lambda total: MaximumLikelihood(), "pauli"),
        "two-stage, global": Baseline(TwoStage, "global", fresh=True),
        "two-stage, product": Baseline(TwoStage, "product", fresh=True),
        "particle filter (HS), global": Baseline(
            lambda total: ParticleFilter(prior="hs"), "global"
        ),
        "particle filter, global": Baseline(lambda total: ParticleFilter(), "global"),
        "particle filter, product": Baseline(lambda total: ParticleFilter(), "product"),
        "particle filter (mixed prior), global": Baseline(lambda total: InformedFilter(), "global"),
        "particle filter (mixed prior), product": Baseline(
            lambda total: InformedFilter(), "product"
        ),
    }
)


def run_baseline(
    baseline: Baseline,
    rho: Tensor,
    rng: np.random.Generator,
    marks: Sequence[int] = MARKS,
    observe: Callable[[int, Estimator], None] | None = None,
) -> Experiment:
    """Run one method on all states; the times of `fresh` ones are those of all experiments.

    Parameters
    ----------
    baseline : Baseline
        A value of `BASELINES`.
    rho : Tensor (S, d, d)
        True states.
    rng : Generator
        See `experiment.experiment`.
    marks : sequence of int
        Numbers of copies at which to estimate, ascending.
    observe : callable, optional
        See `experiment.experiment`; `fresh` ones are not observed.
    """
    if not baseline.fresh:
        estimator = baseline.make(int(marks[-1]))
        blocks = schedule(int(marks[-1]))
        return experiment(
            estimator, rho, baseline.design, blocks, rng, marks=marks, observe=observe
        )
    runs = []
    for total in marks:
        estimator = baseline.make(int(total))
        assert isinstance(estimator, TwoStage)
        kind: BasisKind = "product" if baseline.design == "product" else "global"
        blocks = estimator.schedule(kind, rho.shape[-1])
        (child,) = rng.spawn(1)
        runs.append(experiment(estimator, rho, kind, blocks, child, marks=[int(total)]))
    return Experiment(
        marks=np.asarray(marks, dtype=np.int64),
        infidelity=np.concatenate([run.infidelity for run in runs], 1),
        estimates=torch.cat([run.estimates for run in runs], 1),
        spread=np.concatenate([run.spread for run in runs], 1),
        update_seconds=np.concatenate([run.update_seconds for run in runs]),
        estimate_seconds=np.concatenate([run.estimate_seconds for run in runs]),
    )
