"""The one training loop: pytorch-ignite behind `fit`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import ignite.distributed as idist
from torch import nn

from physml.training import distributed
from physml.training.data import TrainData
from physml.training.run import FitResult, OnEpoch, Run
from physml.training.settings import TrainBase
from physml.training.validation import Loss

__all__ = ["FitResult", "fit"]


def fit(
    model: nn.Module,
    loss: Loss,
    train: TrainData,
    valid: TrainData,
    settings: TrainBase,
    *,
    state: Path,
    seed: int,
    threads: int = 1,
    time_limit_s: float | None = None,
    on_epoch: OnEpoch | None = None,
    metric: str = "loss",
) -> FitResult:
    """Train a network, or carry on where an earlier call was stopped.

    On a CPU, a training that was killed and called again ends with the same weights, bit for
    bit, as one that was not: batches, augmentation and dropout follow from the seed and the
    step, and the checkpoint holds the rest.

    Under torchrun or srun with several tasks, each process calls `fit` with the same arguments.

    Parameters
    ----------
    model : nn.Module
        The network, initialised from the seed by the caller. Holds the result's weights after.
    loss : callable
        ``loss(model, batch) -> dict`` with the mean over the batch of ``"loss"`` and of the
        parts to be logged. It gets a wrapped network, to be called only, whose output is
        float32 at any precision.
    train, valid : TrainData
    settings : TrainBase
    state : Path
        Folder for ``checkpoint.pt`` and ``history.csv``.
    seed : int
        The run's seed.
    threads : int
        CPU threads.
    time_limit_s : float, optional
        Stop in time to be done this many seconds after the call. The reserve is the time of a
        validation and a save. At least one step is made.
    on_epoch : callable, optional
        ``on_epoch(record, averaged_model)`` after each validation, on every process. What it
        returns is added to the record as ``valid_<name>``, and can be the metric.
    metric : str
        Validation quantity that says which epoch is best; lower is better.

    Returns
    -------
    FitResult

    Raises
    ------
    Checkpointed
        The time limit came near, or SIGTERM. Call again to continue.
    NonFiniteError
        A loss, gradient or validation value is not finite.
    InputError
        The warm-start weights do not fit, or the state cannot be read.
    SettingsError
        The batch cannot be shared out among the processes, or there is no such metric.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(distributed.process_group(gpu=settings.resources.gpu > 0))
        stack.enter_context(distributed.cpu_threads(threads))
        stack.enter_context(distributed.private_state(idist.device()))
        asked = stack.enter_context(distributed.termination_request())
        deadline = None if time_limit_s is None else started + time_limit_s
        told = (settings, Path(state), seed, threads, on_epoch, metric, deadline, asked)
        return Run(model, loss, train, valid, *told)()
