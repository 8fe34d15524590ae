"""Training in every science: processes, time that is left, state beside the weights, the card."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physml import provenance
from physml.config import upstream
from physml.io.atomic import write_text
from physml.io.weights import save_weights
from physml.templates import render
from physml.training.distributed import process_group
from physml.training.settings import TrainBase, TrainResources


@dataclass(frozen=True)
class Training:
    """One call of a training stage.

    Attributes
    ----------
    state : Path
        Folder in which every part of the training keeps its state.
    limit_s : float or None
        Time that the call may take, s.
    started : float
        By the monotonic clock, s.
    """

    state: Path
    limit_s: float | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since the call began, s."""
        return time.monotonic() - self.started

    def left(self) -> float | None:
        """Time that is left, s; None without a limit."""
        return None if self.limit_s is None else self.limit_s - self.seconds


@contextmanager
def training(
    out: Path, threads: int, time_limit_s: float | None, resources: TrainResources | None = None
) -> Iterator[Training]:
    """Surroundings of a training stage, all parts of which share processes and time.

    A call that was stopped is continued by the same call: each part keeps its state beside the
    weights, in ``<out>.state``.

    Parameters
    ----------
    out : Path
        Weights to be written.
    threads : int
        CPU threads.
    time_limit_s : float, optional
    resources : TrainResources, optional
        Say whether the processes have GPUs of their own; by default they have where there are any.
    """
    with process_group(gpu=resources is None or resources.gpu > 0):
        torch.set_num_threads(threads)
        yield Training(out.with_name(out.name + ".state"), time_limit_s)


def loop_settings(settings: TrainBase, **changed: Any) -> TrainBase:
    """Settings of the loop alone, so that nothing else invalidates its state.

    Parameters
    ----------
    settings : TrainBase
        A pipeline's own, which hold more.
    **changed
        Values that differ for one of several networks.
    """
    values = {name: getattr(settings, name) for name in TrainBase.model_fields}
    return TrainBase(**values | changed)


def write_weights(
    out: Path,
    weights: Mapping[str, Tensor],
    card: Mapping[str, Any],
    *,
    settings: Any,
    data: Path,
    template: str,
) -> None:
    """Write the weights with their card, and the card as a page of Markdown beside them.

    Parameters
    ----------
    out : Path
        Weights (safetensors); the page has the ending ``.md``.
    weights : mapping of Tensor
    card : mapping
        Metadata; the run record is added.
    settings : PipelineSettings
    data : Path
        Folder that the networks were trained on.
    template : str
        Template of the page, see `physml.templates`.
    """
    record = provenance.record("train", upstream(settings, "train"), {"data": data})
    card = {**card, "provenance": record}
    save_weights(out, dict(weights), card, dtype="float32")
    write_text(out.with_suffix(".md"), render(template, card=card), overwrite=True)
