"""What could be wrong with real coincidences: models of the detectors, fitted with the state.

Each model is maximised by a general optimiser over the state and its own parameters, every basis
with a rate of its own. Deviances are those of the multinomial likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi2

from physml.random import stream
from physml.tomography.core.operators import PAULI

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Counts (S, 4) of product bases, their effects (S, 4, 4, 4), and accidentals of one window."""

    effects: NDArray[np.complex128]
    counts: Floats
    accidentals: Floats

    @property
    def freedom(self) -> int:
        """Numbers in the data: three of each basis."""
        return 3 * len(self.counts)


def _efficiencies(x: Floats) -> Floats:
    """Efficiencies of the four outcomes from the logarithms of the ratios of both detectors."""
    return np.exp(np.array([0.0, x[1], x[0], x[0] + x[1]]))


def _deviance(data: Counts, p: Floats) -> float:
    c = data.counts
    share = c / c.sum(1, keepdims=True)
    seen = np.where(c > 0, c, 1)
    ratio = np.where(c > 0, share / np.maximum(p, 1e-12), 1)
    return float(2 * (seen * np.log(ratio)).sum())


def _state(x: Floats) -> NDArray[np.complex128]:
    t = (x[:16] + 1j * x[16:32]).reshape(4, 4)
    m = t @ t.conj().T
    return np.asarray(m / np.trace(m).real, np.complex128)


def _any_matrix(x: Floats) -> NDArray[np.complex128]:
    """Matrix of trace one that need not be positive, from 15 expectation values."""
    pauli = PAULI.numpy()
    products = np.array([np.kron(a, b) for a in pauli for b in pauli])
    return np.asarray(0.25 * (products[0] + np.einsum("k,kij->ij", x, products[1:])))


def fit(data: Counts, model: str, starts: int = 3) -> dict[str, Any]:
    """Fit one model.

    Parameters
    ----------
    data : Counts
    model : str
        "state"; "accidentals": and a coincidence window; "efficiencies": and the ratio of both
        detectors' efficiencies of each photon; "any matrix" and "any matrix, efficiencies": what
        need not be a state, as it is where the bases are not those that the file names.
    starts : int

    Returns
    -------
    dict
        Deviance, parameters, degrees of freedom, p-value, purity, smallest eigenvalue.
    """
    free = model.startswith("any matrix")
    own = 2 if "efficiencies" in model else 1 if model == "accidentals" else 0
    size = 15 if free else 32

    def law(x: Floats) -> tuple[Floats, NDArray[np.complex128]]:
        rho = _any_matrix(x[:15]) if free else _state(x)
        p = np.einsum("skij,ji->sk", data.effects, rho).real
        if own == 2:
            p = p * _efficiencies(x[size:])
        if own == 1:
            # Accidentals of a window of w ns, against the pairs that the rest of the counts are.
            a = np.exp(x[size]) * data.accidentals
            pairs = np.maximum(data.counts.sum(1) - a.sum(1), 1)[:, None]
            p = p / p.sum(1, keepdims=True) * pairs + a
        return p / p.sum(1, keepdims=True), rho

    rng, best = stream(0, "test", 0), None
    for _ in range(starts):
        if free:
            start = np.zeros(size + own)
        else:
            start = 0.1 * rng.standard_normal(size + own)
            start[:16] += np.eye(4).ravel()
            start[size:] = -1.0 if own == 1 else 0.0
        found = minimize(
            lambda x: _deviance(data, law(x)[0]),
            start,
            method="L-BFGS-B",
            bounds=[
                (-12, 6) if own == 1 and k >= size else (None, None) for k in range(len(start))
            ],
            options={"maxiter": 3000, "maxfun": 300_000},
        )
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    _, rho = law(best.x)
    freedom = data.freedom - 15 - own
    return {
        "deviance": round(float(best.fun), 1),
        "freedom": freedom,
        "p": float(f"{chi2.sf(best.fun, freedom):.2g}"),
        "parameters": [round(float(np.exp(v)), 3) for v in best.x[size:]],
        "purity": round(float(np.einsum("ij,ji->", rho, rho).real), 4),
        "smallest": round(float(np.linalg.eigvalsh(rho)[0]), 4),
    }


MODELS: Sequence[str] = (
    "state",
    "accidentals",
    "efficiencies",
    "any matrix",
    "any matrix, efficiencies",
)
