"""Measurements of a process as rows of one table: what estimators see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.process.channels import Complex, Floats
from ...data.process_records import ProcessRecords
from .latent import Latent


@dataclass(frozen=True)
class Table:
    """One row for each outcome of each different input and setting.

    Attributes
    ----------
    design : ndarray (M, d^4)
        See `Latent.design`.
    counts, shots : ndarray (M,)
        Counts of the row, and copies of its input and setting.
    place : ndarray (M,), int64
        Number of its input and setting.
    names : list of str
        Of the inputs and settings.
    """

    design: Floats
    counts: Floats
    shots: Floats
    place: NDArray[np.int64]
    names: list[str]

    @property
    def freedom(self) -> int:
        """Numbers that the counts are free to be: outcomes less one of each setting."""
        return len(self.counts) - len(self.names)


def tabulate(records: ProcessRecords) -> Table:
    """Table of records; repeats of the same input and setting are added up.

    Raises
    ------
    InputError
        The readout errors cannot be those of a setting.
    """
    places: dict[bytes, int] = {}
    states: list[Complex] = []
    effects: list[Complex] = []
    sums: list[NDArray[np.int64]] = []
    names: list[str] = []
    for each in records.measurements:
        setting = each.measurement.setting
        if records.readout is not None:
            setting = records.readout.apply(setting)
        key = np.round(each.state, 10).tobytes() + np.round(setting.effects, 10).tobytes()
        if key not in places:
            places[key] = len(names)
            states.append(each.state)
            effects.append(setting.effects)
            sums.append(np.zeros(len(setting.effects), np.int64))
            names.append(each.name)
        sums[places[key]] += each.measurement.counts
    return table_of(states, effects, sums, names)


def table_of(
    states: list[Complex],
    effects: list[Complex],
    counts: list[NDArray[np.int64]],
    names: list[str],
) -> Table:
    """Table of different inputs (d, d), settings (k, d, d) and their counts (k,)."""
    sizes = [len(e) for e in effects]
    d = effects[0].shape[-1]
    latent = Latent(np.eye(d, dtype=np.complex128))
    design = latent.design(np.repeat(np.stack(states), sizes, 0), np.concatenate(effects))
    shots = np.repeat([float(c.sum()) for c in counts], sizes)
    place = np.repeat(np.arange(len(names)), sizes)
    return Table(design, np.concatenate(counts).astype(np.float64), shots, place, names)
