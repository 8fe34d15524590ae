"""Header cards that say who made a file, and with which network and promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astropy.io.fits import Header

from physml import provenance as prov

from .result import BackgroundResult


def model_cards(result: BackgroundResult) -> list[tuple[str, Any, str]]:
    """Header cards of the network and its promise."""
    card = result.card
    cards: list[tuple[str, Any, str]] = [
        ("MODEL", f"physml background {card.get('version', '')}".strip()[:68], "network"),
        ("MODELSHA", str(card.get("sha256", "")), ""),
        ("WITHFRAM", result.with_frames, "judged with frames; else energy and grade"),
        ("RETENTIO", result.retention, "promised share of X-rays that stay"),
        ("PRIORODD", 1.0, "odds of X-rays at which P_BKG holds"),
        ("INDOMAIN", not result.untrained, "data like those of the training"),
    ]
    c, camera = result.correction, result.camera
    if camera is not None:
        cards += [
            ("SPLITTHR", camera.split, "[keV] split threshold"),
            ("EVTTHR", camera.event, "[keV] event threshold"),
            ("PIXSIZE", camera.pixel_um, "[um] side of a pixel"),
            ("MIPRATE", result.tally.mean_rate, "particle tracks per frame"),
            ("NINVALID", result.tally.invalid, "events of no X-ray's shape or energy"),
        ]
    if result.with_frames:
        for k, (low, high, value) in enumerate(
            zip(c.energy[:-1], c.energy[1:], c.mean(c.cut, result.tally.rate), strict=True), start=1
        ):
            cards.append((f"PCUT{k}", float(value), f"mean cut on P_BKG, {low:g} - {high:g} keV"))
    for k, text in enumerate(result.untrained[:9], start=1):
        cards.append((f"UNTRAIN{k}", text.encode("ascii", "replace").decode()[:66], ""))
    return cards


def describe(header: Header, result: BackgroundResult, record: Mapping[str, Any]) -> None:
    """Write who made a file, and with which network and promise, into a header."""
    for name, value, comment in (*prov.fits_cards(record), *model_cards(result)):
        header[name] = (value, comment)
