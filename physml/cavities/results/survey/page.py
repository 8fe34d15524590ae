"""The page of a survey: one file that holds its pictures, for a browser and without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from markupsafe import Markup, escape

from physml.templates import render

from ..catalogue import FLAGS, short_table
from .figures import CAPTIONS
from .outcome import CANDIDATES, CAVITIES, FAILED, NONE, THUMBNAIL, VERDICTS
from .recall import SIZE_RATIO

#: Style of a verdict.
KINDS = {CAVITIES: "cavities", CANDIDATES: "candidates", NONE: "none", FAILED: "failed"}
#: Columns of the cavities of a target.
SHOWN = ("no.", "probability", "S/N", "distance", "azimuth", "radius", "R [kpc]", "bands", "flags")
#: Columns of the known cavities.
KNOWN = ("target", "cavity", "status", "S/N", 'radius ["]', "probability", 'apart ["]', "ratio")


def render_page(
    title: str,
    folder: Path,
    outcomes: Sequence[Mapping[str, Any]],
    catalogues: Mapping[str, QTable],
    tables: Mapping[str, QTable],
    pictures: Mapping[str, Path],
    recall: Mapping[str, Any] | None,
    origin: str,
) -> str:
    """HTML page of a survey.

    Parameters
    ----------
    title : str
        Of the survey.
    folder : Path
        Of the survey; pictures of its targets are read from there.
    outcomes : sequence of dict
        One a target, as `target_table` takes them.
    catalogues : mapping of QTable
        Catalogue of each target that was searched, by name.
    tables : mapping of QTable
        ``catalogue``, ``targets`` and maybe ``literature``, for the explanation of columns.
    pictures : mapping of Path
        Figures (PNG) by name.
    recall : mapping or None
        From `recall_summary`.
    origin : str
        Weights and versions in words.
    """
    rows = [_row(one, folder, catalogues.get(one["target"])) for one in outcomes]
    order = {word: k for k, word in enumerate(VERDICTS)}
    rows.sort(key=lambda row: (order[row["verdict"]], -row["best"]))
    number = {word: sum(row["verdict"] == word for row in rows) for word in VERDICTS}
    cavities = sum(one.get("n_cavities") or 0 for one in outcomes)
    candidates = sum(one.get("n_candidates") or 0 for one in outcomes)
    headline = (
        f"{cavities} cavities and {candidates} candidates. Targets with cavities: "
        f"{number[CAVITIES]}; with candidates only: {number[CANDIDATES]}; with none: "
        f"{number[NONE]}; not searched: {number[FAILED]}."
    )
    known = tables.get("literature")
    return render(
        "cavities/results/survey/page.html.jinja",
        title=title,
        headline=headline,
        rows=rows,
        failed=[row for row in rows if row["verdict"] == FAILED],
        pictures=dict(pictures),
        captions=CAPTIONS,
        recall=None if recall is None or known is None else _recall(recall, known),
        explained={
            **{f"Columns of {name}": _meanings(table) for name, table in tables.items()},
            "Verdicts": VERDICTS,
            "Flags": FLAGS,
        },
        origin=origin,
    )


def _row(one: Mapping[str, Any], folder: Path, catalogue: QTable | None) -> dict[str, Any]:
    picture = folder / "targets" / one["folder"] / THUMBNAIL
    row: dict[str, Any] = {
        "target": one["target"],
        "folder": one["folder"],
        "verdict": one["verdict"],
        "kind": KINDS[one["verdict"]],
        "words": one.get("summary", one["verdict"]),
        "error": one.get("error", ""),
        "warnings": one.get("warnings", ()),
        "best": one.get("best_probability") or 0.0,
        "head": (),
        "cells": (),
        "thumbnail": "",
        "facts": _facts(one),
    }
    if one["verdict"] != FAILED and picture.is_file():
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        text = escape(f"Counts and residual of {one['target']}")
        row["thumbnail"] = Markup(
            f'<img alt="{text}" loading="lazy" src="data:image/jpeg;base64,{data}">'
        )
    if catalogue is not None and len(catalogue):
        columns = short_table(catalogue, SHOWN)
        row["head"], row["cells"] = list(columns), list(zip(*columns.values(), strict=True))
    return row


def _facts(one: Mapping[str, Any]) -> str:
    if one["verdict"] == FAILED:
        return ""
    facts = [f"{one['counts']:,.0f} counts"]
    if one.get("centre_ra") is not None:
        facts.append(f"centre {one['centre_ra']:.5f} {one['centre_dec']:+.5f}")
    if one.get("redshift") is not None:
        facts.append(f"z = {one['redshift']:g}")
    if one.get("false_alarm_rate") is not None:
        facts.append(f"false alarms in {one['false_alarm_rate']:.0%} of images like this")
    known = one.get("known")
    if known and known["placed"]:
        found = sum(row["status"] == "found" for row in known["rows"])
        facts.append(f"{found} of {known['placed']} known cavities found")
    return "; ".join(facts)


def _recall(recall: Mapping[str, Any], known: QTable) -> dict[str, Any]:
    text = f"{recall['found']} of {recall['placed']} known cavities on the images are found"
    if recall["placed"]:
        low, high = recall["interval"]
        text += f" ({recall['share']:.0%}, 95 % interval {low:.0%} - {high:.0%})"
        text += f", {recall['candidates']} more as candidates. Turned about the centre, ours would "
        text += f"meet {recall['by_chance']:.1f} of them by chance"
    text += f". Cavities of ours that the literature does not have: {recall['new']}."
    if recall["radius_ratio"] is not None:
        text += f" Our radius over the literature's: {recall['radius_ratio']:.2f} in the median"
        if recall["radius_scatter"] is not None:
            text += f", scatter of its logarithm {recall['radius_scatter']:.2f}"
        text += "."
    for name, words in (
        ("outside", "lie outside of the observed images"),
        ("not_placed", "could not be placed"),
        ("not_searched", "belong to targets that were not searched or are not in the list"),
    ):
        if recall[name]:
            text += f" {recall[name]} {words}."
    cells = [
        (
            *(row["target"], row["cavity"], row["status"]),
            *(_number(row["snr"], ".1f"), _number(row["radius"], ".1f")),
            *(_number(row["probability"], ".2f"), _number(row["separation"], ".1f")),
            _number(row["radius_ratio"], ".2f"),
        )
        for row in known
        if row["status"] != "not in the list"
    ]
    return {"text": text, "head": KNOWN, "cells": cells, "size_ratio": f"{SIZE_RATIO:g}"}


def _number(value: Any, style: str) -> str:
    number = float(getattr(value, "value", value))
    return format(number, style) if np.isfinite(number) else "–"


def _meanings(table: QTable) -> dict[str, str]:
    out = {}
    for name in table.colnames:
        unit = getattr(table[name], "unit", None)
        head = f"{name} [{unit}]" if unit is not None and str(unit) else name
        out[head] = table[name].info.description or ""
    return out
