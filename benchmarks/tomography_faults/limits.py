"""What ideal observers could find: likelihood ratios of two known states, by Neyman and Pearson.

One knows the state, and so what is measured with the fault and without it. The other has to allow
for any state without the fault: the least favourable one is the one most like the data. No test
that keeps its level for that state finds more than this observer of the same level.
"""

from __future__ import annotations

import numpy as np
import torch

from physml.tomography.core.operators import to_coordinates
from physml.tomography.inference.fit.hedged import hedged_maximum

from .laboratory import Run

#: False alarms that the observers are allowed, and simulated data sets of their law.
LEVEL, REPLICATES = 0.01, 1000
#: Hedging of the least favourable state, and smallest probability.
HEDGE, SMALLEST = 0.02, 1e-12


def found_by_observers(run: Run, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether the fault of a run is found by who knows the state, and by who does not."""
    asked, really = (
        to_coordinates(torch.from_numpy(np.concatenate(effects))).numpy()
        for effects in ([s.effects for s in run.settings], run.effects)
    )
    shots = np.repeat([c.sum() for c in run.counts], [len(c) for c in run.counts])
    x = to_coordinates(torch.from_numpy(run.rho)).numpy()
    p = np.maximum(really @ x, SMALLEST)
    _, nearest = hedged_maximum(asked[None], (shots * p)[None], HEDGE)
    counts = np.concatenate(run.counts)
    knows, does_not = (
        _found(p, np.maximum(asked @ y, SMALLEST), counts, run, rng) for y in (x, nearest[0])
    )
    return knows, does_not


def _found(
    p: np.ndarray, q: np.ndarray, counts: np.ndarray, run: Run, rng: np.random.Generator
) -> bool:
    """Whether the ratio of p to q is larger than all but 1 % of those for data of q."""
    weight = np.log(p / q)
    law = np.zeros(REPLICATES)
    at = 0
    for c in run.counts:
        part = slice(at, at + len(c))
        share = q[part] / q[part].sum()
        law += rng.multinomial(int(c.sum()), share, size=REPLICATES) @ weight[part]
        at = part.stop
    return bool(counts @ weight > np.quantile(law, 1 - LEVEL))
