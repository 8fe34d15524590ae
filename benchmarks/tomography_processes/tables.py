"""Blocks of Markdown of the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.tables import table
from common.tomography import interval

from physml.evaluation.sealed import remark

from .summary import ALL, QUANTITIES, RIVALS

Numbers = Mapping[str, Any]
NAMES = {"maximum_likelihood": "maximum likelihood", "linear": "linear inversion"}
DESIGNS = {"pauli": "all inputs, Pauli", "adaptive": "chosen"}
#: What is asked for: error in units of that of maximum likelihood, and coverage.
RATIO, COVERAGE = 0.7, (0.87, 0.97)


def tables(numbers: Numbers) -> dict[str, str]:
    """Blocks of Markdown by name."""
    cells = numbers["cells"]
    return {
        "ledger": ledger(cells),
        "sentence": sentence(cells),
        "ratios": ratios(cells),
        "coverage": coverage(cells, "held", "the intervals"),
        "posterior": posterior(cells),
        "stretch": stretch(numbers["stretch"]),
        "times": times(cells),
    }


def ledger(cells: Any) -> str:
    """What the ledger says of each family."""
    names = dict.fromkeys(c["family"] for c in cells if c["family"] != ALL)
    return "\n".join(
        f"- `{name}`: {remark('tomography', f'processes, {name}') or 'no ledger at hand'}."
        for name in names
    )


def label(cell: Numbers) -> list[Any]:
    """First columns of a row."""
    return [
        cell["qubits"],
        DESIGNS[cell["design"]],
        f"{cell['copies']:,}",
        cell["family"].replace("_", " "),
        cell["n"],
    ]


LABELS = ["qubits", "settings", "copies", "family", "n"]


def ordered(cells: Any) -> list[Any]:
    """Cells by qubits, design and copies, all families together last."""
    return sorted(
        cells,
        key=lambda c: (
            c["qubits"],
            c["design"] == "adaptive",
            c["copies"],
            c["family"] == ALL,
            c["family"],
        ),
    )


def ratios(cells: Any) -> str:
    """Our errors in units of the rivals'."""
    rows = []
    for c in ordered(cells):
        found = [c["ratio"][r][e] for e in ("frobenius2", "infidelity") for r in RIVALS]
        texts = [f"**{interval(x)}**" if x[2] < 1 else interval(x) for x in found]
        better = interval(c["gain"]["frobenius2"]) if "gain" in c else "-"
        rows.append([*label(c), f"{c['mean']['bayes']['frobenius2']:.2g}", *texts, better])
    head = [f"{e} / {NAMES[r]}" for e in ("Frobenius", "infidelity") for r in RIVALS]
    return (
        "Sealed families of processes: mean squared Frobenius error of the posterior mean (over "
        "d^2); geometric mean of its error over that of a rival on the same counts, of the squared "
        "Frobenius error and of the infidelity of the Choi states, with 95 % intervals from "
        "resampling processes (bold: surely better); and our squared Frobenius error with chosen "
        "settings over that with all. Both rivals are projected onto processes.\n\n"
        + table([*LABELS, "error", *head, "chosen / all"], rows)
    )


def coverage(cells: Any, which: str, what: str) -> str:
    """Share of the intervals that hold the truth."""
    rows = [
        [*label(c), *(f"{interval(c[which][q], '.0%')}; {c['length'][q]:.2g}" for q in QUANTITIES)]
        for c in ordered(cells)
    ]
    return (
        f"Share of the truths inside {what} of 90 %, with 95 % intervals of Wilson; mean length "
        f"of an interval.\n\n{table([*LABELS, *QUANTITIES], rows)}"
    )


def posterior(cells: Any) -> str:
    """Worst coverage of the posterior's own intervals of fidelities, in a sentence."""
    own = [c for c in cells if c["family"] == ALL]
    parts = []
    for q in QUANTITIES[:2]:
        worst = min(own, key=lambda c: c["held_by_posterior"][q][0])
        parts.append(
            f"{interval(worst['held_by_posterior'][q], '.0%')} for the {q} ({place(worst)})"
        )
    return "The posterior's own 90 % intervals hold as few as " + " and ".join(parts) + "."


def place(cell: Numbers) -> str:
    """Qubits, settings and copies of a cell, in words."""
    n = "one qubit" if cell["qubits"] == 1 else "two qubits"
    how = "chosen settings" if cell["design"] == "adaptive" else "Pauli settings"
    return f"{n}, {how}, {cell['copies']:,} copies"


def sentence(cells: Any) -> str:
    """Errors and coverage of all families together."""
    lines = []
    for c in ordered(x for x in cells if x["family"] == ALL):
        r = c["ratio"]["maximum_likelihood"]
        shares = ", ".join(f"{q} {interval(c['held'][q], '.0%')}" for q in QUANTITIES)
        lines.append(
            f"- {place(c)} ({c['n']} processes): squared Frobenius error "
            f"{interval(r['frobenius2'])} and infidelity {interval(r['infidelity'])} times that of "
            f"maximum likelihood; 90 % intervals hold {shares}."
        )
    good = [
        COVERAGE[0] <= c["held"][q][0] <= COVERAGE[1]
        for c in cells
        if c["family"] == ALL
        for q in QUANTITIES
    ]
    lines.append(
        f"- {sum(good)} of {len(good)} shares are within {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}."
    )
    return "\n".join(lines)


def stretch(found: Numbers) -> str:
    """How the factors were chosen."""
    return "\n".join(
        f"- {'one qubit' if n == '1' else 'two qubits'}: a factor of {interval(x['factor'])} on "
        f"{x['n']} drawn processes; without it {x['held_plain']:.0%} of their intervals hold."
        for n, x in found.items()
    )


def times(cells: Any) -> str:
    """Processor time of an estimate with all that is compared."""
    parts = []
    for n in (1, 2):
        for design, k, what in (("pauli", 1, "estimates"), ("adaptive", 0, "choosing settings")):
            found = [
                c["seconds"][k]
                for c in cells
                if c["family"] == ALL and c["qubits"] == n and c["design"] == design
            ]
            if found:
                words = "one qubit" if n == 1 else "two qubits"
                parts.append(f"{sum(found) / len(found):.1f} s for {what} of {words}")
    return f"Processor time a process: {', '.join(parts)}."
