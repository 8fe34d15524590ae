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
    lines = [
        f"# Weights of the tomography pipeline, {card['version']}",
        "",
        "Generated with the weights; `physml info` on them prints all of it.",
        "",
        "| | |",
        "|---|---|",
        f"| made | {record['ended']} |",
        f"| seed | {record['seed']} |",
        f"| training | {card['seconds'] / 60:.0f} minutes on one CPU thread |",
        "",
        "The networks correct the hedged maximum-likelihood estimate of an information filter in "
        "its own eigenframe, towards the mean over the training prior, and say what infidelity to "
        "expect.",
        "",
    ]
    for qubits, network in card["networks"].items():
        lines += _of_qubits(qubits, network, card["training"][qubits], card["regions"][qubits])
    for qubits, history in card.get("cell_training", {}).items():
        lines += _of_cell(qubits, card["cell"][qubits], history)
    return "\n".join(lines)


def _of_qubits(
    qubits: str, network: dict[str, Any], training: dict[str, Any], regions: dict[str, Any]
) -> list[str]:
    rounds = ", ".join(f"{n:,}" for n in training["experiments"])
    return [
        f"## {qubits} qubit{'' if qubits == '1' else 's'}",
        "",
        f"Width {network['width']}, {network['blocks']} residual blocks. Rounds of {rounds} "
        f"simulated experiments, {training['moments']:,} moments in the last; best epoch "
        f"{training['best_epoch']}, validation loss {training['valid_loss']:.4f}.",
        "",
        f"Regions calibrated with {regions['experiments']:,} experiments. Coverage of 90 % regions "
        "on those that had no part in them:",
        "",
        "| copies | coverage |",
        "|---|---|",
        *(f"| {float(n):,.0f} | {value:.3f} |" for n, value in regions["coverage"].items()),
        "",
        "| ensemble | coverage |",
        "|---|---|",
        *(f"| {name} | {value:.3f} |" for name, value in regions["families"].items()),
        "",
        "| epoch | training loss | validation loss | mean log infidelity |",
        "|---|---|---|---|",
        *(
            f"| {h['epoch']:.0f} | {h['train_loss']:.4f} | {h['valid_loss']:.4f} "
            f"| {h['valid_log_infidelity']:.4f} |"
            for h in training["history"]
        ),
        "",
    ]


def _of_cell(qubits: str, sizes: dict[str, int], history: list[dict[str, float]]) -> list[str]:
    judged = [h for h in history if "valid" in h]
    best = min(judged, key=lambda h: h["valid"])
    return [
        f"## Particle cell, {qubits} qubit{'' if qubits == '1' else 's'}",
        "",
        f"Width {sizes['width']}, {sizes['rounds']} rounds of {sizes['proposals']} moves. "
        f"{history[-1]['run']:.0f} batches of simulated experiments; kept is what it was after "
        f"{best['run']:.0f}.",
        "",
        "| batch | validation: infidelity in units of what is within reach |",
        "|---|---|",
        *(f"| {h['run']:.0f} | {h['valid']:.4f} |" for h in judged),
        "",
    ]
