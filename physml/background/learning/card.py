"""The card of trained weights: what they are, how they were made, how good they seemed."""

from __future__ import annotations

from typing import Any

SHOWN = (0.95, 0.98, 0.99)  # retentions whose cuts the card lists


def describe(card: dict[str, Any]) -> str:
    """Weights' metadata as a page of Markdown.

    Parameters
    ----------
    card : dict
        Metadata of a weights file of this pipeline.
    """
    record = card["provenance"]
    settings = record["settings"]
    training, calibration = card["training"], card["calibration"]
    network = card["network"]
    lines = [
        f"# Weights of the background pipeline, {card['version']}",
        "",
        "Generated with the weights; `physml info` on them prints all of it.",
        "",
        "| | |",
        "|---|---|",
        f"| made | {record['ended']} |",
        f"| seed | {record['seed']} |",
        f"| trained on | {training['sets']:,} frames (or parts of crowded ones) of "
        f"{training['exposures']:,} simulated exposures |",
        f"| best epoch | {training['best_epoch']} of {settings['train']['epochs']}, validation "
        f"loss {training['valid_loss']:.4f} (0.693 knows nothing) |",
        f"| network | width {network['width']}, {network['blocks']} blocks of {network['heads']} "
        f"heads |",
        f"| started from | {_ancestors(card['lineage'])} |",
        "",
        "P(background) holds at equal numbers of X-rays and background of each energy.",
        "",
        "## Calibration (validation exposures)",
        "",
        "| quantity | value |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in calibration.items()),
        "",
        *_thresholds(card["thresholds"]),
        *_source_method(card.get("source_method")),
        "## Training",
        "",
        "| epoch | training loss | validation loss | events alone |",
        "|---|---|---|---|",
        *(
            f"| {h['epoch']:.0f} | {h['train_loss']:.4f} | {h['valid_loss']:.4f} "
            f"| {h['valid_event']:.4f} |"
            for h in training["history"]
        ),
        "",
    ]
    return "\n".join(lines)


def _thresholds(tables: dict[str, Any]) -> list[str]:
    """Cuts at some retentions, and what they kept of X-rays that they were not made from."""
    lines = ["## Cuts on P(background), and the share of other X-rays that they kept", ""]
    for standoff, table in zip(tables["standoff"], tables["tables"], strict=True):
        lines += [f"Housing at {standoff:g} mm", "", *_table(table)]
    return lines


def _table(table: dict[str, Any]) -> list[str]:
    import numpy as np

    retention, energy, rate = (np.asarray(table[k]) for k in ("retention", "energy", "rate"))
    cut, measured = np.asarray(table["cut"]), np.asarray(table["measured"])
    lines = [
        "| retention | keV | " + " | ".join(f"{r:.2g} particles a frame" for r in rate) + " |",
        "|---|---|" + "---|" * len(rate),
    ]
    for wanted in SHOWN:
        k = int(np.argmin(np.abs(retention - wanted)))
        lines += [
            f"| {100 * retention[k]:.1f} % | {e:.2f} | "
            + " | ".join(
                f"{1 / (1 + np.exp(-cut[k, j, i])):.3f} ({100 * measured[k, j, i]:.2f} %)"
                for i in range(len(rate))
            )
            + " |"
            for j, e in enumerate(energy)
        ]
    return [*lines, ""]


def _source_method(part: dict[str, Any] | None) -> list[str]:
    if part is None:
        return []
    return [
        "## The source method on validation windows",
        "",
        "| quantity | cut | value | 95 % interval | windows |",
        "|---|---|---|---|---|",
        *(
            f"| {row['quantity']} | {row['cut']} | {_number(row['value'])} | "
            f"{_number(row['low'])} to {_number(row['high'])} | {row['windows']:,} |"
            for row in part["validation"]
        ),
        "",
    ]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _ancestors(lineage: list[dict[str, Any]]) -> str:
    if not lineage:
        return "random weights"
    return ", then ".join(f"`{a['sha256'][:12]}` ({a['date']})" for a in lineage)
