"""Train the correctors and the particle cells, calibrate regions, write the weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from physml.io.weights import version_of
from physml.random import stream
from physml.stages.train import training, write_weights
from physml.training.distributed import main_alone

from .inference.weights import named
from .learning.calibrate import calibrate
from .learning.cell_training import train_cell
from .learning.corrector_training import train_corrector
from .learning.histories import Histories
from .learning.prepared import read_moments, read_states
from .settings import TomographySettings

#: Number of the random stream of the calibration, but for the dimension.
CALIBRATE = 2**31 + 1_000


def run(
    *,
    settings: TomographySettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train, calibrate and write one weights file with its card.

    A stage: arguments as in `physml.pipeline`.
    """
    s, seed = settings.train, settings.seed
    weights: dict[str, Tensor] = {}
    card: dict[str, Any] = {"pipeline": "tomography", "networks": {}, "training": {}}
    card |= {"cell": {}, "cell_training": {}}
    regions: dict[str, Any] = {}
    lineage: list[dict[str, Any]] = []
    before = 0.0  # seconds of calls that were stopped
    is_main = True
    with training(out, threads, time_limit_s, s.resources) as call:
        for qubits in sorted(settings.simulate.n_qubits):
            d, name = 1 << qubits, str(qubits)
            state = call.state / f"{qubits}_qubits"
            train, valid = (Histories.read(data, x, qubits) for x in ("train", "valid"))
            began = time.monotonic()
            found = train_corrector(s, train, valid, state, seed, threads, call.left)
            before += max(0.0, found.learned["seconds"] - (time.monotonic() - began))
            del train, valid
            network, is_main, lineage = found.network, found.is_main, found.lineage
            calibration = calibrate(
                network,
                read_moments(data, "calibrate", qubits),
                s.calibrate,
                stream(seed, "train", CALIBRATE + d),
            )
            weights |= named(d, network)
            for part in calibration.parts:
                weights |= named(d, part)
            regions[name] = calibration.card
            card["networks"][name] = s.network.model_dump(mode="json")
            card["training"][name] = found.learned
            with main_alone() as alone:
                if s.cell.runs and alone:
                    states, others = (
                        read_states(data / f"{x}.h5", qubits) for x in ("train", "valid")
                    )
                    cell, history = train_cell(
                        s.cell, states, others, seed, state / "cell", call.left
                    )
                    weights |= named(d, cell)
                    card["cell"][name] = cell.sizes
                    card["cell_training"][name] = history
        if not is_main:
            return
        card |= {"version": version_of(weights), "regions": regions, "lineage": lineage}
        card["seconds"] = before + call.seconds
        write_weights(
            out,
            weights,
            card,
            settings=settings,
            data=data,
            template="tomography/learning/card.md.jinja",
        )
