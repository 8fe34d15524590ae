"""Simulate shards of whole experiments: states, measurements, counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from physml import provenance
from physml.config import upstream
from physml.io.shards import ShardWriter
from physml.models import read_weights, shipped_weights

from .core.estimator import Estimator
from .inference.neural.corrector import Corrector
from .inference.neural.estimator import NeuralEstimator
from .inference.weights import prefix, shipped_files
from .settings import FILTER, SimulateSettings, TomographySettings
from .simulator.histories import simulate_batch

log = logging.getLogger(__name__)


def run(*, settings: TomographySettings, shard: int, out: Path) -> None:
    """Simulate one shard, batch by batch, and write it as HDF5.

    A stage: arguments as in `physml.pipeline`.
    """
    torch.set_num_threads(1)
    s = settings.simulate
    numbers = s.indices(shard)
    weights = designing(s)
    make = designer(weights, s.n_qubits)
    names = ["designer", *(f"designer {k}" for k in range(2, len(weights) + 1))]
    record = provenance.record(
        "simulate", upstream(settings, "simulate"), dict(zip(names, weights, strict=False))
    )
    with ShardWriter(out, provenance=record) as writer:
        for batch in range(numbers.start // s.batch, (numbers.stop - 1) // s.batch + 1):
            writer.append(simulate_batch(s, settings.seed, batch, make))


def designing(s: SimulateSettings) -> list[Path]:
    """Files of weights that choose adaptive bases; none: the filter alone does."""
    if s.designer == FILTER:
        return []
    if s.designer is None:
        # Where nothing is shipped for these, the reader says so.
        return shipped_files(s.n_qubits) or [shipped_weights("tomography")]
    return [Path(s.designer)]


def designer(weights: Sequence[Path], n_qubits: tuple[int, ...]) -> Callable[[int], Estimator]:
    """Estimator for each dimension that designs the adaptive measurements.

    For a number of qubits that the weights have no network for, the filter designs without one: a
    corrector as it is before training changes nothing.

    Raises
    ------
    InputError
        Not weights of this pipeline.
    """
    networks: dict[int, Corrector] = {}
    for path in weights:
        networks |= correctors(path)
    for d in (1 << n for n in n_qubits):
        if d not in networks:
            if weights:
                log.info(
                    "%s: no network of %d qubits: the filter alone designs their measurements",
                    *(", ".join(path.name for path in weights), d.bit_length() - 1),
                )
            networks[d] = Corrector(d, 8, 1).eval().requires_grad_(False)
    return lambda d: NeuralEstimator({d: networks[d]})


def correctors(weights: Path) -> dict[int, Corrector]:
    """Correctors of a weights file by dimension; a design needs nothing else of it."""
    found = read_weights("tomography", weights, key="networks")
    networks = {}
    for qubits, sizes in found.card["networks"].items():
        network = Corrector(1 << int(qubits), **sizes)
        found.fill(network, prefix(network.d, Corrector))
        networks[network.d] = network.eval().requires_grad_(False)
    return networks
