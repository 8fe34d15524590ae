"""All numbers of the comparison, few enough for a file in the repository."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from physml.cavities.core.matching import ScoredSet
from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.found import Found, Images, frozen_expectations
from physml.cavities.evaluation.paired import difference, replicas_of
from physml.cavities.evaluation.set_metrics import ideal_metrics
from physml.cavities.evaluation.sets import PARTNER

from .predictions import PARTNERS
from .rows import MAIN, RIVALS, SEALED_ROWS, rows_of

log = logging.getLogger("benchmarks")

SEED = 20171203  # of the bootstrap
#: Sets whose completeness stands in bins beside the ideal observer's.
IN_BINS = ("clean",)
#: Sets whose tables show sizes, pixels and calibration.
SIZED = ("clean", "nuisance", "sealed")


def compare(
    images: Mapping[str, Images], found: Mapping[str, Mapping[str, Found]], replicas: int
) -> dict[str, Any]:
    """Numbers of each method on each set, and paired differences of ours to the rivals'.

    Parameters
    ----------
    images : mapping
        Set -> images.
    found : mapping
        Method -> set -> findings.
    replicas : int
        Resamples for the intervals; the same for all methods.

    Returns
    -------
    dict
        ``sets`` (method -> set -> numbers) and ``differences`` (rival -> row -> interval).
    """
    raw: dict[str, dict[str, Any]] = {}
    for method, of_sets in found.items():
        scored = {name: one.scored(images[name]) for name, one in of_sets.items()}
        raw[method] = {}
        for name, one in of_sets.items():
            empty = scored.get(PARTNERS.get(name, ""))
            raw[method][name] = replicas_of(
                one, scored[name], images[name], replicas=replicas, seed=SEED, empty=empty
            )
            if name == "clean" and empty is not None:
                raw[method][name]["bare"] = bare(scored[name], empty, replicas)
        log.info("numbers of %s", method)
    differences: dict[str, Any] = {}
    for rival in RIVALS:
        differences[rival] = {
            row.key: difference(
                raw["physml"][row.set],
                raw[rival][row.set],
                row.path,
                about=1.0 if row.is_bias else None,
            )
            for row in (*rows_of("clean", "nuisance"), *SEALED_ROWS)
            if rival in raw and row.set in raw["physml"]
        }
    sets = {
        method: {name: kept(name, summarised(tree)) for name, tree in of_sets.items()}
        for method, of_sets in raw.items()
    }
    return {"sets": sets, "differences": differences}


def bare(scored: ScoredSet, empty: ScoredSet, replicas: int) -> dict[str, Any]:
    """Completeness where each cavity is judged without the others: CADET has no such rule."""
    return metrics.completeness_at_alarm(
        replace(scored, companion=None),
        empty,
        metrics.image_weights(scored.n_images, replicas, SEED),
        metrics.image_weights(empty.n_images, replicas, SEED, index=1),
        summary=np.asarray,
    )


def summarised(tree: Any) -> Any:
    """Value and interval in place of all replicas."""
    if isinstance(tree, Mapping):
        return {key: summarised(part) for key, part in tree.items()}
    if isinstance(tree, list):
        return [summarised(part) for part in tree]
    return metrics.summarise(tree) if isinstance(tree, np.ndarray) else tree


def kept(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Only what a table shows."""
    shown = {"images", "cavities", "strict"}
    if name in MAIN:
        shown |= {"lenient"}
    if name in SIZED:
        shown |= {"sizes", "calibration", "pixels", "bare"}
    out = {k: v for k, v in part.items() if k in shown}
    if "calibration" in out:
        out["calibration"] = {"error": out["calibration"]["error"]}
    if name in IN_BINS and "curves" in part:
        out["curves"] = {k: part["curves"][k] for k in ("counts", "radius", "snr")}
    for rule in {"strict", "lenient"} & set(out):
        useless = ("alarmed",) if part["cavities"] else ("completeness", "purity", "f1")
        out[rule] = {k: v for k, v in out[rule].items() if k not in useless}
        if "at_alarm" in out[rule]:
            whole = rule == "strict" and name in ("clean", "sealed")
            out[rule] = out[rule] | {"at_alarm": at_alarm(out[rule]["at_alarm"], whole)}
    if "bare" in out:
        out["bare"] = at_alarm(out["bare"], True)
    return out


def at_alarm(part: dict[str, Any], whole: bool) -> dict[str, Any]:
    """Completeness at the alarm level, in bins and with one threshold where a table shows that."""
    if not whole:
        return {"binned": part["binned"]}
    bins = [{"completeness": one["completeness"]} for one in part["bins"]]
    return {"overall": part["overall"], "binned": part["binned"], "bins": bins}


def ideal(images: Mapping[str, Images], scored: ScoredSet, name: str, replicas: int) -> Any:
    """Completeness of the ideal observers on a frozen set."""
    dark = PARTNER[name]
    made = ideal_metrics(
        scored,
        images[name],
        frozen_expectations(name, len(images[name])),
        (images[dark], frozen_expectations(dark, len(images[dark]))),
        replicas=replicas,
        seed=SEED,
    )
    for version in made.values():
        version["curves"] = {k: version["curves"][k] for k in ("counts", "radius", "snr")}
    return made


def short(tree: Any) -> Any:
    """Numbers with five significant digits."""
    if isinstance(tree, Mapping):
        return {key: short(part) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        return [short(part) for part in tree]
    if isinstance(tree, np.generic):
        tree = tree.item()
    return float(f"{tree:.5g}") if isinstance(tree, float) else tree
