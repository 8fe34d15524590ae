"""Numbers that say how good a method is, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.evaluation.bootstrap import LEVEL, percentile_interval
from physml.evaluation.calibration import wilson

from .methods import Floats, Outcome

#: Copies from which on the slope is measured.
SLOPE_FROM = 1_000
PERCENTILE = 95


def scores(
    outcome: Outcome, marks: Sequence[int], *, replicas: int, rng: np.random.Generator
) -> dict[str, Any]:
    """All numbers of one method on one list.

    Parameters
    ----------
    outcome : Outcome
    marks : sequence of int
        Copies of its columns.
    replicas : int
        Resamples of whole states.
    rng : Generator

    Returns
    -------
    dict
        ``mean``, ``median``, ``percentile_95``: of the infidelity, one ``{value, low, high}`` a
        mark; ``slope``: of log mean infidelity against log copies from 1e3 on, None where fewer
        than two marks are; ``coverage``: share of the states inside their region, one a mark, None
        without regions; ``radius``: median radius of the regions; ``expected``: mean infidelity
        that the method expects; ``update_ms``, ``estimate_ms``.
    """
    x = outcome.infidelity
    drawn = x[rng.integers(0, len(x), (replicas, len(x)))]
    out: dict[str, Any] = {
        "mean": _summaries(x.mean(0), drawn.mean(1)),
        "median": _summaries(np.median(x, 0), np.median(drawn, 1)),
        "percentile_95": _summaries(
            np.percentile(x, PERCENTILE, axis=0), np.percentile(drawn, PERCENTILE, axis=1)
        ),
        "slope": None,
        "coverage": None,
        "radius": None,
        "expected": None,
        "update_ms": outcome.update_ms,
        "estimate_ms": outcome.estimate_ms,
    }
    late = np.asarray(marks) >= SLOPE_FROM
    if late.sum() >= 2:
        n = np.asarray(marks, np.float64)[late]
        value = float(slope(x.mean(0)[late], n))
        out["slope"] = percentile_interval(value, slope(drawn.mean(1)[:, late], n))._asdict()
    if np.isfinite(outcome.radius).all():
        out["coverage"] = coverage(x <= outcome.radius)
        out["radius"] = np.median(outcome.radius, 0).tolist()
    if np.isfinite(outcome.spread).all():
        out["expected"] = outcome.spread.mean(0).tolist()
    return out


def difference(
    ours: Floats, theirs: Floats, *, replicas: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Mean infidelity of one method less that of another on the same states.

    Parameters
    ----------
    ours, theirs : ndarray (S, m)
        Infidelities of the same states at the same marks.
    replicas : int
        Resamples of whole states.
    rng : Generator

    Returns
    -------
    list of dict
        ``{value, low, high}`` of each mark. The interval is that of the paired difference.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"expected the same states and marks, got {ours.shape}, {theirs.shape}")
    away = ours - theirs
    drawn = away[rng.integers(0, len(away), (replicas, len(away)))]
    return _summaries(away.mean(0), drawn.mean(1))


def slope(infidelity: Floats, copies: Floats) -> Floats:
    """Slope of log infidelity (..., m) against log copies (m,), by least squares."""
    x = np.log(copies) - np.log(copies).mean()
    # An infidelity of exactly zero has no logarithm; no method gets there but by rounding.
    y = np.log(np.maximum(infidelity, 1e-300))
    return np.asarray((y * x).sum(-1) / (x**2).sum())


def coverage(inside: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Share of the states (S, m) that are inside, with Wilson's interval, for each mark."""
    ends = wilson(inside.sum(0), np.full(inside.shape[1], len(inside)), LEVEL)
    return [
        {"value": float(v), "low": float(low), "high": float(high)}
        for v, (low, high) in zip(inside.mean(0), ends, strict=True)
    ]


def _summaries(values: Floats, drawn: Floats) -> list[dict[str, float]]:
    """One interval a mark, of values (m,) and resamples (B, m)."""
    return [
        percentile_interval(float(value), column)._asdict()
        for value, column in zip(values, drawn.T, strict=True)
    ]
