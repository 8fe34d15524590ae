"""The card of trained weights: what they are, how they were made, how good they seemed."""

from __future__ import annotations

from typing import Any


def describe(card: dict[str, Any]) -> str:
    """Weights' metadata as a page of Markdown.

    Parameters
    ----------
    card : dict
        Metadata of a weights file of this pipeline.
    """
    record = card["provenance"]
    settings = record["settings"]
    train, simulate = settings["train"], settings["simulate"]
    calibration, alarm = card["calibration"], card["thresholds"]
    lines = [
        f"# Weights of the cavities pipeline, {card['version']}",
        "",
        "Generated with the weights; `physml info` on them prints all of it.",
        "",
        "| | |",
        "|---|---|",
        f"| made | {record['ended']} |",
        f"| seed | {record['seed']} |",
        f"| simulated images | {simulate['n_samples']:,} of {simulate['image_size']} pixels |",
        f"| U-Net | {card['training']['images']:,} images, best epoch "
        f"{card['training']['unet']['best_epoch']} of {train['epochs']}, validation loss "
        f"{card['training']['unet']['valid_loss']:.4f} |",
        f"| decoder | {card['training']['decoder_images']:,} other images, best epoch "
        f"{card['training']['decoder']['best_epoch']} of {train['decoder']['epochs']}, validation "
        f"loss {card['training']['decoder']['valid_loss']:.4f} |",
        f"| widths | {card['network']['widths']}, decoder {card['network']['decoder_widths']} |",
        f"| started from | {_ancestors(card['lineage'])} |",
        "",
        "## Calibration (validation data)",
        "",
        "| quantity | value |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in calibration.items()),
        "",
        f"## Thresholds (false alarm in {100 * train['false_alarm']:.0f} % of cavity-less images)",
        "",
        "| counts of the field | probability |",
        "|---|---|",
        *(
            f"| {10**x:,.0f} | {p:.3f} |"
            for x, p in zip(alarm["log10_counts"], alarm["probability"], strict=True)
        ),
        "",
        "## U-Net's training",
        "",
        "| epoch | training loss | validation loss |",
        "|---|---|---|",
        *(
            f"| {h['epoch']:.0f} | {h['train_loss']:.4f} | {h['valid_loss']:.4f} |"
            for h in card["training"]["history"]
        ),
        "",
    ]
    return "\n".join(lines)


def _ancestors(lineage: list[dict[str, Any]]) -> str:
    if not lineage:
        return "random weights"
    return ", then ".join(f"`{a['sha256'][:12]}` ({a['date']})" for a in lineage)
