"""Fidelities and unitarity without a prior: least squares with errors for any process.

A posterior's fidelity leans on the prior where noise is spread over many directions, each too weak
to be seen: their sum is seen, but each is shrunk. Least squares among all matrices with
tr_out J = 1, positive or not, have no bias, and linear functionals of them a normal error once
there are some counts. The weights come from the projected estimate and are bounded; the errors are
of the multinomial counts, so that weights that are not the best ones cost length, not level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ...core.process.channels import Complex, Floats, choi_of_unitary, pauli_transfer
from .data import Table
from .latent import Latent
from .rivals import linear_inversion, project_to_processes, trace_preserving_directions
from .sampler import unpack

#: Counts that are added to an expected count before its inverse is a weight.
FLOOR = 2.0
#: White share of the process that gives weights and variances.
WHITE = 0.005


@dataclass(frozen=True)
class LeastSquares:
    """Least squares of a process, with its covariance.

    Attributes
    ----------
    transfer : ndarray (d^2, d^2)
        Pauli transfer matrix.
    root : ndarray (d^4, k)
        A root of the covariance of its entries, row by row.
    """

    transfer: Floats
    root: Floats

    def linear(self, weights: Floats, offset: float, level: float) -> tuple[float, float, float]:
        """Value and ends of ``offset + sum weights * transfer``."""
        value = offset + float((weights * self.transfer).sum())
        error = float(np.linalg.norm(weights.reshape(-1) @ self.root))
        z = float(norm.ppf((1 + level) / 2))
        return value, value - z * error, value + z * error

    def unitarity(self, smooth: Floats, level: float) -> tuple[float, float, float]:
        """Value and ends of the unitarity, the bias of a sum of squares taken off.

        Parameters
        ----------
        smooth : ndarray (d^2, d^2)
            Transfer matrix of an estimate, for the error.
        level : float
        """
        side = len(self.transfer)
        inner = np.ones((side, side))
        inner[0] = inner[:, 0] = 0
        inner /= side - 1
        scaled = inner.reshape(-1, 1) ** 0.5 * self.root
        gram = scaled.T @ scaled
        value = float((inner * self.transfer**2).sum() - np.trace(gram))
        slope = 2 * (inner * smooth).reshape(-1) @ self.root
        error = float((slope @ slope + 2 * np.square(gram).sum()) ** 0.5)
        z = float(norm.ppf((1 + level) / 2))
        return value, value - z * error, value + z * error


def least_squares(latent: Latent, table: Table) -> LeastSquares | None:
    """Least squares of a table; None where it does not determine the process."""
    d = latent.d
    directions = trace_preserving_directions(d)
    middle = latent.pack(np.eye(d * d, dtype=np.complex128)[None] / d)[0]
    data = (table.design, table.counts, table.shots)
    near = project_to_processes(linear_inversion(latent, *data))
    near = (1 - WHITE) * near + WHITE * np.eye(d * d) / d
    p = table.design @ latent.pack(near[None])[0]
    p = np.maximum(p, 0)
    weights = table.shots / (p + FLOOR / table.shots)
    b = table.design @ directions.T
    normal = b.T @ (weights[:, None] * b)
    values = np.linalg.eigvalsh(normal)
    if values[0] < 1e-9 * values[-1]:
        return None
    inverse = np.linalg.inv(normal)
    found = inverse @ (b.T @ (weights * (table.counts / table.shots - table.design @ middle)))
    # Covariance of frequencies: (diag p - p p^T) / N of each setting.
    wb = weights[:, None] * b
    mean = np.zeros((len(table.names), b.shape[1]))
    np.add.at(mean, table.place, p[:, None] * wb)
    inside = (wb - mean[table.place]) * np.sqrt(p / table.shots)[:, None]
    root = np.linalg.cholesky(inside.T @ inside + 1e-12 * np.eye(len(normal)) * values[0])
    turned = unpack(np.eye(d**4))
    to_transfer = pauli_transfer(turned).reshape(d**4, -1)
    transfer = (middle + found @ directions) @ to_transfer
    return LeastSquares(
        transfer.reshape(d * d, d * d), (directions @ to_transfer).T @ (inverse @ root)
    )


def fidelity_weights(target: Complex) -> Floats:
    """Weights of the transfer matrix whose sum is the process fidelity to a unitary (d, d)."""
    ideal = pauli_transfer(choi_of_unitary(target))
    return np.asarray(ideal / len(ideal))
