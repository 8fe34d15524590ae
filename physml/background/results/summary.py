"""Summary of a result: events, the promise and where it does not hold, for people and programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.account import Account
from ..inference.retention import BANDS
from .event_rows import FLAGS, LIST_FLAGS, REJECTED, counted
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
        ``not_trained_on``, ``account`` (what was read, assumed and left out), ``remarks``,
        ``flags``, ``files``.
    """
    c, tally = result.correction, result.tally
    promise: dict[str, Any] = {
        "retention": result.retention if result.with_frames else None,
        "holds": result.promised,
        "energies_keV": [float(c.energy[0]), float(c.energy[-1])] if result.with_frames else None,
        "events_outside_of_them": outside_energies(result) if result.with_frames else None,
        "meaning": "share of X-rays that stay, at each energy; measured on events put into other "
        "frames of these data"
        if result.with_frames
        else "none: without frames no cut is made by probabilities",
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
        "account": account_of(result).as_dict(),
        "remarks": list(result.remarks),
        "flags": {
            str(bit): text for bit, text in (FLAGS if result.with_frames else LIST_FLAGS).items()
        },
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


def account_of(result: BackgroundResult) -> Account:
    """Account of the input and of what became of its events: one table for people.

    Parameters
    ----------
    result : BackgroundResult

    Returns
    -------
    Account
        Rows of the input's own account, then those of the result.
    """
    account = Account(result.name, list(result.account.rows), aloud=False)
    if not result.with_frames:
        return account
    if result.housing is not None and result.housing.events:
        low, high = result.housing.interval
        account.read(
            "housing",
            f"at {result.standoff:.3g} mm ({low:.3g} - {high:.3g}), measured on "
            f"{result.housing.events} events",
        )
    elif result.standoff is not None and len(result.store):
        given = result.housing is None
        text = f"at {result.standoff:g} mm ({'given' if given else 'too few events to measure it'})"
        if given:
            account.read("housing", text)
        else:
            account.assume(text, "housing")
    if result.tally.invalid:
        account.leave_out(
            f"{result.tally.invalid:,.0f} events whose shape or energy is no X-ray's", "events"
        )
    outside = outside_energies(result)
    if outside:
        account.leave_out(
            f"from the promise: {outside} events outside of {result.correction.energy[0]:g} - "
            f"{result.correction.energy[-1]:g} keV",
            "energies",
        )
    return account


def band_counts(result: BackgroundResult) -> list[dict[str, Any]]:
    """Events and mean probability by band."""
    totals = np.zeros((len(BANDS), 3))
    for every in result.store.chunks():
        rows = every[counted(every)]
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
