"""What real readout and real photons do to an estimate: tables and a figure of docs/science.

    python benchmarks/tomography_detectors [--data FOLDER] [--out FOLDER] [--publish]

Simulated: readout errors of two qubits that fall together, calibrations of few shots, accidental
coincidences; each as it is ignored and as it is part of the model. Real: a Bell state of the Kwiat
group's examples, with models of its detectors. All estimates are of maximum likelihood, so that no
weights have a say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from common.options import command, parse, write
from common.tables import table
from matplotlib.figure import Figure

from physml.datasets import shared_folder
from physml.evaluation.figures import COLOURS, style
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.calibration import product_of
from physml.tomography.core.measurements import from_effects, pauli_settings
from physml.tomography.core.operators import fidelity
from physml.tomography.core.readout import Readout, estimate_confusion, flips
from physml.tomography.data.photonic import read_coincidences
from physml.tomography.data.photonic.accidentals import expected_accidentals
from physml.tomography.data.photonic.tables import read_table
from physml.tomography.data.records import Measurement, Records
from physml.tomography.inference.carried import readout_shifts
from physml.tomography.inference.tomographer import Tomographer

from .photon_models import MODELS, Counts, fit

SCIENCES = ()
BELL = states.named_state("phi+", 2).reshape(4, 4)
RHO = states.with_white_noise(BELL, 0.02).reshape(4, 4)
TRUE = float(fidelity(RHO[None], BELL[None])[0])
#: Chances that both qubits fall from 11 to 00 at once.
TOGETHER = (0.0, 0.02, 0.05, 0.1)
CALIBRATIONS = (100, 200, 1000, 10_000)
#: Accidental coincidences as a share of all.
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
SHOTS = 10_000
REAL = "kwiat_examples_MIT/bell_psi_data.txt"


def measured(readout: Readout, shots: int, rng: np.random.Generator) -> list[Measurement]:
    """Counts of all Pauli settings."""
    out = []
    for setting in pauli_settings(2, shots):
        p = np.einsum("kij,ji->k", readout.apply(setting).effects, RHO.numpy()).real.clip(0)
        out.append(Measurement(replace(setting, shots=shots), rng.multinomial(shots, p / p.sum())))
    return out


def calibrated(readout: Readout, shots: int, rng: np.random.Generator) -> np.ndarray:
    """Calibration counts, prepared in rows."""
    return np.stack([rng.multinomial(shots, column) for column in readout.matrix.T])


def found(measurements: list[Measurement], readout: Readout | None = None) -> np.ndarray:
    """Estimate of maximum likelihood."""
    records = Records(2, measurements, readout)
    return Tomographer.from_records(records, estimator="maximum_likelihood").density_matrix


def of(rho: np.ndarray) -> float:
    """Fidelity to the Bell state."""
    return float(fidelity(torch.from_numpy(rho)[None], BELL[None])[0])


def spread(values: list[float], against: float) -> list[float]:
    """Mean error and standard deviation."""
    return [round(float(np.mean(values)) - against, 5), round(float(np.std(values)), 5)]


def correlated(repeats: int) -> list[dict[str, Any]]:
    """Errors of the fidelity where both qubits fall at once, by how the readout is described."""
    rows = []
    for k, chance in enumerate(TOGETHER):
        joint = product_of(flips([0.02, 0.02], [0.03, 0.03]))
        joint[:, 3] *= 1 - chance
        joint[0, 3] += chance
        laboratory, got = Readout(joint), {"ignored": [], "by qubit": [], "joint": []}
        for i in range(repeats):
            rng = stream(61, "test", 1000 * k + i)
            data, counts = measured(laboratory, SHOTS, rng), calibrated(laboratory, 20_000, rng)
            for name, readout in (
                ("ignored", None),
                ("by qubit", estimate_confusion(counts, joint=False)),
                ("joint", estimate_confusion(counts, joint=True)),
            ):
                got[name].append(of(found(data, readout)))
        rows.append({"chance": chance} | {name: spread(v, TRUE) for name, v in got.items()})
    return rows


def calibrations(repeats: int) -> list[dict[str, Any]]:
    """Scatter of the fidelity by the shots of the calibration, and what the refits say of it."""
    laboratory, rows = Readout(flips([0.05, 0.08], [0.08, 0.12])), []
    for k, shots in enumerate(CALIBRATIONS):
        errors, told = [], []
        for i in range(repeats):
            rng = stream(62, "test", 1000 * k + i)
            data = measured(laboratory, SHOTS, rng)
            given = estimate_confusion(calibrated(laboratory, shots, rng), joint=False)
            errors.append(of(found(data, given)))
            moved = readout_shifts(data, given, rng)
            told.append(float(torch.einsum("ij,bji->b", BELL, moved).real.square().mean()))
        rows.append(
            {
                "shots": shots,
                "error": spread(errors, TRUE),
                "told": round(float(np.mean(told)) ** 0.5, 5),
            }
        )
    return rows


def accidentals(repeats: int) -> list[dict[str, Any]]:
    """Errors of the fidelity by the share of accidental coincidences."""
    rows = []
    for k, share in enumerate(SHARES):
        got: dict[str, list[float]] = {"ignored": [], "in the model": []}
        for i in range(repeats):
            rng = stream(63, "test", 1000 * k + i)
            plain, right = [], []
            for setting in pauli_settings(2, 2500):
                p = np.einsum("kij,ji->k", setting.effects, RHO.numpy()).real.clip(0)
                mean = 2500 * ((1 - share) * p + share / 4)
                counts = rng.poisson(mean)
                w = 2500 * share / counts.sum()
                noisy = (1 - w) * setting.effects + w / 4 * np.eye(4)
                plain.append(Measurement(replace(setting, shots=int(counts.sum())), counts))
                name, total = setting.id, int(counts.sum())
                right.append(Measurement(from_effects(noisy, total, name), counts))
            got["ignored"].append(of(found(plain)))
            got["in the model"].append(of(found(right)))
        rows.append({"share": share} | {name: spread(v, TRUE) for name, v in got.items()})
    return rows


def real(path: Path) -> dict[str, Any]:
    """Models of the detectors of the Bell state's coincidences."""
    found_ = read_coincidences(path).measurements
    effects = np.stack([s.effects for s, _ in found_])
    counts = np.stack([c for _, c in found_]).astype(float)
    rows = read_table(path.read_text(encoding="utf-8"), path)
    data = Counts(effects, counts, np.stack(expected_accidentals(rows, window=1.0)))
    return {name: fit(data, name) for name in MODELS}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""

    def cell(value: list[float]) -> str:
        return f"{value[0]:+.4f} ± {value[1]:.4f}"

    what = (
        "Error of the fidelity to Phi+, mean and standard deviation of "
        f"{numbers['repeats']} experiments"
    )
    blocks = {
        "correlated": f"{what}; {SHOTS:,} copies of each of nine settings, 20,000 calibration "
        "shots a state.\n\n"
        + table(
            ["both fall at once", "readout ignored", "errors of each qubit", "one 4 x 4 matrix"],
            [
                [f"{r['chance']:.0%}", cell(r["ignored"]), cell(r["by qubit"]), cell(r["joint"])]
                for r in numbers["correlated"]
            ],
        ),
        "calibration": f"{what}; {SHOTS:,} copies of each of nine settings, readout errors of "
        "5-12 %.\n\n"
        + table(
            ["calibration shots a state", "error of the fidelity", "told by the refits"],
            [
                [f"{r['shots']:,}", cell(r["error"]), f"{r['told']:.4f}"]
                for r in numbers["calibration"]
            ],
        ),
        "accidentals": f"{what}; 2,500 coincidences of each of nine settings.\n\n"
        + table(
            ["accidental share", "ignored", "in the model"],
            [
                [f"{r['share']:.0%}", cell(r["ignored"]), cell(r["in the model"])]
                for r in numbers["accidentals"]
            ],
        ),
    }
    if numbers.get("real"):
        words = {
            "state": "a state",
            "accidentals": "a state, accidentals of a window",
            "efficiencies": "a state, two efficiencies",
            "any matrix": "any matrix of trace 1",
            "any matrix, efficiencies": "any matrix, two efficiencies",
        }
        rows = [
            [
                words[name],
                ", ".join(f"{v:.3g}" for v in r["parameters"]) or "-",
                f"{r['deviance']:.1f} / {r['freedom']}",
                f"{r['p']:.1g}",
                f"{r['purity']:.3f}",
                f"{r['smallest']:+.3f}",
            ]
            for name, r in numbers["real"].items()
        ]
        head = ["model", "parameters", "deviance / degrees of freedom", "p", "purity"]
        blocks["real"] = (
            "Bell-psi, 59,843 pairs. Parameters: the window in ns; ratios of the efficiencies of "
            f"both detectors of each photon.\n\n{table([*head, 'smallest eigenvalue'], rows)}"
        )
    return blocks


def draw(numbers: Mapping[str, Any]) -> Figure:
    """Three panels of simulated errors, one of real deviances."""
    with style():
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
        for ax, key, x, names, title in (
            (axes[0], "correlated", "chance", ("ignored", "by qubit", "joint"), "both qubits fall"),
            (axes[2], "accidentals", "share", ("ignored", "in the model"), "accidental share"),
        ):
            for name, colour in zip(names, ("vermilion", "orange", "blue"), strict=False):
                rows = numbers[key]
                ax.errorbar(
                    [100 * r[x] for r in rows],
                    [r[name][0] for r in rows],
                    [r[name][1] for r in rows],
                    marker="o",
                    capsize=2,
                    color=COLOURS[colour if name != "in the model" else "blue"],
                    label=name,
                )
            ax.axhline(0, color="0.5", lw=0.8)
            ax.set(xlabel=f"{title}, %", ylabel="error of the fidelity")
            ax.legend()
        rows = numbers["calibration"]
        shots = [r["shots"] for r in rows]
        axes[1].loglog(
            shots, [r["error"][1] for r in rows], "o-", color=COLOURS["blue"], label="found"
        )
        axes[1].loglog(
            shots, [r["told"] for r in rows], "s--", color=COLOURS["orange"], label="told by refits"
        )
        axes[1].set(xlabel="calibration shots a state", ylabel="scatter of the fidelity")
        axes[1].legend()
        if numbers.get("real"):
            labels = list(numbers["real"])
            values = [r["deviance"] for r in numbers["real"].values()]
            axes[3].barh(range(len(labels)), values, color=COLOURS["blue"])
            axes[3].set_yticks(range(len(labels)), labels)
            axes[3].invert_yaxis()
            axes[3].axvline(12, color="0.4", ls=":")
            axes[3].set(xscale="log", xlim=(1, 1000))
            axes[3].set_xlabel("deviance of Bell-psi (dotted: expected)")
    return figure


def main() -> None:
    """Simulate, fit, print and draw."""
    parser = command(__doc__, "json", data=shared_folder() / "quantum", out=Path("results/bench"))
    parser.add_argument("--repeats", type=int, default=12, help="experiments of each point")
    a = parse(parser, quiet=True)
    path = a.data / REAL
    if not path.is_file():
        print(f"{path}: no such file; left out", file=sys.stderr)
    numbers = {
        "repeats": a.repeats,
        "correlated": correlated(a.repeats),
        "calibration": calibrations(a.repeats),
        "accidentals": accidentals(a.repeats),
        "real": real(path) if path.is_file() else {},
    }
    write(
        a,
        numbers,
        figures={"tomography-detectors": draw(numbers)},
        tables=tables,
        sciences=SCIENCES,
    )
