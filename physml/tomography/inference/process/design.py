"""Choice of inputs and settings: where most is left to gain (A-optimal).

With the posterior's covariance S of the Choi matrix, n copies of an input and a setting whose
outcomes have the covariance C / n given the process are expected to take
``tr B^T (A + C / n)^-1 B`` off the mean squared Frobenius error, A the covariance of the outcomes'
probabilities over the posterior and B that of them with the process (K. Chaloner, I. Verdinelli,
Stat. Sci. 10, 273 (1995)). Settings are chosen one after another, each with its share of the
copies, and the covariance is brought up to date after each.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ...core.measurements import pauli_setting
from ...core.process.channels import Complex, Floats
from ...core.process.preparations import cardinal_inputs, input_state
from .latent import Latent


@dataclass(frozen=True)
class Candidate:
    """An input and a setting, by their labels.

    Attributes
    ----------
    input : str
        Cardinal state of each qubit, set apart by commas.
    axes : str
        Pauli axis of each qubit.
    """

    input: str
    axes: str


def candidates(n_qubits: int) -> list[Candidate]:
    """All products of cardinal inputs and Pauli settings: 18^n."""
    inputs = [",".join(names) for names in cardinal_inputs(n_qubits)]
    settings = ["".join(axes) for axes in product("XYZ", repeat=n_qubits)]
    return [Candidate(i, s) for i in inputs for s in settings]


def rows_of(latent: Latent, chosen: list[Candidate]) -> Floats:
    """Rows (K, d, d^4) of the outcomes of candidates, see `Latent.design`."""
    d = latent.d
    states = np.stack([input_state(tuple(c.input.split(","))) for c in chosen])
    effects = np.stack([pauli_setting(c.axes).effects for c in chosen])
    rows = latent.design(np.repeat(states, d, 0), effects.reshape(-1, d, d))
    return rows.reshape(len(chosen), d, -1)


def choose(
    latent: Latent, samples: Complex, given: list[Candidate], copies: int, settings: int
) -> list[tuple[Candidate, int]]:
    """Candidates to measure next, with their copies; each candidate once.

    Parameters
    ----------
    latent : Latent
    samples : ndarray (S, d^2, d^2)
        Of the posterior.
    given : list of Candidate
    copies : int
        Of all settings together.
    settings : int
        How many to choose, at most; what gains most is chosen more than once and gets more.
    """
    d, n = latent.d, copies / settings
    rows = rows_of(latent, given)[:, :-1]  # the last outcome follows from the others
    k = rows.shape[1]
    x = latent.pack(samples)
    y = x @ rows.reshape(-1, rows.shape[-1]).T
    p = y.mean(0).reshape(len(given), k)
    x = x - x.mean(0)
    x[:, d * d :] *= 2**0.5  # both triangles count in the Frobenius norm
    y = y - y.mean(0)
    cross, own = y.T @ x / len(x), y.T @ y / len(x)
    noise = (np.eye(k) * (p + 0.5 / n)[:, :, None] - p[:, :, None] * p[:, None, :]) / n
    count = np.zeros(len(given), np.int64)
    for _ in range(settings):
        b = cross.reshape(len(given), k, -1)
        a = np.stack([own[s : s + k, s : s + k] for s in range(0, len(own), k)])
        gain = np.einsum("cki,cki->c", b, np.linalg.solve(a + noise, b))
        best = int(np.argmax(gain))
        count[best] += 1
        at = slice(best * k, best * k + k)
        factor = np.linalg.solve(a[best] + noise[best], own[at]).T
        cross = cross - factor @ cross[at]
        own = own - factor @ own[at]
    share = copies * count / count.sum()
    whole = np.floor(share).astype(np.int64)
    whole[np.argsort(share - whole)[::-1][: copies - int(whole.sum())]] += 1
    return [(given[j], int(whole[j])) for j in np.flatnonzero(whole)]
