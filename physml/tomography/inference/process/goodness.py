"""Whether counts fit any process, from its posterior samples.

The deviance of the data, averaged over the posterior, exceeds that at the best process by about
the parameters k that the data determine. Counts drawn of the samples have a deviance to their own
process of about the free numbers m, whatever the expected counts are. So the first is compared
with the second, in units of a spread smaller by (1 - k / m)^1/2, which a fit of k parameters takes
away; k is the effective number of Spiegelhalter et al., J. R. Stat. Soc. B 64, 583 (2002).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from scipy.stats import gamma

from ...core.process.channels import Complex, Floats
from .data import Table
from .latent import Latent
from .sampler import TINY

#: Probability below which the data are said not to fit.
ALARM = 1e-3
#: Simulated data sets.
REPLICATES = 200
#: Least free numbers beyond the parameters, without which nothing can be tested.
LEAST_FREEDOM = 3.0


@dataclass(frozen=True)
class ProcessFit:
    """Goodness of fit of a process.

    Attributes
    ----------
    statistic : float
        Deviance 2 sum n log(n / (N p)), mean of the posterior.
    degrees_of_freedom : float
        What it should be about.
    parameters : float
        Effective number of parameters that the data determine.
    p_value : float or None
        Probability of a statistic as large; None where there are no more data than parameters.
    residuals : dict of str to float
        Excess of each input and setting, in units of its standard deviation; the ten largest.
    warnings : list of str
    """

    statistic: float
    degrees_of_freedom: float
    parameters: float
    p_value: float | None
    residuals: dict[str, float]
    warnings: list[str] = field(default_factory=list)

    @property
    def widened(self) -> float:
        """Factor by which errors grow where the counts do not fit; 1 where they do.

        The root of the statistic over its degrees of freedom, less the parameters of both.
        """
        if self.p_value is None or self.p_value >= ALARM:
            return 1.0
        free = self.degrees_of_freedom - self.parameters
        return max(1.0, float(((self.statistic - self.parameters) / free) ** 0.5))


def process_fit(
    latent: Latent, table: Table, mean: Complex, samples: Complex, rng: Generator
) -> ProcessFit:
    """Test counts against the model: one process, these inputs and effects.

    Parameters
    ----------
    latent : Latent
    table : Table
        The data.
    mean : ndarray (d^2, d^2)
        Posterior mean.
    samples : ndarray (S, d^2, d^2)
    rng : Generator
    """
    chosen = rng.choice(len(samples), min(REPLICATES, len(samples)), replace=False)
    p = np.maximum(latent.pack(samples[chosen]) @ table.design.T, TINY)
    settings = len(table.names)
    own = _deviances(table, p, np.broadcast_to(table.counts, p.shape))
    drawn = np.stack([_draw(table, row, rng) for row in p])
    others = _deviances(table, p, drawn)
    best = np.maximum(latent.pack(mean[None]) @ table.design.T, TINY)
    statistic = float(own.sum(1).mean())
    parameters = statistic - float(_deviances(table, best, table.counts[None]).sum())
    totals = others.sum(1)
    expected, variance = float(totals.mean()), float(totals.var(ddof=1))
    left = expected - parameters
    p_value = None
    if left > LEAST_FREEDOM:
        # Of `left` free numbers a sum of squares with the mean `left` and its share of variance.
        spread = variance * left / expected
        value = max(statistic - parameters, 0.0)
        p_value = float(gamma.sf(value, left**2 / spread, scale=spread / left))
    residuals = (own.mean(0) - others.mean(0)) / np.maximum(others.std(0, ddof=1), 1e-12)
    order = np.argsort(-residuals)[: min(10, settings)]
    named = {table.names[k]: float(residuals[k]) for k in order}
    return ProcessFit(statistic, expected, parameters, p_value, named, _words(p_value, list(named)))


def _deviances(table: Table, p: Floats, counts: Floats) -> Floats:
    """Deviance (S, settings) of counts (S, M) from probabilities (S, M)."""
    expected = np.where(counts > 0, p * table.shots, 1)
    terms = 2 * counts * np.log(np.where(counts > 0, counts, 1) / expected)
    out = np.zeros((len(p), len(table.names)))
    np.add.at(out.T, table.place, terms.T)
    return out


def _draw(table: Table, p: Floats, rng: Generator) -> Floats:
    """Counts (M,) of probabilities (M,)."""
    out = np.zeros(len(p))
    starts = np.flatnonzero(np.diff(table.place, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(p)], strict=True):
        share = p[first:last] / p[first:last].sum()
        out[first:last] = rng.multinomial(int(table.shots[first]), share)
    return out


def _words(p_value: float | None, worst: list[str]) -> list[str]:
    if p_value is None:
        return [
            "whether the counts fit a process cannot be tested: there are hardly more of them than "
            "parameters; measure more inputs or settings"
        ]
    if p_value >= ALARM:
        return []
    return [
        f"no process gives such counts (p = {p_value:.2g}); they differ most in "
        f"{'; '.join(worst[:3])}. Are inputs, bases and outcomes named rightly, is qubit 0 the "
        "first, and are errors of preparation and readout known? Intervals are widened by the root "
        "of the excess, but no interval holds the process where the model is wrong"
    ]
