"""What the tomographer makes of measured photon pairs: a table and two figures.

    python benchmarks/tomography_real_data.py [--data FOLDER] [--out FOLDER] [--weights FILE]

Two public sets of coincidences, none of which anything here was tuned on: twin photons near Phi+ in
36 projections (means of 50 runs, rounded to whole numbers: what one run shows), and a Bell state of
the Kwiat group's examples in nine settings of 16 projections in all, accidentals not subtracted.
The same counts go through the learned estimator, maximum likelihood and the particle filter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common.options import command, parse, write
from common.tables import table

from physml.datasets import shared_folder
from physml.evaluation.sealed import remark
from physml.tomography.core.operators import fidelity
from physml.tomography.core.states import named_state
from physml.tomography.data.records import Records
from physml.tomography.data.records_file import load_records
from physml.tomography.predict import TomographyPredictor
from physml.tomography.results.overview import plot_overview
from physml.tomography.results.result import TomographyResult

SCIENCES = ("tomography",)
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


def rows(found: Mapping[str, TomographyResult]) -> dict[str, Any]:
    """Functionals with their intervals and the radius, of each estimator."""
    return {
        estimator: {
            "functionals": [[round(x, 4) for x in (f.value, f.low, f.high)] for f in r.functionals],
            "radius": float(f"{r.region.infidelity:.3g}"),
        }
        for estimator, r in found.items()
    }


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    body = [
        [
            f"{name} ({part['target']}), {part['pairs']:,} pairs",
            estimator.replace("_", " "),
            *(f"{v:.4f} ({low:.4f} to {high:.4f})" for v, low, high in row["functionals"]),
            f"{row['radius']:.2g}",
        ]
        for name, part in numbers["sets"].items()
        for estimator, row in part["estimators"].items()
    ]
    head = ["counts", "estimator", "fidelity to the nearest Bell state", "purity", "concurrence"]
    sealed = "; ".join(f"{name}: {remark('tomography', name)}" for name in numbers["sets"])
    found = {
        "photons": "Real photon pairs, one experiment each: value with its 90 % interval, and "
        f"radius of the 90 % region ({sealed}).\n\n"
        + table([*head, "90 % region, infidelity"], body)
    }
    for name, part in numbers["sets"].items():
        found[f"fit_{name.replace('-', '_')}"] = f"{part['p_value']:.2g}"
    return found


def main() -> None:
    """Print the table, write it and draw the figures."""
    parser = command(
        __doc__,
        *("weights", "json"),
        data=shared_folder() / "quantum",
        out=Path("results/bench"),
    )
    a = parse(parser)
    predictor = TomographyPredictor.load(a.weights)
    sets, figures = {}, {}
    for name, (file, rounded) in SETS.items():
        path = a.data / file
        if not path.is_file():
            print(f"{path}: no such file; left out", file=sys.stderr)
            continue
        records = load_records(path, kind="photonic", rounded=rounded)
        records = replace(records, name=name.replace("-", " "))
        target, found = estimates(records, predictor)
        fit = found["neural"].goodness
        assert fit is not None
        sets[name] = {
            "target": target,
            "pairs": records.copies,
            "p_value": fit.p_value,
            "warnings": fit.warnings,
            "estimators": rows(found),
        }
        figures[f"tomography-{name}"] = plot_overview(found["neural"])
    write(a, {"sets": sets}, figures=figures, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
