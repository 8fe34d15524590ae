"""`physml tomography run | next | predict | benchmark`: from a laboratory's counts to a state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from physml.cli.messages import adjust_logging
from physml.cli.options import Overwrite, Quiet, Verbose, limit_threads, need, need_place

from .cli_process import PROCESS_EPILOG, SHADOWS_EPILOG, process, shadows

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .results.result import TomographyResult

app = typer.Typer(no_args_is_help=True)

Qubits = Annotated[
    int | None,
    typer.Option("--qubits", "-n", min=1, help="Number of qubits of a new session; by default 2."),
]
DesignName = Annotated[
    str | None,
    typer.Option(
        help="Design of a new session: global (default), product or pauli_adaptive, which adapt; "
        "pauli, mub, sic, pairwise; or a JSON file with a list of settings."
    ),
]
EstimatorName = Annotated[
    str | None,
    typer.Option(
        help="Estimator of the state: neural (default), particle_filter, maximum_likelihood, "
        "two_stage, linear or particle_cell."
    ),
]
ReadoutFile = Annotated[
    str | None,
    typer.Option(
        "--readout",
        help="Readout errors: a probability to misread a qubit, or a JSON file with 'confusion' "
        "(P(read | true), n x 2 x 2 or 2^n x 2^n) or 'calibration' (counts, a row for each "
        "prepared state), of qiskit or of mthree.",
    ),
]
ReadoutOrder = Annotated[
    str | None,
    typer.Option(
        help="Bits of the readout errors: first (qubit 0 is the first bit) or qiskit (it is the "
        "last); by default what their file says."
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(min=1, help="Shots of a setting; by default a tenth of the copies so far."),
]
Threads = Annotated[
    int, typer.Option("--threads", min=1, help="CPU threads; more make small matrices slower.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of a new session; by default 0.")]
Answers = Annotated[
    list[Path] | None,
    typer.Option(
        "--add",
        help='File of counts to record first: JSON {"id": ..., "counts": [...]}, or a list.',
    ),
]

RUN_EPILOG = """
Examples, of which each carries on when it is called again after a kill:

  physml tomography run bell.jsonl --simulate phi+ --design product --copies 2000

  physml tomography run pair.jsonl --connect 127.0.0.1:7001 --copies 20000

  physml tomography run ghz.jsonl --folder exchange --infidelity 0.005

Exit codes: 0 enough is known; 3 no state gives such data, or it drifted, and no
error is given; 75 no laboratory or no answer in time: run it again.
"""
NEXT_EPILOG = """
Examples: begin; then hand in the counts of a setting and get the next one:

  physml tomography next hand.jsonl --qubits 2 --shots 200 > setting.json

  physml tomography next hand.jsonl --add counts.json > setting.json

Ten settings planned together, with angles and circuits in one file; later the
counts of all of them, as a list:

  physml tomography next lab.jsonl --design product --settings 10 --copies 5000
  --batch batch.json

  physml tomography next lab.jsonl --add counts.json
"""
PREDICT_EPILOG = """
Examples: a session; a spreadsheet; qiskit's counts; means of 50 runs:

  physml tomography predict bell.jsonl --target phi+ -o out

  physml tomography predict counts.csv --estimator maximum_likelihood

  physml tomography predict counts.json --readout 0.02

  physml tomography predict table.csv --kind photonic --repeats 50 --window 5
"""
BENCHMARK_EPILOG = """
Examples:

  physml tomography benchmark

  physml tomography benchmark --ensemble pure --design product --states 40

  physml tomography benchmark --estimators neural,particle_filter
"""


@app.callback()
def _commands() -> None:
    """Find out the state of qubits from as few copies as possible."""


@app.command(epilog=RUN_EPILOG)
def run(
    ctx: typer.Context,
    session: Annotated[Path, typer.Argument(help="Session file; made where it is missing.")],
    simulate: Annotated[
        str | None,
        typer.Option(help="State of a simulated laboratory: phi+, psi-, ghz, w, 0, +, ..."),
    ] = None,
    noise: Annotated[
        float, typer.Option(help="Share of white noise in the simulated state.", min=0, max=1)
    ] = 0.0,
    connect: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Address where a laboratory listens.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder in which a laboratory reads and writes files.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Longest wait for counts, s; after it exit code 75.")
    ] = 3600.0,
    patience: Annotated[
        float,
        typer.Option(
            min=0, help="Longest wait for a laboratory that cannot be connected to, s; then 75."
        ),
    ] = 10.0,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit/--no-fit",
            help="Test in the loop whether a state gives such data; else end with exit code 3. "
            "Without, the test is made at the end only.",
        ),
    ] = True,
    copies: Annotated[
        int | None, typer.Option(min=1, help="Copies in all after which to stop.")
    ] = None,
    infidelity: Annotated[
        float | None, typer.Option(help="Infidelity to which the state has to be known to stop.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Confidence with which it has to be known.")
    ] = 0.9,
    shots: Shots = None,
    n_qubits: Qubits = None,
    design: DesignName = None,
    estimator: EstimatorName = None,
    readout: ReadoutFile = None,
    readout_order: ReadoutOrder = None,
    seed: Seed = None,
    threads: Threads = 1,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Steer a laboratory until enough is known; everything is in the session file at once."""
    adjust_logging(ctx, verbose, quiet)
    _need_files(design, readout)
    from .cli_inputs import open_session, reach_laboratory
    from .inference.fit.checked import Misfit
    from .inference.steering import Stop, expect_fit, steer

    limit_threads(threads)
    stop = Stop(copies=copies, infidelity=infidelity, confidence=confidence)
    given = {"n_qubits": n_qubits, "design": design, "estimator": estimator, "seed": seed}
    with open_session(session, given, readout, readout_order) as tomographer:
        waits = timeout, patience
        laboratory = reach_laboratory(tomographer, simulate, noise, connect, folder, waits)
        try:
            why = steer(tomographer, laboratory, stop, shots, check_fit=fit)
            if not fit:
                expect_fit(tomographer)
        except Misfit as error:
            raise type(error)(f"{session}: {error}", error.fit) from error
        region = tomographer.credible_region(confidence)
        typer.echo(
            f"{session}: {tomographer.copies} copies in {tomographer.measured} measurements; "
            f"stopped at {why}; infidelity below {region.infidelity:.2g} at {confidence:.0%}"
        )


@app.command("next", epilog=NEXT_EPILOG)
def next_(
    ctx: typer.Context,
    session: Annotated[Path, typer.Argument(help="Session file; made where it is missing.")],
    shots: Shots = None,
    add: Answers = None,
    new: Annotated[
        bool, typer.Option("--new", help="Ask for a new setting even if one waits for its counts.")
    ] = False,
    settings: Annotated[
        int | None,
        typer.Option(min=1, help="Plan so many settings together; needs the copies for all."),
    ] = None,
    copies: Annotated[
        int | None, typer.Option(min=1, help="Copies for all settings of a plan together.")
    ] = None,
    setting_cost: Annotated[
        float,
        typer.Option(min=0, help="Copies that a change of the setting costs: then fewer settings."),
    ] = 0.0,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="File for the settings, new: .json (angles, OpenQASM, unitaries) or .csv (angles)."
        ),
    ] = None,
    n_qubits: Qubits = None,
    design: DesignName = None,
    estimator: EstimatorName = None,
    readout: ReadoutFile = None,
    readout_order: ReadoutOrder = None,
    seed: Seed = None,
    threads: Threads = 1,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Print what to measure next, as JSON; a setting that waits for its counts is given again."""
    import json

    adjust_logging(ctx, verbose, quiet)
    _need_files(design, readout, *(add or []))
    from .cli_inputs import add_answers, check_plan, give_batch, open_session, read_answers

    limit_threads(threads)
    answers = [answer for path in add or [] for answer in read_answers(path)]
    given = {"n_qubits": n_qubits, "design": design, "estimator": estimator, "seed": seed}
    planned = check_plan(settings, copies, shots, batch)
    with open_session(session, given, readout, readout_order) as tomographer:
        add_answers(tomographer, answers)
        if planned is not None:
            asked = tomographer.next_measurements(*planned, setting_cost)
            typer.echo(give_batch(asked, batch))
            return
        waiting = [] if new else tomographer.pending
        if not waiting:
            setting = tomographer.next_measurement(shots)
        elif shots is None:
            setting = waiting[0]
        else:
            setting = tomographer.change_shots(waiting[0], shots)
        typer.echo(json.dumps(setting.to_dict()))


@app.command(epilog=PREDICT_EPILOG)
def predict(
    ctx: typer.Context,
    records: Annotated[
        Path,
        typer.Argument(
            help="File of counts: JSON, CSV, HDF5, a session, of qiskit or pyGSTi, or coincidences."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the result, written as a whole."),
    ] = None,
    estimator: EstimatorName = None,
    level: Annotated[
        float, typer.Option(help="Credibility of the region and of the intervals.")
    ] = 0.9,
    target: Annotated[
        str | None,
        typer.Option(
            help="State to which the fidelity is given: phi+, ghz, ..., or a file: JSON, CSV, "
            ".npy, HDF5, or a folder that this command wrote."
        ),
    ] = None,
    readout: ReadoutFile = None,
    readout_order: ReadoutOrder = None,
    kind: Annotated[
        str, typer.Option(help="Kind of the file: auto, records, qiskit, photonic or pygsti.")
    ] = "auto",
    measured: Annotated[
        str | None,
        typer.Option(
            help="Bits of an outcome that belong to the qubits, such as 0,1, where there are more "
            "bits; else the qubits to keep. Of qiskit's, 0 is the last one."
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Runs of which the counts of a coincidence table are means.")
    ] = 1,
    rounded: Annotated[
        bool, typer.Option("--rounded", help="Round the means of a coincidence table.")
    ] = False,
    window: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Coincidence window, ns: with the singles of a table it gives its accidentals.",
        ),
    ] = None,
    accidental_rate: Annotated[
        float | None,
        typer.Option(min=0, help="Accidental coincidences a second in each count of a table."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out goodness of fit and history.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Weights (safetensors); the shipped ones by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    threads: Threads = 1,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Estimate the state of a file of counts, with its region and a test whether they fit.

    Writes estimate.json, density_matrix.csv, records.h5 and overview.png.
    """
    from physml import provenance

    adjust_logging(ctx, verbose, quiet)
    if output is not None:  # before any work: is there a place for the result?
        need_place(output, overwrite)
    need(records, False, "a file of measurements")
    _need_files(weights, target, readout)
    with provenance.run():
        from .cli_inputs import estimator_of, read_places, read_readout, read_target
        from .data.records_file import load_records
        from .predict import TomographyPredictor

        limit_threads(threads)
        data = load_records(
            records,
            kind,
            repeats,
            rounded,
            window=window,
            accidental_rate=accidental_rate,
            measured=read_places(measured),
        )
        predictor = TomographyPredictor.load(weights)
        arguments: dict[str, Any] = {
            "estimator": estimator or estimator_of(records),
            "level": level,
            "seed": seed,
        }
        result = predictor.predict(
            data,
            target=read_target(target, data.n_qubits, data.remarks),
            readout=read_readout(readout, data.n_qubits, readout_order),
            goodness=not quick,
            history=not quick,
            **arguments,
        )
        if output is not None:
            settings = {**arguments, "records": records, "weights": weights, "target": target}
            result.write(output, overwrite=overwrite, settings=settings)
    show(result, output, as_json)


#: Name of `predict` up to version 0.1.
app.command("estimate", hidden=True, epilog=PREDICT_EPILOG)(predict)
app.command(epilog=PROCESS_EPILOG)(process)
app.command(epilog=SHADOWS_EPILOG)(shadows)


@app.command(epilog=BENCHMARK_EPILOG)
def benchmark(
    ctx: typer.Context,
    ensemble: Annotated[
        str, typer.Option(help="Ensemble of the states: hs, pure, pure_white_5, bures, ghz, ...")
    ] = "hs",
    n_qubits: Annotated[int, typer.Option("--qubits", "-n", min=1, help="Number of qubits.")] = 2,
    design: Annotated[
        str, typer.Option(help="Design: global, product, pauli, mub, sic or pairwise.")
    ] = "global",
    copies: Annotated[int, typer.Option(min=1, help="Copies of each state.")] = 10_000,
    states: Annotated[int, typer.Option(min=1, max=160, help="States of the frozen list.")] = 20,
    estimators: Annotated[
        str, typer.Option(help="Estimators, separated by commas.")
    ] = "neural,particle_filter,maximum_likelihood,linear",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the counts.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    threads: Threads = 1,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Compare estimators on the same simulated states: infidelity against copies, and time."""
    adjust_logging(ctx, verbose, quiet)
    from .evaluation.methods import compare_estimators

    limit_threads(threads)
    names = [name.strip() for name in estimators.split(",") if name.strip()]
    rows = compare_estimators(names, ensemble, n_qubits, design, copies, states, seed)
    show_comparison(rows, f"{ensemble}, {n_qubits} qubits, {design}, {states} states", as_json)


def _need_files(*given: str | Path | None) -> None:
    """Refuse files that are not there, before torch is imported; names and numbers are no files."""
    for value in given:
        if isinstance(value, Path) or (value is not None and value.endswith(".json")):
            need(Path(value), False, "a file")


def show_comparison(rows: Sequence[dict[str, Any]], title: str, as_json: bool) -> None:
    """Print what `compare` found."""
    import json

    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    view = _table("estimator", "copies", "mean", "median", "95 %", "ms an update")
    view.title, view.title_justify = f"Infidelity: {title}", "left"
    for row in rows:
        numbers = [f"{row[name]:.2e}" for name in ("mean", "median", "p95")]
        view.add_row(row["estimator"], str(row["copies"]), *numbers, f"{row['ms']:.3f}")
    _console(160).print(view, soft_wrap=False)


def show(result: TomographyResult, folder: Path | None, as_json: bool) -> None:
    """Print a result in short.

    Parameters
    ----------
    result : TomographyResult
    folder : Path, optional
        Where it was written.
    as_json : bool
    """
    import json

    from physml.provenance import jsonable

    if as_json:
        typer.echo(json.dumps(jsonable(result.to_dict()), indent=2))
        return
    console = _console(200)
    region = result.region
    console.print(
        f"{result.name}: {result.records.n_qubits} qubits, {result.records.copies} copies in "
        f"{len(result.records.measurements)} measurements, {result.estimator}"
    )
    misfit = [] if result.goodness is None else result.goodness.warnings
    for text in misfit:
        console.print(f"Warning: {text}")
    columns = ("low", "high") if result.fits else ("low (without misfit)", "high (without misfit)")
    view = _table("", "estimate", *columns)
    for interval in [*result.functionals, *result.eigenvalues]:
        numbers = (interval.value, interval.low, interval.high)
        view.add_row(interval.name, *(f"{x:.4f}" for x in numbers))
    console.print(view, soft_wrap=False)
    if result.fits:
        console.print(
            f"The true state lies within an infidelity of {region.infidelity:.2g} (at "
            f"{region.level:.0%})"
        )
    else:
        console.print("No error is given: the intervals above do not include the misfit")
    for text in result.warnings[len(misfit) :]:
        console.print(f"Note: {text}")
    if folder is not None:
        console.print(f"Written to {folder}")


def _table(first: str, *others: str) -> Table:
    """Table with these columns, of which the first is aligned to the left."""
    from rich.table import Table

    view = Table(box=None)
    view.add_column(first, no_wrap=True)
    for name in others:
        view.add_column(name, justify="right", no_wrap=True)
    return view


def _console(width: int) -> Console:
    """Console for results; in a pipe there is no terminal whose width would have to be kept."""
    import sys

    from rich.console import Console

    wide = None if sys.stdout.isatty() else width
    return Console(width=wide, highlight=False, markup=False, soft_wrap=True)
