"""Marginals: counts of some of the qubits, the others left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.measurements import product_setting
from ...core.readout import Readout
from ..records import Measurement, Records


def marginal(records: Records, qubits: tuple[int, ...]) -> Records:
    """Records of some of the qubits.

    Parameters
    ----------
    records : Records
        Of measurements of each qubit by itself.
    qubits : tuple of int
        Different ones, in the order wanted; the first becomes qubit 0.

    Raises
    ------
    InputError
        There is no such qubit, a measurement is not of each qubit by itself, losses depend on
        the state, or readout errors are of all qubits together: what they say of some of them
        depends on the state of the others.
    """
    n = records.n_qubits
    place = str(records.files.get("records", records.name))
    if max(qubits) >= n:
        raise InputError.expected(
            "measured=", f"qubits from 0 to {n - 1}", ",".join(map(str, qubits))
        )
    if qubits == tuple(range(n)):
        return records
    readout = records.readout
    if records.frame is not None:
        raise InputError.expected(
            place, "losses that are the same for all states, for some of the qubits", "others"
        )
    if records.calibration is None and getattr(readout, "joint", None) is not None:
        raise InputError.expected(
            place, "readout errors of each qubit, for some of the qubits", "one matrix of all"
        )
    if readout is not None:
        readout = Readout(readout.confusion[list(qubits)], readout.known)
    measurements = [_part(m, n, qubits, place) for m in records.measurements]
    calibration = None
    if records.calibration is not None:
        calibration = _counts(_counts(records.calibration, n, qubits).T, n, qubits).T.copy()
        readout = None  # It follows from these counts.
    rest = [k for k in range(n) if k not in qubits]
    remarks = list(records.remarks)
    if rest:
        which = f"qubit {rest[0]} was" if len(rest) == 1 else f"qubits {rest} were"
        remarks.append(f"{which} left out, of {n}")
    return replace(
        records,
        n_qubits=len(qubits),
        measurements=measurements,
        readout=readout,
        calibration=calibration,
        remarks=remarks,
    )


def _part(m: Measurement, n: int, qubits: tuple[int, ...], place: str) -> Measurement:
    if m.setting.local is None or len(m.counts) != 1 << n:
        raise InputError.expected(
            place,
            "measurements of each qubit by itself, for some of the qubits",
            f"{m.setting.id!r} of all together",
        )
    setting = product_setting(m.setting.local[list(qubits)], m.setting.shots, m.setting.id)
    return Measurement(setting, _counts(m.counts, n, qubits), m.time)


def _counts(counts: NDArray[np.int64], n: int, qubits: tuple[int, ...]) -> NDArray[np.int64]:
    """Sum over the last axis, 2^n outcomes, to those of some qubits in their order."""
    lead = counts.shape[:-1]
    wide = counts.reshape(*lead, *[2] * n)
    at = len(lead)
    rest = tuple(at + k for k in range(n) if k not in qubits)
    summed = wide.sum(axis=rest, dtype=np.int64)
    kept = sorted(qubits)
    order = [at + kept.index(q) for q in qubits]
    return np.asarray(summed.transpose(*range(at), *order).reshape(*lead, -1), np.int64)
