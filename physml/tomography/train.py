"""Train the correctors and the particle cells, calibrate regions, write the weights."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physml.random import stream

if TYPE_CHECKING:
    from torch import Tensor

    from physml.training.settings import TrainBase

    from .inference.neural.corrector import Corrector
    from .settings import TomographySettings, TrainSettings

log = logging.getLogger(__name__)

#: Numbers of the random streams: histories of each round, then of validation and calibration.
VALID, CALIBRATE = 2**31, 2**31 + 1_000


def loop_settings(settings: TrainBase, epochs: int) -> TrainBase:
    """Only what the training loop itself needs, so that nothing else invalidates its state."""
    from physml.training.settings import TrainBase

    made = {name: getattr(settings, name) for name in TrainBase.model_fields}
    return TrainBase(**{**made, "epochs": epochs})


def train_corrector(
    settings: TrainSettings,
    states: Tensor,
    valid_states: Tensor,
    state: Path,
    seed: int,
    threads: int,
    left: Any,
) -> tuple[Corrector, dict[str, Any], bool]:
    """Train in rounds: the network of each designs the measurements that the next learns from.

    Parameters
    ----------
    settings : TrainSettings
    states, valid_states : Tensor (S, d, d)
    state : Path
        Folder for checkpoints.
    seed, threads : int
    left : callable
        Seconds that are left, or None.

    Returns
    -------
    network : Corrector
    learned : dict
        Of the last round, for the card.
    is_main : bool
        This process is the one to write files.
    """
    import torch

    from physml.training.initialise import initialise
    from physml.training.loop import fit

    from .inference.neural.corrector import Corrector
    from .learning import rounds
    from .learning.histories import CorrectorLoss, simulate_histories

    d, h = states.shape[-1], settings.histories
    network = initialise(lambda: Corrector(d, **settings.network.model_dump()), seed, replica=d)
    key = rounds.key(settings, seed, threads, states, valid_states)
    learned: dict[str, Any] = {}
    is_main = True
    for number, size in enumerate(h.rounds):
        done = state / f"round_{number + 1}.safetensors"
        before = rounds.load(done, key)
        if before is not None:
            log.info("d = %d, round %d: done before", d, number + 1)
            weights, learned = before
            network.load_state_dict(weights)
            continue
        rng = stream(seed, "train", VALID + 100 * d + 2 * number + 1)
        chosen = torch.from_numpy(rng.permutation(len(states))[:size])
        if len(chosen) < size:
            log.warning("%d states for a round of %d experiments", len(chosen), size)
        began = time.monotonic()
        network.eval()
        train = simulate_histories(network, states[chosen], h, rng)
        valid = simulate_histories(
            network, valid_states[: h.valid], h, stream(seed, "train", VALID + 100 * d + 2 * number)
        )
        log.info(
            "d = %d, round %d: %d moments of %d experiments in %.0f s",
            *(d, number + 1, len(train), len(chosen), time.monotonic() - began),
        )
        if number == 0:
            network.standardise(torch.from_numpy(train.arrays["feature"]))
        last = number == len(h.rounds) - 1
        result = fit(
            network,
            CorrectorLoss(),
            train,
            valid,
            loop_settings(settings, settings.epochs if last else settings.first_epochs),
            state=state / f"round_{number + 1}",
            seed=seed,
            threads=threads,
            time_limit_s=left(),
        )
        network.load_state_dict(result.weights)
        is_main = result.is_main
        learned = {
            "moments": len(train),
            "experiments": list(h.rounds),
            "best_epoch": result.best_epoch,
            "valid_loss": result.best_value,
            "history": result.history,
            # Of all rounds so far, those of stopped calls included.
            "seconds": learned.get("seconds", 0.0) + time.monotonic() - began,
        }
        if is_main:
            rounds.save(done, key, result.weights, learned)
    return network.eval(), learned, is_main


def run(
    *,
    settings: TomographySettings,
    data: Path,
    out: Path,
    threads: int = 1,
    time_limit_s: float | None = None,
) -> None:
    """Train, calibrate and write one weights file with its card.

    A call that was stopped is continued by the same call: each stage keeps its state beside the
    weights, in ``<out>.state``.

    Parameters
    ----------
    settings : TomographySettings
    data : Path
        Folder that `preprocess.run` wrote.
    out : Path
        Weights to write (safetensors).
    threads : int
        CPU threads.
    time_limit_s : float, optional
        Stop in time with a checkpoint.

    Raises
    ------
    Checkpointed
        The time limit came near; call again.
    """
    from physml.training.distributed import process_group

    with process_group():
        _run(settings, data, out, threads, time_limit_s)


def _run(
    settings: TomographySettings, data: Path, out: Path, threads: int, time_limit_s: float | None
) -> None:
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import write_text
    from physml.io.weights import save_weights, version_of

    from .inference.cell.weights import sizes
    from .inference.weights import named
    from .learning.calibrate import calibrate
    from .learning.card import describe
    from .learning.cell_training import train_cell

    started = time.monotonic()
    before = 0.0  # seconds of calls that were stopped

    def left() -> float | None:
        return None if time_limit_s is None else time_limit_s - (time.monotonic() - started)

    s = settings.train
    state = out.with_name(out.name + ".state")
    torch.set_num_threads(threads)
    weights: dict[str, Tensor] = {}
    card: dict[str, Any] = {"pipeline": "tomography", "networks": {}, "training": {}}
    card |= {"cell": {}, "cell_training": {}}
    regions: dict[str, Any] = {}
    main = True
    for qubits in sorted(settings.simulate.n_qubits):
        d = 1 << qubits
        train, valid = (read_states(data / f"{split}.h5", qubits) for split in ("train", "valid"))
        began = time.monotonic()
        network, learned, main = train_corrector(
            s, train, valid, state / f"{qubits}_qubits", settings.seed, threads, left
        )
        before += max(0.0, learned.get("seconds", 0.0) - (time.monotonic() - began))
        # Calibration draws its own states.
        made, regions[str(qubits)] = calibrate(
            network,
            settings.simulate.mixture.parts,
            s,
            stream(settings.seed, "train", CALIBRATE + d),
        )
        weights |= named(d, network) | named(d, made)
        card["networks"][str(qubits)] = s.network.model_dump(mode="json")
        card["training"][str(qubits)] = learned
        if s.cell.runs and main:
            where = state / f"{qubits}_qubits" / "cell"
            cell, history = train_cell(s.cell, train, valid, settings.seed, where, left)
            weights |= named(d, cell)
            card["cell"][str(qubits)] = sizes(s.cell)
            card["cell_training"][str(qubits)] = history
    if not main:
        return
    card |= {
        "version": version_of(weights),
        "regions": regions,
        "seconds": before + time.monotonic() - started,
        "provenance": provenance.record("train", upstream(settings, "train"), {"data": data}),
    }
    save_weights(out, weights, card, dtype="float32")
    write_text(out.with_suffix(".md"), describe(card), overwrite=True)


def read_states(path: Path, qubits: int) -> Tensor:
    """True states (S, d, d) of a preprocessed file.

    Raises
    ------
    InputError
        It is not such a file, or it has none of so many qubits.
    """
    from physml.exceptions import InputError
    from physml.io.shards import read_shard

    from .preprocess import processed_spec
    from .simulate import states_of

    arrays = read_shard(path, processed_spec(), max_bytes=8 << 30)
    found = states_of({name: arrays[name] for name in processed_spec()}, qubits)
    if not len(found):
        raise InputError.expected(path, f"states of {qubits} qubits", "none")
    return found
