"""Diamond distance of two processes between certified bounds, without a semidefinite program.

For processes with the difference D of their Choi matrices (input first), half the diamond norm is
``max over rho of tr [(sqrt(rho) (x) 1) D (sqrt(rho) (x) 1)]_+``, concave in the input's state rho.
Each rho gives a bound from below, and with ``Z = (rho^-1/2 (x) 1) [...]_+ (rho^-1/2 (x) 1)``, which
is feasible in the dual program (Z >= 0, Z >= D), the bound ``largest eigenvalue of tr_out Z`` from
above: J. Watrous, Theory of Computing 5, 217 (2009). As ``tr_out Z`` is the gradient at rho,
exponentiated-gradient steps bring the two together.
"""

from __future__ import annotations

import numpy as np

from .channels import Complex, Floats, output_trace, side

#: Smallest share of white input: rho has to be invertible for the bound from above.
_WHITE = 1e-6


def diamond_bounds(difference: Complex, steps: int = 60) -> tuple[Floats, Floats]:
    """Bounds of half the diamond norm of a difference of two trace-preserving processes.

    Parameters
    ----------
    difference : ndarray (..., d^2, d^2)
        Difference of Choi matrices of trace d, input first.
    steps : int
        Of the ascent; zero gives the bounds of the maximally entangled input.

    Returns
    -------
    low, high : ndarray (...)
        In [0, 1].
    """
    d = side(difference)
    flat = difference.reshape(-1, d * d, d * d)
    log_rho = np.zeros((len(flat), d, d), np.complex128)
    low, high = np.zeros(len(flat)), np.ones(len(flat))
    rate = np.full(len(flat), 2.0)
    before = np.zeros(len(flat))
    for _ in range(steps + 1):
        root, inverse = _roots(log_rho)
        value, gradient = _value(flat, root, inverse)
        top = np.linalg.eigvalsh(gradient)[:, -1]
        low, high = np.maximum(low, value), np.minimum(high, top)
        # Steps that overshoot are seen in a value that falls: smaller ones from then on.
        rate = np.where(value < before, 0.5 * rate, 1.1 * rate)
        before = value
        step = (rate / np.maximum(top, 1e-12))[:, None, None] * gradient
        log_rho = log_rho + step
        # Normalised: only differences of eigenvalues matter.
        log_rho -= np.linalg.eigvalsh(log_rho)[:, -1, None, None] * np.eye(d)
    low, high = np.clip(low, 0, 1), np.clip(np.maximum(high, low), 0, 1)
    return low.reshape(difference.shape[:-2]), high.reshape(difference.shape[:-2])


def _roots(log_rho: Complex) -> tuple[Complex, Complex]:
    """Square root of the input's state, and its inverse, (n, d, d)."""
    values, vectors = np.linalg.eigh(log_rho)
    weights = np.exp(values - values[:, -1:])
    weights /= weights.sum(-1, keepdims=True)
    weights = (1 - _WHITE) * weights + _WHITE / weights.shape[-1]
    roots = np.sqrt(weights)[:, None, :]
    dual = vectors.conj().swapaxes(-1, -2)
    return (vectors * roots) @ dual, (vectors / roots) @ dual


def _value(flat: Complex, root: Complex, inverse: Complex) -> tuple[Floats, Complex]:
    """Value at rho, and its gradient tr_out Z.

    The state enters transposed, which the maximum over all states does not feel.
    """
    seen = _both_sides(flat, root)
    values, vectors = np.linalg.eigh(0.5 * (seen + seen.conj().swapaxes(-1, -2)))
    positive = np.clip(values, 0, None)
    part = (vectors * positive[:, None, :]) @ vectors.conj().swapaxes(-1, -2)
    gradient = output_trace(_both_sides(part, inverse))
    return positive.sum(-1), 0.5 * (gradient + gradient.conj().swapaxes(-1, -2))


def _both_sides(matrix: Complex, factor: Complex) -> Complex:
    """(factor (x) 1) matrix (factor (x) 1)."""
    n, d = factor.shape[:2]
    split = matrix.reshape(n, d, d, d, d)
    left = np.einsum("nki,niajb->nkajb", factor, split)
    return np.asarray(np.einsum("nkajb,njl->nkalb", left, factor).reshape(n, d * d, d * d))
