"""Linear inversion and maximum likelihood of processes.

Linear inversion is weighted least squares among matrices with tr_out J = 1; `project_to_processes`
makes it a process. Maximum likelihood is by accelerated projected gradient steps, the projection
by Dykstra's algorithm between positive and trace-preserving matrices: Knee, Bolduc, Leach, Gauger,
Phys. Rev. A 98, 062336 (2018).
"""

from __future__ import annotations

import numpy as np

from ...core.process.channels import Complex, Floats, output_trace, side
from .latent import Latent
from .sampler import TINY, unpack


def trace_preserving_directions(d: int) -> Floats:
    """Orthonormal packed directions (d^4 - d^2, d^4) that leave tr_out J as it is."""
    units = unpack(np.eye(d**4))
    traces = output_trace(units).reshape(d**4, -1)
    constraint = np.concatenate([traces.real, traces.imag], -1)
    u, s, _ = np.linalg.svd(constraint)
    return np.asarray(u[:, int((s > 1e-9).sum()) :].T)


def completeness(design: Floats, d: int) -> tuple[int, int]:
    """Parameters of a process that the measurements determine, and how many there are."""
    seen = design @ trace_preserving_directions(d).T
    return int(np.linalg.matrix_rank(seen, tol=1e-6 * np.linalg.norm(seen, 2))), d**4 - d**2


def linear_inversion(latent: Latent, design: Floats, counts: Floats, shots: Floats) -> Complex:
    """Least squares with tr_out J = 1, weighted by the copies, (d^2, d^2); it may be negative."""
    d = latent.d
    directions = trace_preserving_directions(d)
    middle = latent.pack(np.eye(d * d, dtype=np.complex128)[None] / d)[0]
    weight = np.sqrt(shots)
    left = (design @ directions.T) * weight[:, None]
    right = (counts / shots - design @ middle) * weight
    found = np.linalg.lstsq(left, right, rcond=1e-10)[0]
    return unpack((middle + found @ directions)[None])[0]


def project_to_processes(matrix: Complex, steps: int = 200, tolerance: float = 1e-9) -> Complex:
    """Nearest Choi matrix of a process to a Hermitian matrix, by Dykstra's algorithm.

    What the algorithm leaves is mended: negative parts are cut, and the rest is normalised.
    """
    d = side(matrix)
    x, correction = matrix, np.zeros_like(matrix)
    for _ in range(steps):
        x = x + np.kron((np.eye(d) - output_trace(x)) / d, np.eye(d))
        values, vectors = np.linalg.eigh(x + correction)
        positive = (vectors * np.clip(values, 0, None)) @ vectors.conj().T
        correction, x = x + correction - positive, positive
        if np.abs(output_trace(x) - np.eye(d)).max() < tolerance:
            break
    return normalised(x)


def normalised(x: Complex) -> Complex:
    """Positive matrix made to preserve the trace, (T^-1/2 (x) 1) X (T^-1/2 (x) 1)."""
    d = side(x)
    values, vectors = np.linalg.eigh(output_trace(x))
    root = np.kron((vectors / np.sqrt(np.maximum(values, 1e-12))) @ vectors.conj().T, np.eye(d))
    return np.asarray(root @ x @ root)


def maximum_likelihood(
    latent: Latent,
    design: Floats,
    counts: Floats,
    shots: Floats,
    start: Complex | None = None,
    steps: int = 400,
    tolerance: float = 1e-3,
) -> Complex:
    """Most likely process, (d^2, d^2); see the module.

    Parameters
    ----------
    latent : Latent
    design, counts, shots : ndarray
        As of `Target`.
    start : ndarray, optional
        By default the projected linear inversion.
    steps : int
        Most steps.
    tolerance : float
        Gain of log-likelihood in ten steps at which to stop.
    """
    seen = counts > 0
    rows, n = design[seen], counts[seen]
    if start is None:
        start = project_to_processes(linear_inversion(latent, design, counts, shots))
    white = np.eye(latent.d**2) / latent.d
    x = y = 0.999 * start + 0.001 * white
    momentum, rate, total = 1.0, 1.0, counts.sum()

    def value(choi: Complex) -> float:
        return float(n @ np.log(np.maximum(rows @ latent.pack(choi[None])[0], TINY)))

    best, marks = value(x), []
    for k in range(steps):
        p = np.maximum(rows @ latent.pack(y[None])[0], TINY)
        slope = unpack(((n / p) @ rows)[None] / total)[0]
        off = ~np.eye(latent.d**2, dtype=bool)
        slope[off] *= 0.5  # packed slopes of real and imaginary parts count both triangles
        while True:
            new = project_to_processes(y + rate * slope, 50, 1e-7)
            step = new - y
            bound = float(np.vdot(slope, step).real - np.square(np.abs(step)).sum() / (2 * rate))
            if (value(new) - value(y)) / total >= bound - 1e-12 or rate < 1e-8:
                break
            rate *= 0.5
        reached = value(new)
        following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
        if reached < best:  # the momentum led astray: begin anew from the best
            momentum, y = 1.0, x
            rate *= 0.5
        else:
            y = new + (momentum - 1) / following * (new - x)
            momentum, x, best = following, new, reached
            rate *= 1.1
        marks.append(best)
        if rate < 1e-8 or (k > 20 and best - marks[-11] < tolerance):
            break
    return x
