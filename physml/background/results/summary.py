"""Summary of a result: events, the promise and where it does not hold, for people and programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inference.retention import BANDS
from .event_rows import FLAGS, REJECTED
from .outside_training import outside_energies
from .result import BackgroundResult


def summarise(result: BackgroundResult) -> dict[str, Any]:
    """Summary of a result as plain JSON values.

    Returns
    -------
    dict
        ``summary`` (a sentence), ``input``, ``promise`` (retention asked for; in each band what it
        was measured to be, with its error), ``counts`` and ``bands`` (events by band),
        ``exposure``, ``housing`` (stand-off that the network was told), ``model``,
        ``not_trained_on``, ``remarks``, ``flags``, ``files``.
    """
    c, tally = result.correction, result.tally
    promise: dict[str, Any] = {
        "retention": result.retention if result.with_frames else None,
        "holds": result.with_frames and not result.untrained,
        "energies_keV": [float(c.energy[0]), float(c.energy[-1])] if result.with_frames else None,
        "events_outside_of_them": outside_energies(result) if result.with_frames else None,
        "meaning": "share of X-rays that stay, at each energy; measured on events put into other "
        "frames of these data"
        if result.with_frames
        else "none: without frames nothing is cut",
        "bands": [],
    }
    if result.with_frames:
        promise["bands"] = [
            {
                "low_keV": low,
                "high_keV": high,
                "promised": result.retention,
                "measured": round(value, 5),
                "error": round(error, 5),
            }
            for (low, high), value, error in c.bands(tally.rate or [0.0])
        ]
    out: dict[str, Any] = {
        "summary": result.summary(),
        "input": result.name,
        "with_frames": result.with_frames,
        "promise": promise,
        "counts": {**result.counts},
        "bands": band_counts(result),
        "exposure": {
            "live_time_s": result.live_time,
            "good_time_s": [[float(a), float(b)] for a, b in result.intervals[:1000]],
        },
        "model": {"version": result.card.get("version"), "sha256": result.card.get("sha256")},
        "not_trained_on": list(result.untrained),
        "remarks": list(result.remarks),
        "flags": {str(bit): text for bit, text in FLAGS.items()},
    }
    if result.with_frames:
        out["counts"]["invalid_patterns_or_energies"] = round(tally.invalid, 3)
        out["exposure"] |= {
            "frames": tally.frames,
            "frames_with_data": tally.read,
            "frame_time_s": result.frame_time,
            "particle_tracks_per_frame": round(tally.mean_rate, 6),
        }
        out["housing"] = {"standoff_mm": result.standoff, "measured": result.housing is not None}
        if result.housing is not None:
            low, high = result.housing.interval
            out["housing"] |= {
                "best_mm": round(result.housing.standoff, 2),
                "interval_90_mm": [low, high],
                "events": result.housing.events,
            }
    return out


def band_counts(result: BackgroundResult) -> list[dict[str, Any]]:
    """Events and mean probability by band."""
    totals = np.zeros((len(BANDS), 3))
    for rows in result.store.chunks():
        energy = rows["ENERGY"]
        rejected = (rows["FLAG"] & REJECTED) > 0
        for k, (low, high) in enumerate(BANDS):
            inside = (energy >= low) & (energy < high)
            totals[k] += (
                (inside & ~rejected).sum(),
                (inside & rejected).sum(),
                rows["P_BKG"][inside].sum(dtype=np.float64),
            )
    return [
        {
            "low_keV": low,
            "high_keV": high,
            "kept": int(kept),
            "rejected": int(rejected),
            "mean_p_bkg": round(float(p / (kept + rejected)), 5) if kept + rejected else None,
        }
        for (low, high), (kept, rejected, p) in zip(BANDS, totals, strict=True)
    ]
