"""Bases and effects that were rounded when they were written: made exact again, with a remark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Largest deviation of products of the columns from those of orthonormal ones; two decimals of
#: an amplitude leave 0.0082 (0.71 for the root of a half).
LARGEST = 1e-2
#: Up to here it is the precision of the numbers and not worth a word.
SILENT = 1e-6
#: Decimals of effects to which rounding is looked for.
_DECIMALS = range(2, 9)


def mended(setting: Any) -> tuple[Any, str | None]:
    """Setting as JSON has it with an exact basis or exact effects, and what was done to it.

    A basis is replaced by the nearest orthonormal one (polar decomposition), effects E_k by
    S^-1/2 E_k S^-1/2 with S their sum. What is off by more than rounding explains is left as it
    is, and `Setting.from_dict` refuses it.

    Parameters
    ----------
    setting : mapping
        With local, basis or effects as pairs [real, imaginary]; anything else comes back as it is.

    Returns
    -------
    dict
    str or None
        "local", "basis" or "effects" with how much they were off.
    """
    if not isinstance(setting, Mapping):
        return setting, None
    out = dict(setting)
    for name, ndim in (("local", 3), ("basis", 2), ("effects", 3)):
        if name not in setting:
            continue
        array = _complex(setting[name], ndim)
        if array is None:
            return out, None
        exact, gap = _effects(array) if name == "effects" else _orthonormal(array)
        if exact is None:
            return out, None
        out[name] = np.stack([exact.real, exact.imag], -1).tolist()
        return out, f"{name} off by {gap:.1g}" if gap > SILENT else None
    return out, None


def _complex(data: Any, ndim: int) -> NDArray[np.complex128] | None:
    try:
        array = np.asarray(data, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if array.ndim != ndim + 1 or array.shape[-1] != 2 or not array.size:
        return None
    square = array.shape[-2] == array.shape[-3]
    if not square or not np.isfinite(array).all() or np.abs(array).max() > 2:
        return None
    return array[..., 0] + 1j * array[..., 1]


def _orthonormal(
    array: NDArray[np.complex128],
) -> tuple[NDArray[np.complex128] | None, float]:
    """Nearest unitary matrices of (..., m, m); None where they are exact, or far from it."""
    gap = float(np.abs(array.conj().swapaxes(-1, -2) @ array - np.eye(array.shape[-1])).max())
    if not 1e-12 < gap <= LARGEST:
        return None, gap
    u, _, v = np.linalg.svd(array)
    return u @ v, gap


def _effects(array: NDArray[np.complex128]) -> tuple[NDArray[np.complex128] | None, float]:
    """Effects that sum to the identity; None where they do, or where it was no rounding.

    A sum that falls short may be a loss of the laboratory: it is mended only where the numbers
    have so few decimals that rounding explains it.
    """
    identity = np.eye(array.shape[-1])
    hermitian = 0.5 * (array + array.conj().swapaxes(-1, -2))
    gap = float(max(np.abs(array.sum(0) - identity).max(), np.abs(array - hermitian).max()))
    lowest = float(np.linalg.eigvalsh(hermitian).min())
    gap = max(gap, -lowest)
    if gap <= 1e-12 or gap > max(SILENT, 1.5 * len(array) * _step(array)):
        return None, gap
    values, vectors = np.linalg.eigh(hermitian)
    positive = (vectors * values.clip(min=0)[:, None]) @ vectors.conj().swapaxes(-1, -2)
    weights, frame = np.linalg.eigh(positive.sum(0))
    if weights.min() < 0.5:
        return None, gap
    root = (frame * weights**-0.5) @ frame.conj().T
    return root @ positive @ root, gap


def _step(array: NDArray[np.complex128]) -> float:
    """Half of the last decimal that the numbers were rounded to; 0 where they were not."""
    parts = np.stack([array.real, array.imag])
    for decimals in _DECIMALS:
        if np.abs(np.round(parts, decimals) - parts).max() < 1e-12:
            return 0.5 * 10.0**-decimals
    return 0.0
