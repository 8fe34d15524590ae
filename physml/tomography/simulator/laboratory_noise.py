"""Imperfections of a laboratory: readout, drift, an inverted rotation, stale settings.

One description for all that simulate laboratories: the experiments that networks learn from and
are calibrated on have readout errors, which the estimator knows of; whoever tests an alarm adds
what no estimator knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError

from ..core.basis import basis_effects
from ..core.readout import flips, joint_confusion


@dataclass(frozen=True)
class LaboratoryNoise:
    """Faults of the laboratories of S experiments; without any it is ideal.

    Attributes
    ----------
    confusion : Tensor (S, n, 2, 2), optional
        P(read | true) of each qubit. The estimator knows it.
    drift_to : Tensor (S, d, d), optional
        State at the end of the experiment, into which the source changes steadily.
    inverted : bool
        The rotation U is applied instead of its adjoint before the qubits are read.
    stale : bool
        What is measured is always the setting before.
    """

    confusion: Tensor | None = None
    drift_to: Tensor | None = None
    inverted: bool = False
    stale: bool = False

    def known(self, effects: Tensor) -> Tensor:
        """Effects (S, k, d, d) that an estimator takes for measured, which knows the readout.

        Parameters
        ----------
        effects : Tensor (S, d, d, d) or (d, d, d)
            Of bases, ideal; other measurements where there are no readout errors.
        """
        if self.confusion is None:
            return effects
        joint = joint_confusion(self.confusion)
        if effects.shape[-3] != joint.shape[-1]:
            raise InputError.expected(
                "effects=",
                f"those of a basis, {joint.shape[-1]} outcomes, as qubits are misread",
                f"{effects.shape[-3]} outcomes",
            )
        flat = effects.flatten(-2)
        return (joint.to(flat) @ flat).unflatten(-1, effects.shape[-2:])

    def real(self, basis: Tensor, before: Tensor | None = None) -> Tensor:
        """Effects (S, d, d, d) that are measured in truth.

        Parameters
        ----------
        basis : Tensor (S, d, d)
            Asked for, vectors in columns.
        before : Tensor (S, d, d), optional
            Asked for before that; a stale laboratory measures it, and at the first time the
            computational basis.
        """
        if self.stale:
            one = torch.eye(basis.shape[-1], dtype=basis.dtype).expand_as(basis)
            basis = one if before is None else before
        return self.known(basis_effects(basis.mH.resolve_conj() if self.inverted else basis))

    def state(self, rho: Tensor, part: float) -> Tensor:
        """States (S, d, d) of the source when a part between 0 and 1 of the copies is spent."""
        return rho if self.drift_to is None else (1 - part) * rho + part * self.drift_to


def draw_confusion(
    n: int, share: float, range_of_flips: tuple[float, float], rng: Generator
) -> NDArray[np.float64]:
    """Confusion (n, 2, 2) of the qubits of a random laboratory, the identity where it is perfect.

    Parameters
    ----------
    n : int
        Number of qubits.
    share : float
        Of laboratories with errors. It changes no other number that is drawn.
    range_of_flips : tuple of float
        Of the chance to misread a qubit, each way; log-uniform.
    rng : Generator
    """
    misread = rng.random()
    low, high = np.log(range_of_flips)
    flipped = np.exp(rng.uniform(low, high, (2, n)))
    if misread < share:
        return np.asarray(flips(*flipped))
    return np.tile(np.eye(2), (n, 1, 1))
