"""What the tomographer makes of measured photon pairs: a table and two figures.

    python benchmarks/tomography_real_data.py [--data FOLDER] [--out FOLDER] [--weights FILE]

Two public sets of coincidences, none of which anything here was tuned on: twin photons near Phi+ in
36 projections (means of 50 runs, rounded to whole numbers: what one run shows), and a Bell state of
the Kwiat group's examples in nine settings of 16 projections in all, accidentals not subtracted.
The same counts go through the learned estimator, maximum likelihood and the particle filter.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from physml.evaluation.figures import save_figure
from physml.io.atomic import write_text
from physml.tomography.core.operators import fidelity
from physml.tomography.core.states import named_state
from physml.tomography.data.records import Records
from physml.tomography.data.records_file import load_records
from physml.tomography.predict import TomographyPredictor
from physml.tomography.results.overview import plot_overview
from physml.tomography.results.result import TomographyResult

#: Name -> file below the folder, whether its means are to be rounded.
SETS = {
    "twin-photons": ("twin_photons_MIT/counts.csv", True),
    "bell-psi": ("kwiat_examples_MIT/bell_psi_data.txt", False),
}
ESTIMATORS = ("neural", "maximum_likelihood", "particle_filter")
BELL = ("phi+", "phi-", "psi+", "psi-")


def nearest_bell(result: TomographyResult) -> str:
    """Name of the Bell state that an estimate is most like."""
    rho = torch.from_numpy(result.density_matrix)[None]
    return max(BELL, key=lambda name: float(fidelity(rho, named_state(name, 2)[None])[0]))


def estimates(
    records: Records, predictor: TomographyPredictor
) -> tuple[str, dict[str, TomographyResult]]:
    """Bell state that the counts are most like, and what every estimator says of them."""
    first = predictor.predict(
        records, estimator="maximum_likelihood", goodness=False, history=False
    )
    target = nearest_bell(first)
    found = {
        name: predictor.predict(
            records,
            estimator=name,
            target=named_state(target, 2),
            goodness=name == "neural",
            history=name == "neural",
        )
        for name in ESTIMATORS
    }
    return target, found


def rows(name: str, target: str, found: Mapping[str, TomographyResult]) -> list[str]:
    """One row of markdown for each estimator."""
    out = []
    for estimator, result in found.items():
        cells = [name, estimator.replace("_", " ")]
        cells += [f"{f.value:.4f} ({f.low:.4f} to {f.high:.4f})" for f in result.functionals]
        cells.append(f"{result.region.infidelity:.2g}")
        out.append("| " + " | ".join(cells) + " |")
    return out


def main(argv: list[str] | None = None) -> int:
    """Print the table, write it and draw the figures."""
    root = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("PHYSML_SHARED_DATA") or root.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=shared / "quantum")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="for the figures")
    parser.add_argument("--weights", type=Path, help="default: those shipped")
    a = parser.parse_args(argv)
    torch.set_num_threads(1)
    predictor = TomographyPredictor.load(a.weights)
    lines = [
        "| counts | estimator | fidelity to the nearest Bell state | purity | concurrence "
        "| 90 % region, infidelity |",
        "|---|---|---|---|---|---|",
    ]
    a.out.mkdir(parents=True, exist_ok=True)
    tests = []
    for name, (file, rounded) in SETS.items():
        path = a.data / file
        if not path.is_file():
            print(f"{path}: no such file; left out", file=sys.stderr)
            continue
        records = load_records(path, kind="photonic", rounded=rounded)
        records = replace(records, name=name.replace("-", " "))
        target, found = estimates(records, predictor)
        lines += rows(f"{name} ({target}), {records.copies:,} pairs", target, found)
        fit = found["neural"].goodness
        assert fit is not None
        tests += [f"- {name}: goodness of fit p = {fit.p_value:.2g}", *map(str, fit.warnings)]
        save_figure(
            plot_overview(found["neural"]), a.out / f"tomography-{name}.png", overwrite=True
        )
    text = "\n".join([*lines, "", *tests]) + "\n"
    print(text)
    write_text(a.out / "tomography_real_data.md", text, overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
