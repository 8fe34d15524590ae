"""Whether a calibration names the qubits in the order of the counts.

qiskit counts qubits from the last bit, most laboratories from the first. A calibration in the other
order is as good a calibration; only the counts can tell, and they then seem to be of no state, or
of one that drifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..core.operators import to_coordinates
from ..core.readout import Readout
from ..data.records import Measurement
from .classical.likelihood import TINY, maximum_likelihood
from .goodness import ALARM, GoodnessOfFit

#: Log-likelihood by which the other order must fit better: odds of e^8.
BETTER = 8.0
TOLERANCE, ITERATIONS = 0.05, 1000


def order_of_readout(
    measurements: Sequence[Measurement], readout: Readout, fit: GoodnessOfFit | None = None
) -> str | None:
    """Sentence for the user where counts fit the readout errors in the reverse order of the qubits.

    Parameters
    ----------
    measurements : sequence of Measurement
        With the effects of perfect detectors.
    readout : Readout
        As it was given.
    fit : GoodnessOfFit, optional
        Of the data with this readout; where it passes nothing is said.

    Returns
    -------
    str or None
    """
    other = readout.reversed()
    if readout.n_qubits < 2 or np.abs(other.matrix - readout.matrix).max() < 1e-9:
        return None
    if fit is not None and fit.p_value >= ALARM and not fit.warnings:
        return None
    matrices = torch.from_numpy(np.stack([readout.matrix, other.matrix])).to(torch.complex128)
    ideal = torch.from_numpy(np.stack([m.setting.effects for m in measurements]))
    counts = torch.from_numpy(np.concatenate([m.counts for m in measurements]).astype(float))
    d = ideal.shape[-1]
    g = to_coordinates(torch.einsum("bmt,stij->bsmij", matrices, ideal)).flatten(1, 2)
    white = (torch.eye(d, dtype=torch.complex128)[None] / d).expand(2, -1, -1)
    best = maximum_likelihood(g, counts.expand(2, -1), white, TOLERANCE, ITERATIONS)[0]
    p = (g @ to_coordinates(best)[..., None])[..., 0].clamp(min=TINY)
    given, turned = (counts * p.log()).sum(-1).tolist()
    if turned - given < BETTER:
        return None
    return (
        f"the counts fit the readout errors far better with the qubits in the reverse order "
        f"(log-likelihood higher by {turned - given:.0f}): was the calibration written with qubit "
        "0 as the last bit, as qiskit does? Then say so: 'bit_order': 'qiskit' in its file, or "
        "readout_order='qiskit'. Estimate and region are those of the order as given"
    )
