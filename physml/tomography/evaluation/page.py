"""One self-contained page of HTML about the example and the evaluation."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physml.evaluation.page import embedded, whole_page

CAPTIONS = {
    "infidelity_1": "One qubit: mean infidelity against copies; grey, what physics allows.",
    "infidelity_2": "Two qubits: mean infidelity against copies; grey, what physics allows.",
    "coverage": "Share of the true states inside the region; grey band: the goal.",
    "slopes": "How fast the infidelity falls; grey band: the goal for adaptive methods.",
    "latency": "What a laboratory waits for; dashed: the goal of 1 ms.",
}
METHODS = {
    "neural": "this estimator",
    "maximum_likelihood": "maximum likelihood",
    "particle_filter": "particle filter",
    "particle_cell": "particle cell",
}


def page(summary: Mapping[str, Any], overview: Path, pictures: Mapping[str, Path]) -> str:
    """Write the page: no file or address outside it is needed.

    Parameters
    ----------
    summary : mapping
        From `report.summarise`.
    overview : Path
        Picture of the example's result.
    pictures : mapping
        Figures of the evaluation by name.
    """
    name = html.escape(str(summary["example"]))
    parts = [
        f"<h1>{name.capitalize()}</h1>",
        f'<p class="note">{html.escape("Weights: " + str(summary["weights"]))}. '
        f"{html.escape(str(summary['note']))}</p>",
    ]
    if summary["simulated"]:
        parts.append('<p class="warning">This is a simulated experiment, not a real one.</p>')
    parts.append(f"<p>{html.escape(str(summary['summary']))}. {html.escape(_truth(summary))}</p>")
    parts += [f'<p class="warning">{html.escape(str(w))}</p>' for w in summary["warnings"]]
    parts += [
        embedded(overview, "Density matrix, Bloch spheres, numbers, region against copies, fit"),
        "<h2>The same counts, other estimators</h2>",
        _example_table(summary),
        '<p class="note">Density matrix: density_matrix.csv. Counts: records.h5.</p>',
        "<h2>On frozen lists of states, with the weights trained in this run</h2>",
        _lists(summary),
        f"<p>{html.escape(_latency(summary['latency']))}</p>",
    ]
    for key, path in pictures.items():
        caption = html.escape(CAPTIONS.get(key, key))
        parts.append(f'<div>{embedded(path, caption)}<p class="note">{caption}</p></div>')
    body = "\n".join(parts)
    return whole_page(f"{summary['example']}: quantum state tomography", body)


def _truth(summary: Mapping[str, Any]) -> str:
    truth = summary["truth"]
    if truth is None:
        return ""
    where = "inside" if truth["inside"] else "outside"
    return (
        f"The true state is at an infidelity of {truth['infidelity']:.2g} of the estimate, {where} "
        f"the {summary['level']:.0%} region; its purity is {truth['purity']:.4f}, its concurrence "
        f"{truth['concurrence']:.4f}."
    )


def _example_table(summary: Mapping[str, Any]) -> str:
    names = [key for key in next(iter(summary["methods"].values())) if key != "radius"]
    rows = []
    for method, found in summary["methods"].items():
        cells = [html.escape(METHODS.get(method, method))]
        for key in names:
            x = found[key]
            cells.append(f"{x['value']:.4f} ({x['low']:.4f} to {x['high']:.4f})")
        rows.append([*cells, f"{found['radius']:.2g}"])
    head = ["", *map(html.escape, names), f"{summary['level']:.0%} region, infidelity"]
    return _table(head, rows)


def _lists(summary: Mapping[str, Any]) -> str:
    """Mean infidelity, one row for each method on each list."""
    copies = summary["copies"]
    rows = []
    for place, methods in summary["evaluation"].items():
        for method, values in methods.items():
            covered = summary["coverage"][place].get(method)
            cells = [html.escape(f"{place}: {method}"), *(f"{v:.2g}" for v in values)]
            cells += [
                "&ndash;" if covered is None else " / ".join(f"{100 * c:.0f}" for c in covered)
            ]
            rows.append(cells)
    head = [
        "mean infidelity after so many copies",
        *(f"{n:,}" for n in copies),
        "inside the region [%]",
    ]
    return _table(head, rows)


def _latency(found: Mapping[str, Any]) -> str:
    ours, batch = found["neural"], found["neural_batch"]
    return (
        f"An update takes {ours['update']['median']:.2g} ms of one thread, the choice of the next "
        f"basis {ours['choose']['median']:.2g} ms, an estimate {ours['estimate']['median']:.2g} "
        f"ms; in a batch of {found['batch']} an update takes "
        f"{1e3 * batch['update']['median']:.2g} us. The particle filter of 300 takes "
        f"{found['ratio']:.0f} times as long for its updates and estimates."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
