"""Counts with which weights were trained: outside of them their false alarms are not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .observation import Observation


def trained_counts(card: Mapping[str, Any]) -> tuple[float, float] | None:
    """Range of the expected counts of the training's images; None where the card does not say it.

    Parameters
    ----------
    card : mapping
        Metadata of the weights.
    """
    part: Any = card
    for name in ("provenance", "settings", "simulate", "instrument", "counts"):
        part = part.get(name) if isinstance(part, Mapping) else None
    try:
        low, high = (float(value) for value in part)
    except (TypeError, ValueError):
        return None
    return (low, high) if 0 < low < high else None


def scales_outside(
    observation: Observation,
    totals: Mapping[int, float],
    listed: Sequence[int],
    card: Mapping[str, Any],
) -> set[int]:
    """Binnings whose fields have fewer or more counts than those of the training.

    A remark tells it where a cavity was found at one of them, or where there are no others.

    Parameters
    ----------
    observation : Observation
    totals : dict of float
        Counts of the field of each binning.
    listed : sequence of int
        Binnings at which cavities were found.
    card : mapping
        Metadata of the weights.
    """
    trained = trained_counts(card)
    if trained is None:
        return set()
    # Half a percent of Poisson images of the least counts have 6 % fewer.
    low, high = trained[0] - 3 * np.sqrt(trained[0]), trained[1] + 3 * np.sqrt(trained[1])
    outside = {scale for scale, total in totals.items() if not low <= total <= high}
    told = sorted(outside & set(listed)) or (sorted(outside) if len(outside) == len(totals) else [])
    if told:
        found = ", ".join(f"{totals[scale]:.3g} at binning {scale}" for scale in told[:3])
        observation.remark(
            "with fewer or more counts than the training",
            f"{found}{' ...' if len(told) > 3 else ''} counts, where the weights were trained with "
            f"{trained[0]:,.0f} to {trained[1]:,.0f}: no cavity found there is sure",
        )
    return outside
