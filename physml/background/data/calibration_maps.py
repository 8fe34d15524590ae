"""Numbers and images that calibrate frames: gains, offsets, bad pixels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError


def read_map(role: str, given: Any, shape: tuple[int, int], files: dict[str, Path]) -> Any:
    """Take a number, or an image of the detector's shape, from whatever was given."""
    if given is None:
        return None
    if isinstance(given, str | PathLike):
        try:
            return _number(role, float(str(given)))
        except ValueError:
            pass
        from physml.io.fits import open_image

        files[role] = Path(given)
        given = open_image(Path(given)).data
    values = np.asarray(given)
    if values.ndim == 0:
        return _number(role, float(values))
    if values.shape != shape:
        raise InputError.expected(
            files.get(role, f"{role}="),
            f"a number, or an image of {shape[1]} x {shape[0]} pixels",
            " x ".join(map(str, values.shape[::-1])),
        )
    if not np.isfinite(values.astype(float)).all():
        raise InputError.expected(files.get(role, f"{role}="), "finite values", "NaN or infinity")
    if role == "gain" and (values <= 0).any():
        raise InputError.expected(files.get(role, f"{role}="), "positive gains", "others")
    return values


def _number(role: str, value: float) -> float:
    if not np.isfinite(value) or (role == "gain" and value <= 0):
        raise InputError(
            f"{role}=: expected a {'positive' if role == 'gain' else 'finite'} number, "
            f"found {value:g}"
        )
    return value
