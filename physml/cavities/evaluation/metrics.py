"""Numbers about found cavities, each with an interval from resampling the images.

Cavities of one image are not independent (a pair shares its halo and its counts), so intervals
come from drawing whole images with replacement. All estimators here take the weight of each image
(how often it was drawn) and are vectorised over the replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.evaluation.bootstrap import (
    Interval,
    bootstrap_sums,
    percentile_interval,
    repeated_quantile,
)
from physml.evaluation.calibration import BINS as PIXEL_BINS
from physml.evaluation.calibration import FOREGROUND, Reliability, calibration_error
from physml.evaluation.metrics import PixelScores, average_precision
from physml.random import stream

from ..core.matching import STRICT, Rule, ScoredSet, match, matched

#: Probability content of all intervals.
LEVEL = 0.95
#: Bins of candidates, of which a set has hundreds, not millions.
CALIBRATION_BINS = 10
#: Bins of counts; the frozen sets begin at 5,000 counts, give or take their Poisson noise.
COUNT_EDGES = (2e3, 4.5e3, 2e4, 1e5, 3e6)
#: Bins of the properties by which completeness is shown.
CURVE_EDGES: Mapping[str, tuple[float, ...]] = {
    "counts": (2e3, 4.5e3, 1e4, 2e4, 5e4, 1e5, 3e5, 3e6),
    "radius": (3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 40.0),
    "distance_over_radius": (0.5, 1.25, 1.6, 2.0, 2.75, 6.0),
    "snr": (0.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 1e3),
}

Weights = NDArray[np.float64]
#: What is kept of an estimator's replicas: value and interval, or (for `paired`) all of them.
Summary = Callable[[NDArray[np.float64]], Any]


def image_weights(n: int, replicas: int, seed: int, index: int = 0) -> Weights:
    """Number of times that each of ``n`` images is drawn in each replica, shape (1 + replicas, n).

    The first row is all ones, so that row 0 of any estimator is the value itself.
    """
    if n < 1:
        raise ValueError("no images to resample")
    rng = stream(seed, "bootstrap", index)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=replicas)
    return np.concatenate([np.ones((1, n)), drawn])


def summarise(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Value and interval from an estimator's replicas, the value itself first.

    None stands for what cannot be computed (no such cavity).
    """
    return as_dict(percentile_interval(float(values[0]), values[1:], LEVEL))


def as_dict(interval: Interval) -> dict[str, float | None]:
    """Interval in JSON's terms: None for what is not defined."""
    undefined = not np.isfinite(interval.value)
    return {
        name: float(x) if np.isfinite(x) and not undefined else None
        for name, x in zip(("value", "low", "high"), interval, strict=True)
    }


def ratio(weights: Weights, top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    """Ratio of weighted sums over images; nan where the lower one is empty."""
    below = weights @ np.asarray(bottom, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, (weights @ np.asarray(top, np.float64)) / below, np.nan)


def weighted_quantile(
    values: NDArray[np.float64], weights: Weights, q: float
) -> NDArray[np.float64]:
    """Quantile of ``values`` (m,) for each row of ``weights`` (b, m), shape (b,)."""
    if values.size == 0:
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    return repeated_quantile(values[order], weights[:, order], np.array([q]))[:, 0]


def per_image(
    scored: ScoredSet, threshold: Any, rule: Rule = STRICT
) -> dict[str, NDArray[np.float64]]:
    """Detections, hits and true cavities of each image, and whether it would alarm.

    Parameters
    ----------
    scored : ScoredSet
    threshold : float or ndarray, shape (n,)
        Smallest probability that is a detection, for each image.
    rule : Rule
        When a detection is a hit.
    """
    n, image = scored.n_images, scored.candidates["image"]
    kept = scored.detected(threshold)
    hit = kept & (match(scored, rule) >= 0)
    detections = np.bincount(image[kept], minlength=n).astype(np.float64)
    return {
        "detections": detections,
        "hits": np.bincount(image[hit], minlength=n).astype(np.float64),
        "cavities": np.bincount(scored.cavities["image"], minlength=n).astype(np.float64),
        "alarm": (detections >= rule.alarm).astype(np.float64),
    }


def detection_metrics(
    scored: ScoredSet,
    threshold: Any,
    weights: Weights,
    rule: Rule = STRICT,
    summary: Summary = summarise,
) -> dict[str, Any]:
    """Completeness, purity, F1, false cavities an image, and share of images with a detection.

    ``alarmed`` is the false-alarm rate only for a set without cavities.
    """
    c = per_image(scored, threshold, rule)
    one = np.ones(scored.n_images)
    ratios = {
        "completeness": (c["hits"], c["cavities"]),
        "purity": (c["hits"], c["detections"]),
        "f1": (2 * c["hits"], c["cavities"] + c["detections"]),
        "false_per_image": (c["detections"] - c["hits"], one),
        "alarmed": (c["alarm"], one),
    }
    return {name: summary(ratio(weights, *parts)) for name, parts in ratios.items()}


def hit_scores(scored: ScoredSet, rule: Rule = STRICT) -> NDArray[np.float64]:
    """Highest threshold at which each true cavity is found, shape (t,); -inf if at none."""
    out = np.full(len(scored.cavities), -np.inf)
    found = match(scored, rule)
    hit = found >= 0
    out[found[hit]] = scored.decision[hit]
    return out


def alarm_scores(scored: ScoredSet, rule: Rule = STRICT) -> NDArray[np.float64]:
    """Highest threshold at which each image without cavities alarms, shape (n,); -inf if none.

    That is the probability of its best candidate, or of its second where the rule asks for two.

    Raises
    ------
    ValueError
        There are cavities in the set.
    """
    if len(scored.cavities):
        raise ValueError("a false-alarm rate needs images without visible cavities")
    out = np.full(scored.n_images, -np.inf)
    order = np.argsort(-scored.decision, kind="stable")
    seen = np.zeros(scored.n_images, int)
    for row in order:
        image = scored.candidates["image"][row]
        seen[image] += 1
        if seen[image] == rule.alarm:
            out[image] = scored.decision[row]
    return out


def alarm_threshold(
    scores: NDArray[np.float64], weights: Weights, level: float
) -> NDArray[np.float64]:
    """Smallest threshold at which at most ``level`` of the images alarm, for each replica.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        From `alarm_scores`.
    weights : ndarray, shape (b, n)
    level : float
        Largest share of images that may alarm.

    Returns
    -------
    ndarray, shape (b,)
        A detection is a candidate with a probability of at least this.
    """
    if not 0 <= level < 1:
        raise ValueError(f"the alarm level is a share below one, not {level}")
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    alarmed = np.cumsum(weights[:, order], axis=1)
    allowed = level * alarmed[:, -1] * (1 + 1e-12)
    # The first image that would be one too many: the threshold lies just above its score.
    first = (alarmed <= allowed[:, None]).sum(axis=1)
    blocking = sorted_scores[np.minimum(first, len(scores) - 1)]
    return np.where(np.isfinite(blocking), np.nextafter(blocking, np.inf), 0.0)


def completeness_at_alarm(
    scored: ScoredSet,
    empty: ScoredSet,
    weights: Weights,
    empty_weights: Weights,
    *,
    level: float = 0.05,
    rule: Rule = STRICT,
    summary: Summary = summarise,
) -> dict[str, Any]:
    """Completeness where at most ``level`` of the images without cavities alarm.

    Twice: with one threshold for all counts, and with a threshold of its own in each bin of
    counts (which is how a threshold is set in practice: noise makes more false cavities in
    faint images). Both sets are resampled, thresholds included.

    Parameters
    ----------
    scored, empty : ScoredSet
        Images with cavities, and without.
    weights, empty_weights : ndarray
        From `image_weights`, with the same number of rows.
    level : float
        Share of images without cavities that may alarm.
    rule : Rule
    summary : callable
        What is kept of the replicas.

    Returns
    -------
    dict
        ``overall`` (one threshold), ``binned`` (own threshold in each bin, all cavities),
        ``threshold``, ``thresholds`` and ``bins``: a list with ``low``, ``high``, ``completeness``
        (own threshold), ``images``, ``cavities`` and ``empty_images``.
    """
    hits = hit_scores(scored, rule)
    alarms = alarm_scores(empty, rule)
    image = scored.cavities["image"]
    w = weights[:, image]
    overall = alarm_threshold(alarms, empty_weights, level)
    found = hits[None, :] >= overall[:, None]
    in_bin = np.digitize(scored.counts, COUNT_EDGES[1:-1])
    empty_bin = np.digitize(empty.counts, COUNT_EDGES[1:-1])
    bins, thresholds, found_binned = [], [], np.zeros_like(found)
    for k, (low, high) in enumerate(pairwise(COUNT_EDGES)):
        members, here = empty_bin == k, in_bin[image] == k
        if members.any():
            limit = alarm_threshold(alarms[members], empty_weights[:, members], level)
        else:
            limit = overall
        found_binned[:, here] = hits[None, here] >= limit[:, None]
        thresholds.append(float(limit[0]))
        bins.append(
            {
                "low": low,
                "high": high,
                "completeness": summary(weighted_share(w[:, here], found_binned[:, here])),
                "images": int((in_bin == k).sum()),
                "cavities": int(here.sum()),
                "empty_images": int(members.sum()),
            }
        )
    return {
        "overall": summary(weighted_share(w, found)),
        "binned": summary(weighted_share(w, found_binned)),
        "threshold": float(overall[0]),
        "thresholds": thresholds,
        "bins": bins,
    }


def alarm_curve(
    scored: ScoredSet, empty: ScoredSet
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Completeness against the share of images without cavities that alarm.

    Returns
    -------
    alarmed, completeness : ndarray
        From the highest threshold down.
    """
    hits, alarms = hit_scores(scored), alarm_scores(empty)
    both = np.unique(np.concatenate([hits, alarms]))
    thresholds = both[np.isfinite(both)][::-1]
    found = np.searchsorted(np.sort(-hits), -thresholds, side="right")
    alarmed = np.searchsorted(np.sort(-alarms), -thresholds, side="right")
    return alarmed / max(len(alarms), 1), found / max(len(hits), 1)


def weighted_share(weights: Weights, found: NDArray[Any]) -> NDArray[np.float64]:
    """Weighted share of found cavities in each replica, both of shape (b, t) or broadcast to it."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (weights * found).sum(axis=1) / total, np.nan)


def quantity(scored: ScoredSet, name: str) -> NDArray[np.float64]:
    """Property of each true cavity, by which completeness is shown, shape (t,).

    ``counts``, ``distance_over_radius`` (projected distance), or a column of the table.
    """
    c = scored.cavities
    if name == "counts":
        return scored.counts[c["image"]]
    if name == "distance_over_radius":
        flat = c["distance"] * np.cos(c["line_of_sight"])
        return np.asarray(flat / np.maximum(c["radius"], 1e-9), np.float64)
    return np.asarray(c[name], np.float64)


def completeness_curve(
    scored: ScoredSet,
    found: NDArray[Any],
    weights: Weights,
    name: str,
    edges: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Completeness in bins of a property.

    Parameters
    ----------
    scored : ScoredSet
    found : ndarray, shape (t,)
        Whether each true cavity was found, or the probability that it is.
    weights : ndarray, shape (b, n)
        How often each image stands in each sample of the bootstrap.
    name : str
        See `quantity`.
    edges : sequence of float, optional
        `CURVE_EDGES` by default.

    Returns
    -------
    list of dict
        ``low``, ``high``, ``cavities``, ``completeness``.
    """
    limits = CURVE_EDGES[name] if edges is None else edges
    value = quantity(scored, name)
    w = weights[:, scored.cavities["image"]]
    out = []
    for low, high in pairwise(limits):
        here = (value >= low) & (value < high)
        replicas = weighted_share(w[:, here], np.asarray(found, np.float64)[here][None, :])
        row = {"low": float(low), "high": float(high), "cavities": int(here.sum())}
        out.append({**row, "completeness": summarise(replicas)})
    return out


def size_metrics(
    scored: ScoredSet, threshold: Any, weights: Weights, summary: Summary = summarise
) -> dict[str, Any]:
    """Accuracy of the sizes of the found cavities.

    Radii are R = sqrt(ab). ``scatter`` is half the width of the central 68 % of R / R_true.
    The true volume is the ellipsoid's own, whose depth no image shows: even a perfect outline
    leaves an error. Pulls and coverage refer to ``radius_err`` where there is one.
    """
    truth, got = matched(scored, threshold)
    w = weights[:, got["image"]]
    quantiles = partial(weighted_quantile, weights=w)
    r = got["radius"] / truth["radius"]
    v = got["volume"] / truth["volume"]
    out: dict[str, Any] = {
        "matched": len(got),
        "radius_ratio": summary(quantiles(r, q=0.5)),
        "radius_scatter": summary(0.5 * (quantiles(r, q=0.84) - quantiles(r, q=0.16))),
        "volume_ratio": summary(quantiles(v, q=0.5)),
        "volume_error": summary(quantiles(np.abs(v - 1), q=0.5)),
    }
    if len(got) and (got["radius_err"] > 0).all():
        pull = (got["radius"] - truth["radius"]) / got["radius_err"]
        out["pull_median"] = summary(quantiles(pull, q=0.5))
        out["pull_width"] = summary(0.5 * (quantiles(pull, q=0.84) - quantiles(pull, q=0.16)))
        out["coverage_68"] = summary(weighted_share(w, (np.abs(pull) <= 1)[None, :]))
    return out


def no_candidates() -> Reliability:
    """Empty sum of `candidate_reliability`."""
    return Reliability(CALIBRATION_BINS)


def candidate_reliability(scored: ScoredSet) -> list[Reliability]:
    """Probabilities of the candidates and whether they are true, binned, image by image."""
    hit = match(scored) >= 0
    out = [no_candidates() for _ in range(scored.n_images)]
    for image in np.unique(scored.candidates["image"]).tolist():
        here = scored.candidates["image"] == image
        out[image].add(np.clip(scored.candidates["score"][here], 0, 1), hit[here])
    return out


def calibration(
    scored: ScoredSet, weights: Weights, summary: Summary = summarise
) -> dict[str, Any]:
    """Probabilities of the candidates beside how often they are right.

    Returns
    -------
    dict
        ``error``: mean distance of the share of hits from the mean probability over bins of
        probability, weighted by candidates; ``reliability``: ``probability``, ``hits``,
        ``candidates`` of each bin.
    """
    parts = candidate_reliability(scored)
    sums = np.stack([r.sums for r in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        error = calibration_error(weights @ sums)
    total = sum(parts, no_candidates())
    rows = [
        {"probability": float(p), "hits": float(y), "candidates": int(n)}
        for p, y, n in zip(total.predicted, total.observed, total.count, strict=True)
        if n
    ]
    return {"error": summary(error), "reliability": rows}


def pixel_metrics(
    probability: NDArray[Any],
    truth: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Area under the ROC, average precision, F1 and IoU at 0.5, foreground calibration error.

    Parameters
    ----------
    probability, truth, valid : ndarray, shape (n, H, W)
        Only valid pixels count.
    replicas, seed : int
        Bootstrap.
    """
    scores = PixelScores()
    sums = np.zeros((len(truth), 3 * PIXEL_BINS))
    for i in range(len(truth)):
        # Kept as half floats, a probability can round to just above one.
        p = np.clip(probability[i].astype(np.float64), 0, 1)
        scores.add(p[None], truth[i][None], valid[i][None])
        one = Reliability(PIXEL_BINS)
        one.add(p, truth[i], valid[i])
        sums[i] = one.sums
    rng = stream(seed, "bootstrap", 3)
    made = scores.summary(rng, replicas=replicas, level=LEVEL)
    made["calibration_error"] = bootstrap_sums(
        sums, partial(calibration_error, above=FOREGROUND), rng=rng, replicas=replicas, level=LEVEL
    )
    names = {"ap": "average_precision"}
    shown = ("auroc", "ap", "f1", "iou", "calibration_error")
    return {short: as_dict(made[names.get(short, short)]) for short in shown}


def pixel_replicas(
    probability: NDArray[Any],
    truth: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    weights: Weights,
) -> dict[str, NDArray[np.float64]]:
    """Average precision and foreground calibration error in each replica, each of shape (b,).

    The numbers of `pixel_metrics` on given resamples, so that two methods can be compared on
    the same ones.

    Parameters
    ----------
    probability, truth, valid : ndarray, shape (n, H, W)
    weights : ndarray, shape (b, n)
    """
    scores = PixelScores()
    sums = np.zeros((len(truth), 3 * PIXEL_BINS))
    for i in range(len(truth)):
        p = np.clip(probability[i].astype(np.float64), 0, 1)
        scores.add(p[None], truth[i][None], valid[i][None])
        one = Reliability(PIXEL_BINS)
        one.add(p, truth[i], valid[i])
        sums[i] = one.sums
    positives, negatives = (h.astype(np.float64) for h in (scores.positives, scores.negatives))
    parts = [weights[k : k + 100] for k in range(0, len(weights), 100)]
    ap = [average_precision(w @ positives, w @ negatives) for w in parts]
    with np.errstate(invalid="ignore", divide="ignore"):
        error = calibration_error(weights @ sums, above=FOREGROUND)
    return {"ap": np.concatenate(ap), "calibration_error": error}
