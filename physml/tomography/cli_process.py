"""`physml tomography process | shadows`: from counts to a process, and to observables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physml.cli.messages import adjust_logging
from physml.cli.options import Overwrite, Quiet, Verbose, limit_threads, need, need_place

if TYPE_CHECKING:
    from .results.process.result import ProcessResult

PROCESS_EPILOG = """
Examples: a process; with a target and all files; what to measure next with 5000 copies:

  physml tomography process counts.csv

  physml tomography process counts.csv --target cx -o out

  physml tomography process counts.csv --next 5000

The file is CSV with the columns input (0, 1, +, -, +i, -i of each qubit, such as 0+), axes (such as
XZ) and one for each outcome, or JSON; qubit 0 comes first.
"""
Level = Annotated[float, typer.Option(help="Probability content of the intervals.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def process(
    ctx: typer.Context,
    records: Annotated[Path, typer.Argument(help="Counts by input and setting: CSV or JSON.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the result, written as a whole."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Gate that was meant: cx, cz, swap, iswap, h, s, t, x, ..., or i, ii."),
    ] = None,
    estimator: Annotated[
        str, typer.Option(help="Estimate: bayes, maximum_likelihood or linear.")
    ] = "bayes",
    readout: Annotated[
        str | None,
        typer.Option(help="Readout errors, as of predict: a probability, or a JSON file."),
    ] = None,
    level: Level = 0.9,
    following: Annotated[
        int | None,
        typer.Option("--next", min=1, help="Print what to measure next with that many copies."),
    ] = None,
    settings: Annotated[
        int, typer.Option(min=1, help="Inputs and settings that --next may choose.")
    ] = 24,
    as_json: Json = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the goodness of fit.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Estimate a process of one or two qubits, with errors and a test whether the counts fit.

    Writes estimate.json, choi.csv, pauli_transfer.csv and overview.png.
    """
    import json

    from physml import provenance

    adjust_logging(ctx, verbose, quiet)
    if output is not None:
        need_place(output, overwrite)
    need(records, False, "a file of process tomography")
    limit_threads(threads)
    with provenance.run():
        from .cli_inputs import read_readout
        from .data.process_file import load_process_records
        from .results.process.estimate import estimate_process

        data = load_process_records(records)
        given = read_readout(readout, data.n_qubits)
        if following is not None:
            from .inference.process.tomographer import ProcessTomographer

            tomographer = ProcessTomographer.from_records(data, seed)
            tomographer.readout = given or data.readout
            chosen = tomographer.next_measurements(following, settings)
            rows = [{"input": c.input, "axes": c.axes, "shots": shots} for c, shots in chosen]
            typer.echo(json.dumps(rows, indent=2))
            return
        result = estimate_process(
            data,
            target=target,
            estimator=estimator,
            readout=given,
            level=level,
            seed=seed,
            goodness=not quick,
        )
        if output is not None:
            own = {"records": records, "target": target, "readout": readout}
            result.write(output, overwrite=overwrite, settings=own)
    show_process(result, output, as_json)


def _qubits(n: int) -> str:
    return f"{n} qubit" + "s" * (n != 1)


def show_process(result: ProcessResult, folder: Path | None, as_json: bool) -> None:
    """Print a process in short."""
    import json

    from physml.provenance import jsonable

    if as_json:
        typer.echo(json.dumps(jsonable(result.to_dict()), indent=2))
        return
    typer.echo(
        f"{result.name}: process of {_qubits(result.records.n_qubits)}, {result.records.copies} "
        f"copies in {len(result.records.measurements)} inputs and settings, {result.estimator}"
    )
    typer.echo(f"{'':24}{'estimate':>10}{'low':>10}{'high':>10}")
    for each in result.intervals:
        typer.echo(f"{each.name:24}{each.value:10.5f}{each.low:10.5f}{each.high:10.5f}")
    if result.fit is not None and result.fit.p_value is not None:
        typer.echo(f"Goodness of fit: p = {result.fit.p_value:.2g}")
    for text in result.warnings:
        typer.echo(f"Note: {text}")
    if folder is not None:
        typer.echo(f"Written to {folder}")


SHADOWS_EPILOG = """
Examples: observables of five qubits; fidelity and purity; bases drawn at random:

  physml tomography shadows counts.csv --observable ZZIII,XXIII

  physml tomography shadows counts.csv --fidelity ghz --purity 0,1

  physml tomography shadows shots.json --observable ZZIII --method median_of_means

The file is CSV with the columns axes (XZZYX), outcome (01101) and, unless a row is a shot, counts;
or JSON; qubit 0 comes first.
"""


def shadows(
    ctx: typer.Context,
    records: Annotated[Path, typer.Argument(help="Shots or counts by product basis: CSV, JSON.")],
    observable: Annotated[
        str | None, typer.Option(help="Pauli observables, separated by commas: ZZIII,XXIII.")
    ] = None,
    fidelity: Annotated[
        str | None,
        typer.Option(
            help="Fidelity to ghz, cluster, a product such as 0+1, or stabilisers: XX,ZZ."
        ),
    ] = None,
    purity: Annotated[
        list[str] | None, typer.Option(help="Purity of qubits, such as 0,1; repeat for more.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="compatible (any Pauli bases), or median_of_means (drawn bases).")
    ] = "compatible",
    level: Level = 0.9,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Estimate observables, fidelities and purities of many qubits without a density matrix."""
    import json
    from dataclasses import asdict

    from physml.exceptions import InputError

    adjust_logging(ctx, verbose, quiet)
    need(records, False, "a file of shots")
    if not (observable or fidelity or purity):
        raise InputError.expected("shadows", "--observable, --fidelity or --purity", "none")
    from .data.shadow_records import load_shadow_records
    from .inference.shadows import collective
    from .inference.shadows.observables import observables

    data = load_shadow_records(records)
    found = []
    if observable:
        names = [name for name in observable.split(",") if name.strip()]
        found += observables(data, names, level, method)
    if fidelity:
        target = fidelity.split(",") if "," in fidelity else fidelity
        found.append(collective.fidelity(data, target, level))
    for text in purity or []:
        try:
            qubits = [int(q) for q in text.split(",")]
        except ValueError as error:
            raise InputError.expected(
                "purity", "numbers of qubits, 0,1", repr(text)[:40]
            ) from error
        found.append(collective.purity(data, qubits, level))
    if as_json:
        body = {"estimates": [asdict(each) for each in found], "warnings": data.remarks}
        typer.echo(json.dumps(body, indent=2))
        return
    typer.echo(f"{data.name}: {_qubits(data.n_qubits)}, {data.copies} shots")
    typer.echo(f"{'':24}{'estimate':>10}{'low':>10}{'high':>10}{'shots':>10}")
    for each in found:
        numbers = f"{each.value:10.4f}{each.low:10.4f}{each.high:10.4f}{each.copies:10d}"
        typer.echo(f"{each.name:24}{numbers}  {each.method}")
    for text in data.remarks:
        typer.echo(f"Note: {text}")
