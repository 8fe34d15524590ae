"""Estimate of a process by name of the method, with the samples its intervals rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physml.exceptions import InputError
from physml.random import stream

from ...core.process.channels import Complex
from .data import Table
from .latent import Latent
from .rivals import linear_inversion, maximum_likelihood, project_to_processes
from .sampler import Samples, Target, sample

ESTIMATORS = ("bayes", "maximum_likelihood", "linear")
#: Chains, and trajectories of each that are thrown away and kept, by the number of qubits.
CHAINS, WARM_UP, KEPT = 12, {1: 120, 2: 120}, {1: 120, 2: 100}
#: R-hat above which chains are said to disagree.
LARGEST_RHAT = 1.2


@dataclass(frozen=True)
class ProcessEstimate:
    """Estimate of a process.

    Attributes
    ----------
    choi : ndarray (d^2, d^2)
        By the method asked for.
    mean : ndarray (d^2, d^2)
        Posterior mean.
    samples : Samples
        Of the posterior.
    latent : Latent
        Chart of the samples.
    """

    choi: Complex
    mean: Complex
    samples: Samples
    latent: Latent


def fit_process(
    table: Table, estimator: str = "bayes", seed: int = 0, chains: int = CHAINS
) -> ProcessEstimate:
    """Estimate a process.

    Parameters
    ----------
    table : Table
    estimator : str
        "bayes", the posterior mean; "maximum_likelihood"; "linear", the projected least squares.
        The samples are of the posterior whatever the estimate is.
    seed : int
    chains : int

    Raises
    ------
    InputError
        No such estimator.
    """
    if estimator not in ESTIMATORS:
        raise InputError.expected("estimator", f"one of {', '.join(ESTIMATORS)}", repr(estimator))
    d = round(table.design.shape[1] ** 0.25)
    latent = Latent(np.eye(d, dtype=np.complex128))
    data = (table.design, table.counts, table.shots)
    linear = project_to_processes(linear_inversion(latent, *data))
    likely = maximum_likelihood(latent, *data, start=linear)
    rng = stream(seed, "predict", 0)
    start = latent.start(likely, rng, chains)
    n = d.bit_length() - 1
    samples = sample(Target(latent, *data), start, rng, WARM_UP[n], KEPT[n])
    mean = samples.choi.mean(0)
    choi = {"bayes": mean, "maximum_likelihood": likely, "linear": linear}[estimator]
    return ProcessEstimate(choi, mean, samples, latent)
