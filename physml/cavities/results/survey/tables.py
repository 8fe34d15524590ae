"""A survey's tables: one row a cavity, one row a target, one row a cavity of the literature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from physml.evaluation.calibration import wilson

from .outcome import FAILED, VERDICTS
from .recall import COLUMNS

#: Columns of the table of targets: unit or None, and meaning.
TARGET_COLUMNS: dict[str, tuple[u.UnitBase | None, str]] = {
    "target": (None, "name in the list"),
    "verdict": (None, "; ".join(f"{word}: {meaning}" for word, meaning in VERDICTS.items())),
    "n_cavities": (None, "cavities that pass the threshold on false alarms"),
    "n_candidates": (None, "listed ones that do not pass it"),
    "best_probability": (None, "largest probability of a listed one"),
    "ra": (u.deg, "centre of the cluster as it was used, ICRS"),
    "dec": (u.deg, "centre of the cluster as it was used, ICRS"),
    "redshift": (None, "of the list"),
    "kpc_per_arcsec": (u.kpc / u.arcsec, "scale (Planck 2018)"),
    "counts": (None, "in the image"),
    "false_alarm_rate": (None, "of draws of its smooth model in which a cavity is found"),
    "literature": (None, "known cavities on the observed image"),
    "literature_found": (None, "of these, found"),
    "literature_candidates": (None, "of these, found with the flag 'candidate'"),
    "literature_by_chance": (None, "found if ours were turned about the centre, the mean"),
    "folder": (None, "folder of its products, below 'targets'"),
    "warnings": (None, "remarks on its data, separated by ' | '"),
    "error": (None, "why it was not searched"),
}
#: Columns of whole numbers.
WHOLE = ("n_cavities", "n_candidates", "literature", "literature_found", "literature_candidates")


def target_table(
    outcomes: Sequence[Mapping[str, Any]], carried: Sequence[Mapping[str, Any]], compared: bool
) -> QTable:
    """One row a target, in the order of the list.

    Parameters
    ----------
    outcomes : sequence of dict
        What is known of each target (`outcome`), with ``target``, ``folder`` and ``error``.
    carried : sequence of dict
        Values of the list's other columns, as many.
    compared : bool
        Whether there is a table of the literature.
    """
    rows = [_target_row(one) for one in outcomes]
    table = QTable()
    for name, (unit, meaning) in TARGET_COLUMNS.items():
        if (name.startswith("literature") and not compared) or (
            name == "false_alarm_rate" and not any(name in one for one in outcomes)
        ):
            continue
        table[name] = _column(
            [row[name] for row in rows],
            unit,
            meaning,
            text=name in ("target", "verdict", "folder", "warnings", "error"),
        )
        if name in WHOLE:
            table[name] = np.nan_to_num(np.asarray(table[name])).astype(int)
            table[name].info.description = meaning
    for name in dict.fromkeys(name for row in carried for name in row):
        values = [row.get(name) for row in carried]
        text = any(isinstance(v, str) for v in values)
        unit = next((v.unit for v in values if isinstance(v, u.Quantity)), None)
        plain = [v.to_value(unit) if isinstance(v, u.Quantity) else v for v in values]
        if all(v is None or np.ndim(v) == 0 for v in plain):
            free = name if name not in table.colnames else f"{name}_list"
            table[free] = _column(plain, unit, "column of the list", text=text)
    return table


def _target_row(one: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {name: one.get(name) for name in TARGET_COLUMNS}
    row |= {"ra": one.get("centre_ra"), "dec": one.get("centre_dec")}
    row["warnings"] = " | ".join(one.get("warnings", ()))
    row["error"] = one.get("error", "")
    known = one.get("known")
    if known:
        states = [r["status"] for r in known["rows"]]
        row["literature"] = known["placed"]
        row["literature_found"] = states.count("found")
        row["literature_candidates"] = states.count("candidate")
        row["literature_by_chance"] = known["by_chance"]
    return row


def cavity_table(catalogues: Mapping[str, QTable]) -> QTable:
    """Catalogue of all targets: one row a cavity, with the name of its target before it.

    Parameters
    ----------
    catalogues : mapping of QTable
        By the name of the target. Where some have sky coordinates, those without keep only what
        needs none: their lengths in pixels are no lengths in arcsec.
    """
    tables = [(name, t) for name, t in catalogues.items() if len(t)]
    on_sky = any("ra" in t.colnames for _, t in tables)
    names = dict.fromkeys(column for _, t in tables for column in t.colnames)
    out = QTable()
    out["target"] = _column(
        [name for name, t in tables for _ in range(len(t))], None, "name in the list", text=True
    )
    for column in names:
        sample = next(
            t[column]
            for _, t in tables
            if column in t.colnames and not (on_sky and "ra" not in t.colnames)
        )
        unit = getattr(sample, "unit", None)
        kind = np.asarray(sample).dtype.kind
        values: list[Any] = []
        for _, t in tables:
            here = t[column] if column in t.colnames else None
            other = getattr(here, "unit", None)
            foreign = unit is not None and (other is None or not other.is_equivalent(unit))
            if here is None or foreign:
                values += [None] * len(t)
            else:
                values += list(here if unit is None else here.to_value(unit))
        description = sample.info.description or ""
        shape = np.shape(sample)[1:]
        if shape:  # such as a covariance
            empty = np.full(shape, np.nan)
            made = np.array([empty if v is None else v for v in values], float)
            out[column] = made if unit is None else made * unit
            out[column].info.description = description
        elif kind in "iu" and None not in values:
            out[column] = np.asarray(values, int)
            out[column].info.description = description
        else:
            out[column] = _column(values, unit, description, text=kind == "U")
    return out


def literature_table(
    outcomes: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> QTable:
    """One row a known cavity, those of targets that are not in the list last.

    Parameters
    ----------
    outcomes : sequence of dict
        See `target_table`; each with ``known`` as `compare` gives it.
    others : sequence of dict
        ``target``, ``cavity`` and ``status`` of those that were not searched.
    """
    rows: list[Mapping[str, Any]] = [
        {**row, "target": one["target"]}
        for one in outcomes
        for row in (one.get("known") or {"rows": ()})["rows"]
    ]
    rows += list(others)
    table = QTable()
    for name, (unit, meaning) in COLUMNS.items():
        values = [row.get(name) for row in rows]
        text = name in ("target", "cavity", "status", "why")
        table[name] = _column(values, unit, meaning, text=text)
    table["id"] = np.nan_to_num(np.asarray(table["id"])).astype(int)
    table["id"].info.description = COLUMNS["id"][1]
    return table


def recall_summary(table: QTable, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of the known cavities that were found.

    Parameters
    ----------
    table : QTable
        From `literature_table`.
    outcomes : sequence of dict
        For the number that chance makes.

    Returns
    -------
    dict
        Numbers, the share found with its 95 % interval (Wilson), that with candidates, by chance;
        median and scatter of our radii over the literature's; cavities of ours, in targets that
        the literature knows, that it does not.
    """
    status = np.asarray(table["status"])
    found, candidates = (int((status == word).sum()) for word in ("found", "candidate"))
    placed = found + candidates + int((status == "missed").sum())
    ratio = np.asarray(table["radius_ratio"], float)
    ratio = ratio[np.isfinite(ratio)]
    known = [one for one in outcomes if (one.get("known") or {}).get("rows")]
    ours = sum(one["n_cavities"] for one in known)
    out: dict[str, Any] = {
        "known": len(table),
        "placed": placed,
        "found": found,
        "candidates": candidates,
        "outside": int((status == "outside").sum()),
        "not_placed": int((status == "not placed").sum()),
        "not_searched": int(np.isin(status, (FAILED, "not in the list")).sum()),
        "new": ours - found,
        "by_chance": sum(one["known"]["by_chance"] for one in known),
        "radius_ratio": float(np.median(ratio)) if len(ratio) else None,
        "radius_scatter": float(np.std(np.log(ratio))) if len(ratio) > 1 else None,
    }
    if placed:
        low, high = wilson(found, placed, 0.95)
        out["share"], out["interval"] = found / placed, (float(low), float(high))
        out["share_with_candidates"] = (found + candidates) / placed
        out["share_by_chance"] = out["by_chance"] / placed
    return out


def _column(values: list[Any], unit: u.UnitBase | None, meaning: str, text: bool) -> Any:
    made: Any
    if text:
        texts = ["" if v is None else str(v) for v in values]
        # FITS has no strings of length 0.
        made = np.array(texts, dtype=f"U{max([1, *map(len, texts)])}")
    else:
        made = np.array([np.nan if v is None else float(v) for v in values])
    holder = QTable()
    holder["one"] = made if unit is None else made * unit
    holder["one"].info.description = meaning
    return holder["one"]
