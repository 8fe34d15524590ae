"""All numbers of evaluated sets, and of the ideal observers on them, ready for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.matching import LENIENT, STRICT, ScoredSet
from . import ideal_observer, metrics
from .found import Found, Images
from .sets import EMPTY, PARTNER

#: Share of cavity-less images with an alarm at which completeness is compared.
ALARM_LEVEL = 0.05
#: Shapes that the searching ideal observer tries on each image.
BANK = 300


def set_metrics(
    scored: ScoredSet,
    thresholds: NDArray[np.float64],
    *,
    replicas: int,
    seed: int,
    empty: ScoredSet | None = None,
    summary: metrics.Summary = metrics.summarise,
) -> dict[str, Any]:
    """All numbers about the cavities of one set.

    Parameters
    ----------
    scored : ScoredSet
    thresholds : ndarray, shape (n,)
        Shipped threshold of each image.
    replicas, seed : int
        Bootstrap.
    empty : ScoredSet, optional
        Set without cavities, for completeness at a fixed alarm level.
    summary : callable
        What is kept of the replicas of each number.
    """
    weights = metrics.image_weights(scored.n_images, replicas, seed)
    out: dict[str, Any] = {"images": scored.n_images, "cavities": len(scored.cavities)}
    for rule in (STRICT, LENIENT):
        out[rule.name] = metrics.detection_metrics(scored, thresholds, weights, rule, summary)
    if len(scored.cavities) == 0:
        return out
    out["sizes"] = metrics.size_metrics(scored, thresholds, weights, summary)
    other = metrics.image_weights(scored.n_images, replicas, seed, index=2)
    out["calibration"] = metrics.calibration(scored, other, summary)
    if empty is not None:
        empty_weights = metrics.image_weights(empty.n_images, replicas, seed, index=1)
        for rule in (STRICT, LENIENT):
            out[rule.name]["at_alarm"] = metrics.completeness_at_alarm(
                scored,
                empty,
                weights,
                empty_weights,
                level=ALARM_LEVEL,
                rule=rule,
                summary=summary,
            )
        out["curves"] = completeness_curves(scored, out["strict"]["at_alarm"], weights)
    return out


def completeness_curves(
    scored: ScoredSet, at_alarm: Mapping[str, Any], weights: metrics.Weights
) -> dict[str, list[dict[str, Any]]]:
    """Completeness against each property, at the alarm level set in bins of counts."""
    limit = np.array(at_alarm["thresholds"])[np.digitize(scored.counts, metrics.COUNT_EDGES[1:-1])]
    hit = metrics.hit_scores(scored) >= limit[scored.cavities["image"]]
    return {
        name: metrics.completeness_curve(scored, hit, weights, name) for name in metrics.CURVE_EDGES
    }


def ideal_metrics(
    truth: ScoredSet,
    images: Images,
    rendered: Iterator[ideal_observer.Expectation],
    empty: tuple[Images, Iterator[ideal_observer.Expectation]] | None = None,
    *,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Completeness of the ideal observers on a set, in the bins of our own curves.

    Parameters
    ----------
    truth : ScoredSet
        For its cavities and counts; candidates are not used.
    images : Images
        Its images, for their invalid pixels.
    rendered : iterator of Expectation
        Expected counts of these images.
    empty : tuple, optional
        Images and expectations of the cavity-less partner, which the searching observer needs;
        without it only the version ``known``.
    replicas, seed : int
        Bootstrap.

    Returns
    -------
    dict
        Version -> ``threshold``, ``thresholds``, ``overall``, ``binned`` (completeness with one
        threshold, and with one in each bin of counts), ``bins`` and ``curves``.
    """
    if len(truth.cavities) == 0:
        return {}
    table, bank = ideal_observer.observe(rendered, truth.cavities, images.invalid, bank=BANK)
    versions: dict[str, Any] = {"known": None}
    if empty is not None:
        scores = ideal_observer.search_scores(bank, empty[1], empty[0].invalid)
        versions["search"] = (scores, empty[0].totals)
    weights = metrics.image_weights(truth.n_images, replicas, seed)
    per_cavity = weights[:, truth.cavities["image"]]
    out: dict[str, Any] = {}
    for version, search in versions.items():
        ideal = ideal_observer.ideal_completeness(
            table, truth.counts, level=ALARM_LEVEL, edges=metrics.COUNT_EDGES, search=search
        )
        own = ideal["binned"]
        shares = {k: metrics.weighted_share(per_cavity, ideal[k]) for k in ("overall", "binned")}
        out[version] = {
            **{k: ideal[k] for k in ("threshold", "thresholds")},
            **{k: metrics.summarise(replicas) for k, replicas in shares.items()},
            "bins": metrics.completeness_curve(truth, own, weights, "counts", metrics.COUNT_EDGES),
            "curves": {
                name: metrics.completeness_curve(truth, own, weights, name)
                for name in metrics.CURVE_EDGES
            },
        }
    return out


def evaluate_sets(
    images: Mapping[str, Images],
    found: Mapping[str, Found],
    scored: Mapping[str, ScoredSet],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """All numbers of all sets.

    The test split is mixed: its images without visible cavities are its own cavity-less partner.

    Parameters
    ----------
    images, found, scored : mapping
        By name of the set.
    replicas, seed : int
        Bootstrap.
    """
    sets: dict[str, Any] = {}
    for name, one in scored.items():
        if name in PARTNER:
            empty = scored.get(PARTNER[name])
        elif name in EMPTY:
            empty = None
        else:
            without = np.bincount(one.cavities["image"], minlength=one.n_images) == 0
            empty = one.subset(without) if without.any() else None
        sets[name] = set_metrics(
            one, found[name].thresholds, replicas=replicas, seed=seed, empty=empty
        )
        sets[name]["pixels"] = metrics.pixel_metrics(
            found[name].probability,
            images[name].mask > 0,
            images[name].exposure > 0,
            replicas=replicas,
            seed=seed,
        )
    return {
        "alarm_level": ALARM_LEVEL,
        "confidence": metrics.LEVEL,
        "cpu_seconds_per_image": float(np.median([f.cpu_seconds for f in found.values()])),
        "sets": sets,
    }
