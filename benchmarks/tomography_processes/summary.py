"""Numbers of the record, from the rows of single processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from common.rows import Row
from common.tomography import rounded

from physml.evaluation.bootstrap import LEVEL
from physml.evaluation.calibration import wilson
from physml.random import stream
from physml.tomography.evaluation.process_stretch import SHARE, quantile
from physml.tomography.inference.process.functionals import (
    DIAMOND,
    STRETCH,
    quantities,
    stretched,
)

RIVALS = ("maximum_likelihood", "linear")
ERRORS = ("frobenius2", "infidelity")
QUANTITIES = ("average gate fidelity", "unitarity", DIAMOND)
#: Least error of a ratio: below it an error is that of rounding.
TINY = 1e-12
ALL = "all"


def record_numbers(rows: Mapping[str, Row], replicas: int) -> dict[str, Any]:
    """Record of all rows.

    Parameters
    ----------
    rows : mapping
        "family | qubits | number | copies | design" or "stretch | qubits | number" -> row.
    replicas : int
        Resamples of processes for the intervals.
    """
    cells: dict[tuple[str, int, int, str], list[Row]] = {}
    factors: dict[int, list[Row]] = {}
    for key, row in rows.items():
        first, n, *rest = key.split(" | ")
        if first == "stretch":
            factors.setdefault(int(n), []).append(row)
            continue
        _, copies, design = rest
        for family in (first, ALL):
            cells.setdefault((family, int(n), int(copies), design), []).append(row)
    return {
        "cells": [
            {"family": f, "qubits": n, "copies": m, "design": design}
            | cell(found, n, replicas)
            | gain(rows, f, n, m, replicas if design == "adaptive" else 0)
            for (f, n, m, design), found in sorted(cells.items())
        ],
        "stretch": {str(n): stretch(found) for n, found in sorted(factors.items())},
    }


def cell(found: Sequence[Row], n: int, replicas: int) -> dict[str, Any]:
    """Errors, ratios to the rivals, coverage and times of one family, design and copies."""
    out: dict[str, Any] = {
        "n": len(found),
        "mean": {
            m: {e: rounded(float(np.mean([row[m][e] for row in found]))) for e in ERRORS}
            for m in ("bayes", *RIVALS)
        },
        "ratio": {
            rival: {
                e: ratio([r["bayes"][e] for r in found], [r[rival][e] for r in found], replicas)
                for e in ERRORS
            }
            for rival in RIVALS
        },
        "held": {q: held([ends(r, q, n) for r in found]) for q in QUANTITIES},
        "held_by_posterior": {q: held([own_ends(r, q) for r in found]) for q in QUANTITIES},
        "length": {q: length([ends(r, q, n) for r in found]) for q in QUANTITIES},
        "alarms": sum(r["p_value"] is not None and r["p_value"] < 1e-3 for r in found),
        "r_hat": rounded(max(r["r_hat"] for r in found)),
        "seconds": [rounded(x) for x in np.mean([r["seconds"] for r in found], 0)],
    }
    return out


def gain(
    rows: Mapping[str, Row], family: str, n: int, copies: int, replicas: int
) -> dict[str, Any]:
    """Our error with chosen settings over that with all, of the processes that both measured."""
    if not replicas:
        return {}
    pairs = []
    for key, row in rows.items():
        first, *rest = key.split(" | ")
        if rest[0] == str(n) and rest[2:] == [str(copies), "adaptive"] and family in (first, ALL):
            pairs.append((row, rows[key.replace("adaptive", "pauli")]))
    return {
        "gain": {
            e: ratio([a["bayes"][e] for a, _ in pairs], [b["bayes"][e] for _, b in pairs], replicas)
            for e in ERRORS
        }
    }


def ratio(ours: Sequence[float], theirs: Sequence[float], replicas: int) -> list[float]:
    """Geometric mean of ours over theirs, with its interval from resampling processes."""
    logs = np.log(np.maximum(ours, TINY) / np.maximum(theirs, TINY))
    rng = stream(len(logs), "bootstrap", 0)
    drawn = logs[rng.integers(len(logs), size=(replicas, len(logs)))].mean(1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [rounded(float(np.exp(x))) for x in (logs.mean(), low, high)]


Ends = tuple[float, float, float]


def ends(row: Row, quantity: str, n: int) -> Ends:
    """Low end, truth and high end of an interval as it is reported.

    That of the diamond distance is made of the kept quantiles with the factor of today.
    """
    x = row["intervals"][quantity]
    if quantity != DIAMOND:
        return x["low"], x["truth"], x["high"]
    of = next(q for q in quantities(n, np.eye(1 << n)) if q.name == DIAMOND)
    tails = np.array([x["q05"], x["q50"], x["q95"]])
    made = stretched(of, x["value"], tails, SHARE, STRETCH[n][DIAMOND])
    return made.low, x["truth"], made.high


def own_ends(row: Row, quantity: str) -> Ends:
    """Low end, truth and high end of the posterior's own interval."""
    x = row["intervals"][quantity]
    return x["q05"], x["truth"], x["q95"]


def held(each: Sequence[Ends]) -> list[float]:
    """Share of the intervals that hold the truth, with Wilson's interval."""
    inside = sum(low <= truth <= high for low, truth, high in each)
    low, high = wilson(np.array([inside]), np.array([len(each)]), LEVEL)[0]
    return [rounded(x) for x in (inside / len(each), low, high)]


def length(each: Sequence[Ends]) -> float:
    """Mean length of intervals."""
    return rounded(float(np.mean([high - low for low, _, high in each])))


def stretch(found: Sequence[Row]) -> dict[str, Any]:
    """Factor that the drawn processes ask for, with its interval, and how many they are."""
    needed = np.array([row["needed"] for row in found])
    rng = stream(len(needed), "bootstrap", 1)
    resampled = needed[rng.integers(len(needed), size=(1000, len(needed)))]
    drawn = [quantile(row.tolist()) for row in resampled]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "n": len(needed),
        "factor": [rounded(float(x)) for x in (quantile(needed.tolist()), low, high)],
        "held_plain": rounded(float((needed <= 1).mean())),
    }
