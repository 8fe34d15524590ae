"""Errors of the readout: a detector that sometimes names the wrong outcome.

The confusion matrix of a qubit has P(read | true) in row `read` and column `true`; columns sum to
1. What is then measured are the noisy effects sum_t P(m | t) E_t, which are again a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from physml.exceptions import InputError

from .measurements import Setting
from .operators import kron_all

_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Readout:
    """Confusion of each qubit, alike in all bases.

    Attributes
    ----------
    confusion : ndarray (n, 2, 2)
        P(read | true) of each qubit.
    known : bool
        Whether it was measured. If not, it is a guess, and who estimates a state says so.
    error : ndarray (n, 2, 2), optional
        Standard errors.
    """

    confusion: NDArray[np.float64]
    known: bool = True
    error: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "confusion", check_confusion(self.confusion))

    def __call__(self, effects: Tensor) -> Tensor:
        """Noisy effects of a basis measurement, (k, d, d) or (S, k, d, d)."""
        return noisy_effects(effects, joint_confusion(torch.from_numpy(self.confusion)))

    def apply(self, setting: Setting) -> Setting:
        """Setting with readout errors applied: the measurement that is really made.

        Raises
        ------
        InputError
            Where the setting is no basis of as many qubits: then nobody knows which qubit was
            misread.
        """
        k, d = setting.effects.shape[:2]
        if k != d or d != 1 << len(self.confusion) or setting.basis is None:
            raise InputError.expected(
                f"setting {setting.id!r}",
                f"a basis of {len(self.confusion)} qubits, as the readout has",
                f"{k} outcomes in dimension {d}",
            )
        effects = self(torch.from_numpy(setting.effects)).numpy()
        return replace(setting, effects=effects, basis=None, local=None)

    def to_dict(self) -> dict[str, Any]:
        """Readout as JSON can hold it."""
        out: dict[str, Any] = {"confusion": self.confusion.tolist(), "known": self.known}
        if self.error is not None:
            out["error"] = self.error.tolist()
        return out

    @classmethod
    def from_dict(cls, data: Any) -> Readout:
        """The readout of `to_dict`, checked; InputError for anything else."""
        if not isinstance(data, dict) or "confusion" not in data:
            raise InputError.expected("readout", "an object with confusion", repr(data)[:80])
        error = data.get("error")
        known = data.get("known", True)
        if not isinstance(known, bool):
            raise InputError.expected("readout", "known to be true or false", repr(known))
        confusion = check_confusion(data["confusion"])
        if error is not None:
            error = _numbers(error)
            if error.shape != confusion.shape or error.min() < 0:
                raise InputError.expected("readout", "an error >= 0 for each number", "others")
        return cls(confusion, known, error)


def flips(p10: ArrayLike, p01: ArrayLike | None = None) -> NDArray[np.float64]:
    """Confusion (n, 2, 2) of the chances to read 1 where 0 is true, and 0 where 1 is.

    Where the second is not given it is as the first.
    """
    a = np.atleast_1d(np.asarray(p10, np.float64))
    b = a if p01 is None else np.atleast_1d(np.asarray(p01, np.float64))
    a, b = np.broadcast_arrays(a, b)
    return check_confusion(np.stack([np.stack([1 - a, b], -1), np.stack([a, 1 - b], -1)], -2))


def check_confusion(confusion: ArrayLike) -> NDArray[np.float64]:
    """Confusion matrices (n, 2, 2) as an array, made sure to hold probabilities.

    Raises
    ------
    InputError
        For another shape, NaN, negative numbers, or columns that do not sum to 1.
    """
    array = _numbers(confusion)
    if array.ndim != 3 or array.shape[1:] != (2, 2) or not len(array):
        raise InputError.expected("confusion", "matrices of shape (n, 2, 2)", f"{array.shape}")
    if array.min() < 0 or np.abs(array.sum(1) - 1).max() > _TOLERANCE:
        raise InputError.expected(
            "confusion",
            "probabilities P(read | true) whose columns sum to 1",
            f"sums {np.round(array.sum(1), 4).tolist()} and a smallest number of {array.min():.3g}",
        )
    return array


def joint_confusion(confusion: Tensor) -> Tensor:
    """Confusion of all qubits from that of each: (..., n, 2, 2) to (..., d, d)."""
    return kron_all(confusion)


def noisy_effects(effects: Tensor, confusion: Tensor) -> Tensor:
    """Effects of the outcomes as they are read.

    Parameters
    ----------
    effects : Tensor (..., k, d, d)
        Of the true outcomes.
    confusion : Tensor (m, k)
        P(read | true).

    Returns
    -------
    Tensor (..., m, d, d)
    """
    return torch.einsum("mt,...tij->...mij", confusion.to(effects), effects)


def estimate_confusion(counts: ArrayLike) -> Readout:
    """Confusion of each qubit from calibration runs.

    Parameters
    ----------
    counts : array (d, d), integers
        Row t: how often each outcome was read after the basis state t was prepared.

    Returns
    -------
    Readout
        Posterior means and standard deviations under Jeffreys' prior, so that an error that was
        never seen in a finite calibration is not taken for impossible.

    Raises
    ------
    InputError
        For counts that are negative, not whole or of another shape, or where some qubit was never
        prepared in 0 or in 1.
    """
    array = _numbers(counts)
    d = array.shape[0] if array.ndim == 2 else 0
    if array.ndim != 2 or array.shape[1] != d or d < 2 or d & (d - 1):
        raise InputError.expected("calibration", "counts of shape (2^n, 2^n)", f"{array.shape}")
    if array.min() < 0 or (array != np.floor(array)).any():
        raise InputError.expected("calibration", "whole numbers >= 0", "others")
    n = d.bit_length() - 1
    table = array.reshape([2] * (2 * n))
    each = np.empty((n, 2, 2))
    for q in range(n):
        others = tuple(a for a in range(2 * n) if a not in (q, n + q))
        each[q] = table.sum(others).T
    shots = each.sum(1, keepdims=True)
    if shots.min() < 1:
        raise InputError.expected(
            "calibration", "each qubit prepared in 0 and in 1", f"shots {shots[:, 0].tolist()}"
        )
    mean = (each + 0.5) / (shots + 1)
    return Readout(mean, True, np.sqrt(mean * (1 - mean) / (shots + 2)))


def _numbers(x: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(x, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.expected("confusion", "numbers", str(error)) from error
    if not array.size or not np.isfinite(array).all():
        raise InputError.expected("confusion", "finite numbers", "none, NaN or infinity")
    return array
