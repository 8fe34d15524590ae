"""Methods of tomography on lists of states, kept state by state, and the numbers made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from physml import provenance
from physml.random import stream
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation import compare
from physml.tomography.evaluation.methods import Outcome
from physml.tomography.evaluation.scores import coverage, difference, scores
from physml.tomography.settings import NEURAL, EvaluateSettings

from .rows import Row, Rows
from .tables import table

#: Digits of the numbers that are kept.
DIGITS = 4
#: States of a list that a particle filter works on together.
CHUNK = 8
#: A rival's design -> the row of ours that it is compared with.
OURS = {design: f"neural, {design}" for design in ("global", "product", "pauli")}


@dataclass(frozen=True)
class Runs:
    """Methods on lists; what was run before is taken from a file.

    Attributes
    ----------
    rows : Rows
        Infidelity and radius of each state.
    weights : Path
    sha : str
        Of the weights.
    seed : int
        Of the experiments and of the resamples.
    replicas : int
        Resamples of states for the intervals.
    """

    rows: Rows
    weights: Path
    sha: str
    seed: int
    replicas: int = 400

    def outcome(
        self, place: str, rho: Tensor, name: str, copies: int, *, batch: int = 40
    ) -> Outcome:
        """One method on one list; that of before where there is any."""
        if "particle" in name and len(rho) > CHUNK:
            # Slow ones are kept in small parts, so that more states can be added.
            parts = rho.split(CHUNK)
            return Outcome.join(
                [
                    self.outcome(f"{place}, part {k}", part, name, copies, batch=batch)
                    for k, part in enumerate(parts)
                ]
            )
        model = self.sha[:12] if name in NEURAL else "-"
        key = f"{place} | {name} | {len(rho)} | {copies} | {batch} | {model}"
        row = self.rows.get(key, self._run, place, rho, name, copies, batch)
        infidelity = np.array(row["infidelity"], np.float64)
        others = (
            np.full_like(infidelity, np.nan) if row[part] is None else np.array(row[part])
            for part in ("radius", "spread")
        )
        return Outcome(infidelity, *others, row["update_ms"], row["estimate_ms"])

    def _run(self, place: str, rho: Tensor, name: str, copies: int, batch: int) -> Row:
        settings = EvaluateSettings(copies=copies, methods=(name,), batch=batch)
        found = compare.outcomes({place: rho}, settings, self.seed, weights=self.weights)
        if provenance.sha256(self.weights) != self.sha:
            raise RuntimeError(f"{self.weights} changed during the comparison; run again")
        whole = found[place][name]
        return {
            name: (value.tolist() if np.isfinite(value).all() else None)
            if isinstance(value, np.ndarray)
            else value
            for name, value in vars(whole).items()
        }

    def summary(self, place: str, whole: Outcome, copies: int) -> dict[str, Any]:
        """Mean with its interval, median, 95th percentile, slope and coverage of one method."""
        rng = stream(self.seed, "bootstrap", compare.list_number(place))
        found = scores(whole, marks_of(copies), replicas=self.replicas, rng=rng)
        inside = found["coverage"]
        return {
            "states": len(whole.infidelity),
            "mean": ends(found["mean"]),
            "median": [rounded(x["value"]) for x in found["median"]],
            "p95": [rounded(x["value"]) for x in found["percentile_95"]],
            "slope": found["slope"] and ends([found["slope"]])[0],
            "coverage": inside and ends(inside),
        }

    def difference(self, place: str, ours: Outcome, theirs: Outcome) -> dict[str, Any]:
        """Infidelity of ours less theirs on the states that both measured, with the interval."""
        n, m = (min(len(x), len(y)) for x, y in _both(ours, theirs))
        rng = stream(self.seed, "bootstrap", compare.list_number(place) + 1)
        away = difference(
            *(x.infidelity[:n, :m] for x in (ours, theirs)), replicas=self.replicas, rng=rng
        )
        return {
            "states": n,
            "mean": ends(away),
            "theirs": [rounded(x) for x in theirs.infidelity[:n, :m].mean(0)],
        }


def _both(ours: Outcome, theirs: Outcome) -> list[tuple[Any, Any]]:
    """States, and marks, of two outcomes."""
    a, b = ours.infidelity, theirs.infidelity
    return [(a, b), (a.T, b.T)]


def share_inside(whole: Outcome) -> list[list[float]]:
    """Share of the states inside their regions at each mark, with Wilson's interval."""
    return ends(coverage(whole.infidelity <= whole.radius))


def rounded(x: float) -> float:
    """Number with the digits that are kept."""
    return float(f"{x:.{DIGITS}g}")


def ends(found: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """Value, low, high of each."""
    return [[rounded(x[k]) for k in ("value", "low", "high")] for x in found]


def interval(x: Sequence[float] | None, spec: str = ".2g") -> str:
    """Value with its interval, or a dash."""
    if x is None:
        return "-"
    value, low, high = (format(v, spec) for v in x)
    return f"{value} ({low} to {high})"


def differences_table(
    parts: Mapping[str, Mapping[str, Any]], copies: Sequence[int], first: str = "list"
) -> str:
    """Infidelity of ours less that of rivals; bold where the interval leaves out zero.

    Parameters
    ----------
    parts : mapping
        List -> ``differences``: rival -> what `Runs.difference` gives.
    copies : sequence of int
    first : str
        Head of the first column.
    """
    rows = []
    for place, part in parts.items():
        for rival, found in part["differences"].items():
            cells = [
                f"{'**' if sure(x) else ''}{interval(x)}{'**' if sure(x) else ''}"
                for x in found["mean"]
            ]
            cells += ["-"] * (len(copies) - len(cells))
            rows.append([place, rival, found["states"], *cells])
    return table([first, "ours less", "n", *(f"{n:,} copies" for n in copies)], rows)


def sure(x: Sequence[float]) -> bool:
    """Whether an interval leaves out zero."""
    return x[1] > 0 or x[2] < 0
